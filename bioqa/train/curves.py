"""Training curves and reliability as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bioqa.evaluate.plots import reliability
from bioqa.train.finish import Judgement
from bioqa.train.stage import METRIC

Points = tuple[list[int], list[float]]


def draw_curves(path: Path, stages: Sequence[dict[str, Any]]) -> None:
    """Draw the loss, on the training batches and on dev, and the dev average precision over the steps of all stages.

    ``stages`` are their facts (see ``stage.train_stage``). Dashed lines part stages; a ring marks the checkpoint that was kept.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 6), layout="constrained")
    loss, precision = figure.subplots(2, 1, sharex=True)
    evaluated = False
    start = 0
    for number, stage in enumerate(stages):
        named = number == 0
        for axes, key, color, mark, label in (
            (loss, "loss", "C0", "", "training"),
            (loss, "eval_loss", "C1", "o", "dev"),
            (precision, METRIC, "C2", "o", "dev"),
        ):
            steps, values = _points(stage["log"], key, start)
            if steps:
                evaluated |= key != "loss"
                axes.plot(steps, values, color=color, marker=mark, markersize=3, label=label if named else None)
        if stage["best_step"] is not None:
            steps, values = _points(stage["log"], METRIC, start)
            best = start + stage["best_step"]
            ring = {"s": 90, "facecolors": "none", "edgecolors": "C3", "label": "kept" if named else None}
            precision.scatter([best], [values[steps.index(best)]], **ring)
        start += stage["steps"]
        if number < len(stages) - 1:
            for axes in (loss, precision):
                axes.axvline(start, color="grey", linestyle="--", linewidth=1)
    loss.set_ylabel("loss")
    precision.set_ylabel("average precision")
    precision.set_xlabel("step")
    precision.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (loss, precision) if evaluated else (loss,):
        axes.grid(alpha=0.3)
        axes.legend()
    if not evaluated:
        precision.text(0.5, 0.5, "not evaluated on dev", ha="center", va="center", transform=precision.transAxes)
    figure.savefig(path, dpi=120)


def draw_reliability(path: Path, judgement: Judgement) -> None:
    """Draw how often pairs of a probability are relevant, before calibration and after."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    before, after = figure.subplots(1, 2)
    for axes, title, probabilities in (
        (before, "Reliability on dev before calibration", judgement.raw),
        (after, "after (fitted to other questions)", judgement.calibrated),
    ):
        reliability(axes, judgement.labels, probabilities)
        axes.set_title(title)
    figure.savefig(path, dpi=120)


def _points(log: Sequence[dict[str, Any]], key: str, start: int) -> Points:
    """Steps, counted from ``start``, and values of what was logged under ``key``; the last value of a step counts."""
    found = {entry["step"] + start: entry[key] for entry in log if key in entry}
    return list(found), list(found.values())
