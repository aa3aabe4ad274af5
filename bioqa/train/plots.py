"""Training curves and reliability as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.evaluate.plots import BLUE, GREY, ORANGE, reliability
from bioqa.train.export import Judgement
from bioqa.train.stage import METRIC

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[list[int], list[float]]


def draw_curves(path: Path, stages: Sequence[dict[str, Any]]) -> None:
    """Write ``curves_figure`` as a PNG."""
    curves_figure(stages).savefig(path, dpi=120)


def curves_figure(stages: Sequence[dict[str, Any]]) -> "Figure":
    """The loss, on the training batches and on dev, and the dev average precision over the steps of all stages.

    ``stages`` are their facts (see ``stage.train_stage``). Dashed lines part stages; a ring marks the checkpoint that was kept.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, precision = figure.subplots(2, 1, sharex=True)
    start = 0
    for number, stage in enumerate(stages, start=1):
        log, end = stage["log"], start + stage["steps"]
        _line(loss, _points(log, "loss", start), BLUE, "training")
        _line(loss, _points(log, "eval_loss", start), ORANGE, "dev", marker="o")
        steps, values = _points(log, METRIC, start)
        _line(precision, (steps, values), ORANGE, "dev", marker="o")
        if stage["best_step"] is not None:
            best = start + stage["best_step"]
            ring = {"s": 90, "facecolors": "none", "edgecolors": "black", "label": "checkpoint kept", "zorder": 3}
            precision.scatter([best], [values[steps.index(best)]], **ring)
        if len(stages) > 1:
            place = {"xycoords": loss.get_xaxis_transform(), "xytext": (4, 4), "textcoords": "offset points"}
            loss.annotate(str(number), (start, 0), va="bottom", color=GREY, **place)
        for axes in (loss, precision) if number < len(stages) else ():
            axes.axvline(end, color=GREY, linestyle="--", linewidth=1)
        start = end
    if len(stages) > 1:
        names = ", ".join(f"{number} {stage['stage']}" for number, stage in enumerate(stages, start=1))
        loss.set_title(f"Stages: {names}", fontsize="medium", wrap=True)
    _finish(loss, "Loss", "no loss was logged: see training.logging_steps")
    _finish(precision, "Dev average precision", "not evaluated on dev")
    precision.set_xlabel("Step")
    precision.set_xlim(0, max(start, 1) * 1.02)
    precision.xaxis.set_major_locator(MaxNLocator(integer=True))
    precision.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def draw_reliability(path: Path, judgement: Judgement) -> None:
    """Draw how often pairs of a probability are relevant, before calibration and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    before, after = figure.subplots(1, 2)
    for axes, title, probabilities in (
        (before, "Dev, before calibration", judgement.raw),
        (after, "Dev, after (fitted to other questions)", judgement.calibrated),
    ):
        reliability(axes, judgement.labels, probabilities)
        axes.set_title(title)
    figure.savefig(path, dpi=120)


def _line(axes: "Axes", points: Points, color: str, label: str, marker: str = "") -> None:
    """The points joined; a single one is shown as a dot."""
    steps, values = points
    if steps:
        mark = marker or ("o" if len(steps) == 1 else "")
        axes.plot(steps, values, color=color, marker=mark, markersize=4, label=label)


def _finish(axes: "Axes", name: str, nothing: str) -> None:
    """Name the axis, and tell each kind of line once; ``nothing`` stands where there is none."""
    axes.set_ylabel(name)
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        axes.set_yticks([])
        axes.text(0.5, 0.5, nothing, ha="center", va="center", transform=axes.transAxes)
        return
    axes.grid(alpha=0.3)
    first = dict(reversed([*zip(labels, handles, strict=True)]))
    axes.legend([first[label] for label in dict.fromkeys(labels)], list(dict.fromkeys(labels)))


def _points(log: Sequence[dict[str, Any]], key: str, start: int) -> Points:
    """Steps, counted from ``start``, and values of what was logged under ``key``; the last value of a step counts."""
    found = {entry["step"] + start: entry[key] for entry in log if key in entry}
    return list(found), list(found.values())
