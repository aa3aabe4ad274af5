"""The web page in a real browser: headless Chromium through Playwright."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.serve.conftest import serving

sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install -e '.[dev]'")
CHROMIUM = os.environ.get("BIOQA_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUESTION = "Which gene is mutated in Marfan syndrome?"
PAGES = ("/", f"/search?q={QUESTION}", "/search?q=heart&type=Review&sort=date", "/search?q=zzzqqq", "/article/99000301",
         f"/article/99000027?q={QUESTION}", "/article/99000027/similar", "/about", "/article/1")  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium, or BIOQA_CHROMIUM=PATH")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(demo_index: Any, reranker: Any) -> Iterator[str]:
    from bioqa.serve.service import Service

    with serving(Service.open([f"demo={demo_index}"], reranker)) as url:
        yield url


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Any]:
    """Open a browser's page with these settings; at the end, it must have had no error and no request to elsewhere."""
    problems: list[str] = []
    contexts = []

    def watch_request(request: Any) -> None:
        if not request.url.startswith((f"{address}/", "blob:")):
            problems.append(f"request to {request.url}")

    def watch_console(message: Any) -> None:
        missing = "status of 404" in message.text and message.location["url"].endswith("/article/1")
        if message.type in ("error", "warning") and not missing:
            problems.append(f"console: {message.text}")

    def make(path: str = "/", **settings: Any) -> Any:
        context = browser.new_context(base_url=address, **settings)
        contexts.append(context)
        context.on("request", watch_request)
        context.on("console", watch_console)
        context.on("weberror", lambda error: problems.append(f"error: {error.error}"))
        page = context.new_page()
        page.goto(path)
        return page

    yield make
    for context in contexts:
        context.close()
    assert not problems


def titles(page: Any) -> list[str]:
    return page.locator(".final .title").all_inner_texts()


def test_search_filter_and_back(open_page, address):
    page = open_page("/")
    page.get_by_role("searchbox").fill(QUESTION)
    page.get_by_role("button", name="Search").click()
    page.wait_for_url("**/search?*")
    assert page.title() == f"{QUESTION} – bioqa"
    before = titles(page)
    assert len(before) == 10
    page.get_by_role("link", name=re.compile("^Case Reports")).click()
    page.wait_for_url("**type=Case+Reports*")
    assert page.get_by_text("the filters hide").is_visible()
    assert titles(page) != before
    page.go_back()
    page.wait_for_url(lambda url: "type=" not in url)
    assert titles(page) == before
    page.get_by_role("link", name=re.compile(r"^20\d\d(–20\d\d)?: \d+ articles?$")).first.click()
    page.wait_for_url("**since=*")
    page.get_by_role("link", name="Remove the filter Published").click()
    page.wait_for_url(lambda url: "since=" not in url)
    assert titles(page) == before


def test_a_permalink_shows_the_same_in_another_browser(open_page):
    first = open_page(f"/search?q={QUESTION}&type=Review&top=20")
    other = open_page(first.url)
    assert len(titles(first)) == 20
    assert titles(first) == titles(other)


def test_export_downloads_what_is_chosen(open_page):
    page = open_page(f"/search?q={QUESTION}")
    boxes = page.get_by_role("checkbox")
    boxes.nth(0).check()
    boxes.nth(2).check()
    page.get_by_label("Format").select_option("csl-json")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export chosen (2)").click()
    assert download.value.suggested_filename == "bioqa.json"
    articles = json.loads(download.value.path().read_text(encoding="utf-8"))
    assert [one["id"] for one in articles] == [boxes.nth(at).get_attribute("value") for at in (0, 2)]


def test_the_first_stage_shows_until_the_reranker_is_done(browser, gated, demo_index):
    from bioqa.serve.service import Service

    gated.gate.set()
    with serving(Service.open([f"demo={demo_index}"], gated)) as address:
        context = browser.new_context(base_url=address)
        page = context.new_page()
        gated.gate.clear()
        page.goto(f"/search?q={QUESTION}", wait_until="commit")
        page.locator(".first .plain li").first.wait_for(state="visible")
        assert page.locator(".final").count() == 0
        gated.gate.set()
        page.locator(".final .hit").first.wait_for(state="visible")
        page.wait_for_load_state()
        assert page.locator(".first").is_hidden()
        assert len(titles(page)) == 10
        context.close()


def test_without_javascript(open_page):
    page = open_page("/", java_script_enabled=False)
    page.get_by_role("searchbox").fill(QUESTION)
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/search?*")
    assert len(titles(page)) == 10
    assert page.locator(".first").is_hidden()
    first = page.locator(".hit").first
    first.get_by_text("Abstract", exact=True).click()
    assert first.locator(".abstract .text").is_visible()
    first.get_by_text("Similar articles").click()
    first.get_by_role("link", name="Find articles similar").click()
    page.wait_for_url("**/similar")
    page.get_by_role("heading", name="Similar articles").wait_for()
    page.locator("ol a").first.click()
    page.wait_for_url("**/article/*")


def test_similar_articles_appear_in_place(open_page):
    page = open_page(f"/search?q={QUESTION}")
    first = page.locator(".hit").first
    first.get_by_text("Similar articles").click()
    first.locator(".part li").first.wait_for()
    assert first.locator(".part li").count() == 5
    article = open_page("/article/99000027")
    article.locator(".similar li").first.wait_for()
    assert article.locator(".similar li").count() == 5


def test_keys(open_page):
    page = open_page(f"/search?q={QUESTION}")
    focused = "document.activeElement.textContent"
    names = titles(page)
    page.keyboard.press("j")
    assert page.evaluate(focused) == names[0]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    assert page.evaluate(focused) == names[1]
    page.keyboard.press("x")
    assert page.locator(".hit").nth(1).get_by_role("checkbox").is_checked()
    page.keyboard.press("o")
    assert page.locator(".hit").nth(1).locator(".abstract .text").is_visible()
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("jk")
    assert page.get_by_role("searchbox").input_value().endswith("jk")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/article/*")
    assert page.get_by_role("heading", level=1).inner_text() == names[0]
    assert page.locator("article mark").count() >= 2


def test_the_search_record_is_copied(open_page):
    page = open_page(f"/search?q={QUESTION}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_text("Search record").click()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith("Question:")
    link = next(line.split()[-1] for line in copied.splitlines() if line.startswith("Address:"))
    assert parse_qs(urlsplit(link).query) == {"q": [QUESTION]}
    other = open_page(link)
    assert titles(other) == titles(page)


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(open_page, width):
    page = open_page("/", viewport={"width": width, "height": 800})
    for path in PAGES:
        page.goto(path)
        if page.locator(".filters summary").count() and width < 900:
            page.locator(".filters summary").click()
        for summary in page.locator(".more summary, .record summary").all()[:4]:
            summary.click()
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, (path, width)


def test_filters_are_beside_the_results_or_folded_above_them(open_page):
    wide = open_page(f"/search?q={QUESTION}", viewport={"width": 1280, "height": 800})
    assert wide.get_by_role("heading", name="Publication type").is_visible()
    assert wide.locator(".filters > summary").is_hidden()
    narrow = open_page(f"/search?q={QUESTION}", viewport={"width": 360, "height": 800})
    assert narrow.get_by_role("heading", name="Publication type").is_hidden()
    narrow.locator(".filters > summary").click()
    assert narrow.get_by_role("heading", name="Publication type").is_visible()


def test_colours_follow_the_system(open_page):
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    light, dark = (open_page("/", color_scheme=scheme).evaluate(colour) for scheme in ("light", "dark"))
    luminance = [sum(map(int, re.findall(r"\d+", one)[:3])) for one in (light, dark)]
    assert luminance[0] > 700
    assert luminance[1] < 100


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_axe_finds_nothing(open_page, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python")
    page = open_page("/", color_scheme=scheme, viewport={"width": width, "height": 800})
    tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
    for path in PAGES:
        page.goto(path)
        page.wait_for_load_state("networkidle")
        for details in page.locator("details").all()[:5]:
            details.evaluate("one => one.open = true")
        results = axe.Axe().run(page, options={"runOnly": {"type": "tag", "values": tags}}).response
        found = {one["id"]: [node["html"][:200] for node in one["nodes"]] for one in results["violations"]}
        assert not found, (path, found)
        assert len(results["passes"]) > 10
