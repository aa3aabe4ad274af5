"use strict";
/* Keys, copying and counting: the page works without. */
(() => {
  const titles = () => [...document.querySelectorAll(".final .title")];
  const hit = () => document.activeElement && document.activeElement.closest(".hit");

  function move(step) {
    const all = titles();
    if (!all.length) return;
    const own = hit();
    const at = own ? all.findIndex((title) => own.contains(title)) : -1;
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : Math.min(Math.max(at + step, 0), all.length - 1);
    all[next].focus({ preventScroll: true });
    all[next].closest(".hit").scrollIntoView({ block: "nearest" });
  }

  const keys = {
    "/": () => document.getElementById("q")?.select(),
    j: () => move(1),
    k: () => move(-1),
    o: () => hit()?.querySelector(".abstract summary")?.click(),
    x: () => hit()?.querySelector(".choose input")?.click(),
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && event.target.matches("input[type=search]")) event.target.blur();
    if (event.target.matches("input:not([type=checkbox]), select, textarea")) return;
    const action = Object.hasOwn(keys, event.key) && keys[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected: press Ctrl+C";
    }
  });

  document.addEventListener("change", (event) => {
    if (!event.target.matches(".choose input")) return;
    const count = document.querySelectorAll(".choose input:checked").length;
    document.getElementById("chosen").textContent = count ? ` (${count})` : "";
  });

  for (const button of document.querySelectorAll("[data-copy]")) button.hidden = false;
})();
