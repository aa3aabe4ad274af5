"""Plots of how well scores separate relevant pairs from others, drawn with matplotlib and no global state.

Each drawing function takes the axes to draw on, labels [n] of 0 and 1, and probabilities [n]. The colours are from Okabe and Ito's
colour-blind-safe palette; whatever a colour distinguishes, a line style or marker distinguishes too.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bioqa.evaluate.classification import calibration_error, check_pairs, classification_measures, reliability_bins
from bioqa.io.output import output_errors, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
SIZE_INCHES = 4.2
DOTS_PER_INCH = 150
DISTRIBUTION_BINS = 40
MANY_POINTS = 10_000
"""Number of points above which matplotlib takes long to find the best place for the legend."""

LegendPlace = Literal["best", "lower left", "lower right"]
Draw = Callable[["Axes", "NDArray[Any]", "NDArray[Any]", float], None]


def precision_recall(axes: "Axes", labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float) -> None:
    """Precision against recall over all thresholds, with ``threshold`` marked and the share of positives as a line."""
    from sklearn.metrics import precision_recall_curve

    at = classification_measures(labels, probabilities, threshold)
    precision, recall, _ = precision_recall_curve(labels, probabilities)
    axes.step(recall, precision, where="post", color=BLUE, label=f"average precision {at.average_precision:.3f}")
    share = at.positives / at.n
    axes.axhline(share, color=GREY, linestyle=":", label=f"share positive {share:.3f}")
    if at.true_positives + at.false_positives:
        _mark(axes, at.recall, at.precision, f"threshold {threshold:.3f}, F1 {at.f1:.3f}")
    _label(axes, "Precision and recall", "Recall", "Precision", legend="lower left")


def roc(axes: "Axes", labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float) -> None:
    """True against false positive rate over all thresholds, with ``threshold`` marked and chance as the diagonal."""
    from sklearn.metrics import roc_curve

    at = classification_measures(labels, probabilities, threshold)
    false_rate, true_rate, _ = roc_curve(labels, probabilities)
    axes.plot(false_rate, true_rate, color=BLUE, label=f"area under the curve {at.roc_auc:.3f}")
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="chance")
    _mark(axes, at.false_positives / (at.n - at.positives), at.recall, f"threshold {threshold:.3f}")
    _label(axes, "ROC", "False positive rate", "True positive rate", legend="lower right")


def reliability(axes: "Axes", labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float = 0.5) -> None:
    """The share of positives against the mean probability in each bin; a marker's area grows with the bin's pairs.

    ``threshold`` is not drawn: calibration does not depend on it.
    """
    bins = reliability_bins(labels, probabilities)
    means, shares = [one.mean_probability for one in bins], [one.share_positive for one in bins]
    largest = max(one.pairs for one in bins)
    areas = [20 + 140 * one.pairs / largest for one in bins]
    axes.plot([0, 1], [0, 1], color=GREY, linestyle=":", label="perfectly calibrated")
    axes.plot(means, shares, color=BLUE, linewidth=1)
    error = calibration_error(labels, probabilities)
    axes.scatter(means, shares, s=areas, color=BLUE, alpha=0.6, label=f"calibration error {error:.3f}", clip_on=False)
    _label(axes, "Reliability", "Mean probability", "Share positive")


def score_distribution(axes: "Axes", labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float) -> None:
    """Histogram of the probabilities of each class, on a logarithmic axis, with ``threshold`` as a line."""
    import numpy as np
    from matplotlib.ticker import NullFormatter

    truth, values = np.asarray(labels) == 1, np.asarray(probabilities)
    edges = [step / DISTRIBUTION_BINS for step in range(DISTRIBUTION_BINS + 1)]
    axes.hist(values[~truth], edges, color=BLUE, alpha=0.45, label=f"negative ({(~truth).sum():,})")
    axes.hist(values[truth], edges, histtype="step", color=ORANGE, linewidth=1.6, label=f"positive ({truth.sum():,})")
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1, label=f"threshold {threshold:.3f}")
    axes.set_yscale("log")
    axes.set_ylim(0.7, max(12.0, axes.get_ylim()[1]))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    _label(axes, "Distribution of scores", "Probability", "Pairs", unit=False)


PANELS: dict[str, Draw] = {
    "precision_recall": precision_recall,
    "roc": roc,
    "reliability": reliability,
    "score_distribution": score_distribution,
}


def classification_figure(
    labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float, path: str | Path
) -> None:
    """Write all four plots as one PNG; ``threshold`` is a probability.

    Raises:
        SourceError, UsageError: as for ``classification_measures``.
        OutputError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    truth, values = check_pairs(labels, probabilities)
    figure = Figure(figsize=(2 * SIZE_INCHES, 2 * SIZE_INCHES), layout="constrained")
    for axes, draw in zip(figure.subplots(2, 2).flat, PANELS.values(), strict=True):
        draw(axes, truth, values, threshold)
    _save(figure, Path(path))


def write_plots(
    labels: "NDArray[Any]", probabilities: "NDArray[Any]", threshold: float, folder: str | Path
) -> list[Path]:
    """Write each plot as a PNG, and ``classification.png`` with all four; the folder is created if it does not exist.

    Raises:
        SourceError, UsageError: as for ``classification_measures``.
        OutputError: the folder or a file cannot be written.
    """
    from matplotlib.figure import Figure

    truth, values = check_pairs(labels, probabilities)
    folder = Path(folder)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, draw in PANELS.items():
        figure = Figure(figsize=(SIZE_INCHES, SIZE_INCHES), layout="constrained")
        draw(figure.subplots(), truth, values, threshold)
        _save(figure, folder / f"{name}.png")
    classification_figure(truth, values, threshold, folder / "classification.png")
    return [folder / f"{name}.png" for name in (*PANELS, "classification")]


def _mark(axes: "Axes", x: float, y: float, label: str) -> None:
    axes.plot(x, y, marker="D", markersize=8, color=ORANGE, linestyle="none", label=label, clip_on=False, zorder=3)


def _label(axes: "Axes", title: str, x: str, y: str, *, unit: bool = True, legend: LegendPlace = "best") -> None:
    """Set title, axis labels and legend; ``legend`` is its place if the plot has many points."""
    import numpy as np

    axes.set(title=title, xlabel=x, ylabel=y, xlim=(0, 1))
    if unit:
        axes.set(ylim=(0, 1), aspect="equal")
    axes.grid(alpha=0.3)
    points = sum(np.size(line.get_xdata()) for line in axes.lines)
    axes.legend(fontsize="small", framealpha=0.9, loc=legend if points > MANY_POINTS else "best")


def _save(figure: "Figure", path: Path) -> None:
    with replacing(path) as part:
        figure.savefig(part, format="png", dpi=DOTS_PER_INCH)
