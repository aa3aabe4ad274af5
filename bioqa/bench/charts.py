"""The charts of a suite's HTML report, as self-contained SVG."""

import base64
from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

from bioqa.bench.results import LabelledScores
from bioqa.evaluate import plots
from bioqa.evaluate.plots import BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, LINE = "#1c2733", "#5b6b7a", "#dfe5ea"
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
    "axes.titlesize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
}


def difference_chart(differences: Sequence[float], measure: str) -> str:
    """Each question's difference from the baseline, largest first, as a data URI."""
    ordered = sorted(differences, reverse=True)

    def draw(axes: "Axes") -> None:
        import numpy as np

        places, values = np.arange(len(ordered)), np.asarray(ordered)
        axes.set_title("Questions by difference")
        axes.bar(places, values, width=1.0, color=np.where(values >= 0, BLUE, ORANGE), linewidth=0)
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_xlim(-0.5, len(ordered) - 0.5)
        axes.set_xlabel("questions")
        axes.set_ylabel(f"difference in {measure}")
        axes.grid(axis="x", visible=False)

    return _svg(draw)


def probability_chart(candidates: LabelledScores) -> str:
    """Histograms of the probabilities of relevant and other candidates, each in percent of its class, as a data URI."""

    def draw(axes: "Axes") -> None:
        import numpy as np

        axes.set_title("Probabilities of the candidates")
        edges = np.linspace(0, 1, 21).tolist()
        for label, name, colour in ((0, "not relevant", ORANGE), (1, "relevant", BLUE)):
            chosen = candidates.probabilities[candidates.labels == label]
            if len(chosen):
                weights = np.full(len(chosen), 100 / len(chosen))
                axes.hist(chosen, edges, weights=weights, color=colour, alpha=0.5, label=f"{name} ({len(chosen):,})")
        axes.set_xlim(0, 1)
        axes.set_xlabel("probability")
        axes.set_ylabel("% of passages")
        axes.legend(frameon=False, loc="upper center")

    return _svg(draw)


def precision_recall_chart(pairs: LabelledScores, threshold: float) -> str:
    """Precision against recall over all thresholds of the score, with the frozen one marked, as a data URI."""
    return _svg(lambda axes: plots.precision_recall(axes, pairs.labels, pairs.scores, threshold))


def reliability_chart(pairs: LabelledScores) -> str:
    """The share of relevant passages by probability, as a data URI; a calibrated model is on the diagonal."""
    return _svg(lambda axes: plots.reliability(axes, pairs.labels, pairs.probabilities))


def _svg(draw: Any) -> str:
    """The SVG that ``draw`` draws on one pair of axes, as a data URI."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(4.2, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(text.getvalue().encode()).decode()
