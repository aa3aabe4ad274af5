"""The charts of a suite's page, as SVG that needs nothing beside it."""

import base64
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from bioqa.evaluate.classification import reliability_bins
from bioqa.evaluate.results import Labelled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LINE = "#1c2733", "#5b6b7a", "#dfe5ea"
GAIN, LOSS = "#1f7a5c", "#b4533c"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bioqa",
    "font.family": "sans-serif",
    "font.sans-serif": ["system-ui", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}


def gains(differences: Sequence[float], measure: str) -> str:
    """Each question's difference from the baseline, largest first."""
    ordered = sorted(differences, reverse=True)

    def draw(axes: "Axes") -> None:
        import numpy as np

        places, values = np.arange(len(ordered)), np.asarray(ordered)
        axes.bar(places, values, width=1.0, color=np.where(values >= 0, GAIN, LOSS), linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xlim(-0.5, len(ordered) - 0.5)
        axes.set_xlabel("questions, by difference")
        axes.set_ylabel(f"difference in {measure}")
        axes.grid(axis="x", visible=False)

    return _svg(draw)


def distribution(candidates: Labelled) -> str:
    """How the probabilities of relevant passages and of others are spread, each as shares of its own kind."""

    def draw(axes: "Axes") -> None:
        import numpy as np

        edges = np.linspace(0, 1, 21).tolist()
        for label, name, colour in ((0, "not relevant", LOSS), (1, "relevant", GAIN)):
            chosen = candidates.probabilities[candidates.labels == label]
            if len(chosen):
                weights = np.full(len(chosen), 100 / len(chosen))
                axes.hist(chosen, edges, weights=weights, color=colour, alpha=0.5, label=f"{name} ({len(chosen):,})")
        axes.set_xlim(0, 1)
        axes.set_xlabel("probability")
        axes.set_ylabel("% of passages")
        axes.legend(frameon=False, loc="upper center")

    return _svg(draw)


def precision_recall(pairs: Labelled, threshold: float) -> str:
    """Precision against recall over all thresholds of the score, the frozen one marked."""

    def draw(axes: "Axes") -> None:
        from sklearn.metrics import precision_recall_curve

        precision, recall, _ = precision_recall_curve(pairs.labels, pairs.scores)
        axes.plot(recall, precision, color=GAIN, linewidth=1.6)
        chosen = pairs.labels[pairs.scores >= threshold]
        if len(chosen):
            at = (chosen.sum() / pairs.labels.sum(), chosen.mean())
            axes.plot(*at, marker="o", color=INK, linestyle="none", label=f"threshold {threshold:.3f}")
            axes.legend(frameon=False, loc="lower left")
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")

    return _svg(draw)


def reliability(pairs: Labelled) -> str:
    """The share of relevant passages among those of like probability; a calibrated model lies on the diagonal."""

    def draw(axes: "Axes") -> None:
        bins = reliability_bins(pairs.labels, pairs.probabilities)
        said, true = [one.mean_probability for one in bins], [one.share_positive for one in bins]
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle="--", label="calibrated")
        axes.plot(said, true, color=GAIN, linewidth=1.2)
        sizes = [8 + 120 * count / len(pairs.labels) for count, _, _ in bins]
        axes.scatter(said, true, s=sizes, color=GAIN, label="these pairs (size: share)", zorder=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xlabel("mean probability")
        axes.set_ylabel("share relevant")
        axes.legend(frameon=False, loc="upper left")

    return _svg(draw)


def _svg(draw: Any) -> str:
    """The SVG that ``draw`` makes on one pair of axes, as a data URI."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 2.7), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue().encode()).decode()
