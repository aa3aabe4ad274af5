"""Classification measures of a file of scored pairs: at a frozen threshold, and as published cards report them."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import ModelError, UsageError
from bioqa.evaluate.classification import (
    CALIBRATION_BINS,
    ClassificationMeasures,
    PublishedMeasures,
    are_probabilities,
    classification_measures,
    published_measures,
)
from bioqa.evaluate.scored_pairs import ScoredPairs
from bioqa.io.tables import Column, Table
from bioqa.rerank.model_folder.settings import SETTINGS_FILE, read_settings

PUBLISHED = "best threshold of this set (as in published cards; optimistic)"


@dataclass(frozen=True, slots=True)
class ClassificationReport:
    """``frozen`` has the measures at a threshold from ``origin``; ``best`` those that published cards report.

    ``scale`` is that of the scores and of all thresholds: "probability" or "logit"; calibration is that of the logits' logistic
    function.
    """

    frozen: ClassificationMeasures
    origin: str
    best: PublishedMeasures
    scale: str
    pairs: ScoredPairs

    @property
    def title(self) -> str:
        """The heading of the measures at the frozen threshold."""
        return f"at the frozen threshold ({self.origin})" if self.origin else "at probability 0.5 (no threshold given)"


def evaluate_scored_pairs(
    pairs: ScoredPairs, *, threshold: float | None = None, reranker: str | Path | None = None, scale: str | None = None
) -> ClassificationReport:
    """Measure scored pairs at ``threshold``, on the scale of the scores; else at that of a model folder; else at probability 0.5.

    The threshold of the model folder ``reranker`` is on the scale of the model's own scores; the pairs' scores must be on it too.

    ``scale`` is "probability" or "logit"; None takes scores for probabilities if all are between 0 and 1, else for logits.

    Raises:
        UsageError: both a threshold and a reranker, or scores or a threshold that are not probabilities on that scale.
        ModelError: the model folder has no threshold.
    """
    if threshold is not None and reranker is not None:
        raise UsageError("Give a threshold or a reranker with a threshold, not both.")
    within = are_probabilities(pairs.scores)
    if scale == "probability" and not within:
        raise UsageError("The scores are not probabilities: some are outside 0 to 1.")
    scale = scale or ("probability" if within else "logit")
    origin = "given" if threshold is not None else f"of {reranker}" if reranker is not None else ""
    if threshold is None:
        threshold = model_threshold(reranker) if reranker is not None else 0.0 if scale == "logit" else 0.5
    if scale == "probability" and not 0 <= threshold <= 1 and math.isfinite(threshold):
        whose = f" of {reranker}" if reranker is not None else ""
        raise UsageError(
            f"The threshold {threshold:g}{whose} is not a probability, but the scores are: all are between 0 and 1. Give a "
            "threshold on their scale, or --scale logit if they are logits."
        )
    frozen = classification_measures(pairs.labels, pairs.scores, threshold, probabilities=_probabilities(pairs, scale))
    return ClassificationReport(frozen, origin, published_measures(pairs.labels, pairs.scores), scale, pairs)


def model_threshold(folder: str | Path) -> float:
    """The threshold of a model folder: "threshold" in its bioqa.json.

    Raises:
        ModelError: there is none, or the file is damaged.
    """
    threshold = read_settings(Path(folder)).threshold
    if threshold is None:
        raise ModelError(
            f"{Path(folder) / SETTINGS_FILE} has no threshold. Name a folder that `bioqa train` made with dev data, or give a "
            "threshold that was chosen on other data."
        )
    return threshold


def _probabilities(pairs: ScoredPairs, scale: str) -> Any:
    from scipy.special import expit

    return expit(pairs.scores) if scale == "logit" else pairs.scores


def plot_classification(report: ClassificationReport, folder: str | Path) -> list[Path]:
    """Write the plots of the report into a folder, over probabilities; see ``plots.write_plots``."""
    from scipy.special import expit

    from bioqa.evaluate.plots import write_plots

    threshold = float(expit(report.frozen.threshold)) if report.scale == "logit" else report.frozen.threshold
    return write_plots(report.pairs.labels, _probabilities(report.pairs, report.scale), threshold, folder)


def classification_table(report: ClassificationReport) -> Table:
    """Both sets of measures side by side; published cards have accuracy and F1 each at a threshold of its own."""
    at, best = report.frozen, report.best
    rows = [
        ("Threshold", at.threshold, None, None),
        ("Accuracy", at.accuracy, best.accuracy, best.accuracy_threshold),
        ("F1", at.f1, best.f1, best.f1_threshold),
        ("Precision", at.precision, best.precision, best.f1_threshold),
        ("Recall", at.recall, best.recall, best.f1_threshold),
        ("Average precision", at.average_precision, best.average_precision, None),
        ("ROC-AUC", at.roc_auc, None, None),
        ("MCC", at.mcc, None, None),
        (f"Calibration error ({CALIBRATION_BINS} bins)", at.calibration_error, None, None),
        ("Brier score", at.brier, None, None),
        ("True positives", at.true_positives, None, None),
        ("False positives", at.false_positives, None, None),
        ("True negatives", at.true_negatives, None, None),
        ("False negatives", at.false_negatives, None, None),
        ("Pairs", at.n, None, None),
        ("Share positive", at.positives / at.n, None, None),
    ]
    columns = [Column("Measure"), *(Column(name, ".4f") for name in (report.title, PUBLISHED, "that threshold"))]
    return Table(columns, rows)


def classification_json(report: ClassificationReport) -> dict[str, Any]:
    """The report as JSON."""
    return {
        "label_column": report.pairs.label_column,
        "score_column": report.pairs.score_column,
        "scale": report.scale,
        "frozen": {"name": report.title, **asdict(report.frozen)},
        "published": {"name": PUBLISHED, **report.best._asdict()},
    }
