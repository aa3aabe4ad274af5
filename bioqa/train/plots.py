"""Plots of a training run: training curves, and reliability before and after calibration."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.evaluate.plots import BLUE, GREY, ORANGE, reliability
from bioqa.train.training_result import DEV_METRIC, DevEvaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[list[int], list[float]]


def save_curves(path: Path, stages: Sequence[dict[str, Any]]) -> None:
    """Write ``curves_figure`` as a PNG."""
    curves_figure(stages).savefig(path, dpi=120)


def curves_figure(stages: Sequence[dict[str, Any]]) -> "Figure":
    """The loss on training batches and on dev, and the average precision on dev, over the steps of all stages.

    ``stages`` are their summaries (see ``train_stage.train_stage``). Dashed lines separate stages; a ring marks the saved
    checkpoint.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, precision = figure.subplots(2, 1, sharex=True)
    start = 0
    for number, stage in enumerate(stages, start=1):
        log, end = stage["log"], start + stage["steps"]
        _plot_line(loss, _points(log, "loss", start), BLUE, "training")
        _plot_line(loss, _points(log, "eval_loss", start), ORANGE, "dev", marker="o")
        steps, values = _points(log, DEV_METRIC, start)
        _plot_line(precision, (steps, values), ORANGE, "dev", marker="o")
        if stage["best_step"] is not None:
            best = start + stage["best_step"]
            ring = {"s": 90, "facecolors": "none", "edgecolors": "black", "label": "saved checkpoint", "zorder": 3}
            precision.scatter([best], [values[steps.index(best)]], **ring)
        if len(stages) > 1:
            placement = {"xycoords": loss.get_xaxis_transform(), "xytext": (4, 4), "textcoords": "offset points"}
            loss.annotate(str(number), (start, 0), va="bottom", color=GREY, **placement)
        for axes in (loss, precision) if number < len(stages) else ():
            axes.axvline(end, color=GREY, linestyle="--", linewidth=1)
        start = end
    if len(stages) > 1:
        names = ", ".join(f"{number} {stage['stage']}" for number, stage in enumerate(stages, start=1))
        loss.set_title(f"Stages: {names}", fontsize="medium", wrap=True)
    _label_axes(loss, "Loss", "no loss was logged: see training.logging_steps")
    _label_axes(precision, "Dev average precision", "not evaluated on dev")
    precision.set_xlabel("Step")
    precision.set_xlim(0, max(start, 1) * 1.02)
    precision.xaxis.set_major_locator(MaxNLocator(integer=True))
    precision.xaxis.set_major_formatter("{x:,.0f}")
    return figure


def save_reliability(path: Path, evaluation: DevEvaluation) -> None:
    """Write the reliability diagrams on dev, before and after calibration, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    before, after = figure.subplots(1, 2)
    for axes, title, probabilities in (
        (before, "Dev, before calibration", evaluation.uncalibrated),
        (after, "Dev, after calibration (cross-validated)", evaluation.calibrated),
    ):
        reliability(axes, evaluation.labels, probabilities)
        axes.set_title(title)
    figure.savefig(path, dpi=120)


def _plot_line(axes: "Axes", points: Points, color: str, label: str, marker: str = "") -> None:
    """A line through the points; a single point is shown as a dot."""
    steps, values = points
    if steps:
        mark = marker or ("o" if len(steps) == 1 else "")
        axes.plot(steps, values, color=color, marker=mark, markersize=4, label=label)


def _label_axes(axes: "Axes", name: str, if_empty: str) -> None:
    """Name the y axis and add a legend with one entry per kind of line; axes without lines show the text ``if_empty``."""
    axes.set_ylabel(name)
    handles, labels = axes.get_legend_handles_labels()
    if not handles:
        axes.set_yticks([])
        axes.text(0.5, 0.5, if_empty, ha="center", va="center", transform=axes.transAxes)
        return
    axes.grid(alpha=0.3)
    first = dict(reversed([*zip(labels, handles, strict=True)]))
    axes.legend([first[label] for label in dict.fromkeys(labels)], list(dict.fromkeys(labels)))


def _points(log: Sequence[dict[str, Any]], key: str, start: int) -> Points:
    """The steps, offset by ``start``, and the values logged under ``key``; the last value of a step counts."""
    found = {entry["step"] + start: entry[key] for entry in log if key in entry}
    return list(found), list(found.values())
