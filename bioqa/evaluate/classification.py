"""Binary classification measures (scikit-learn), at a frozen threshold and as published cross-encoder cards report them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from bioqa.errors import SourceError, UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CALIBRATION_BINS = 15


@dataclass(frozen=True, slots=True)
class ClassificationMeasures:
    """How well scores separate relevant pairs (label 1) from others at one threshold; a score at or above it is a positive.

    ``n`` counts pairs and ``positives`` those with label 1. ``average_precision`` and ``roc_auc`` do not depend on the
    threshold. ``mcc`` is Matthews correlation coefficient, -1 to 1. ``calibration_error`` is the expected calibration error: over
    ``CALIBRATION_BINS`` bins of probability of equal width, the mean distance between mean probability and share of positives,
    weighted by the pairs in each bin (Guo et al., ICML 2017). ``brier`` is the mean squared error of the probabilities.
    """

    n: int
    positives: int
    threshold: float
    accuracy: float
    precision: float
    recall: float
    f1: float
    average_precision: float
    roc_auc: float
    mcc: float
    calibration_error: float
    brier: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int


class PublishedMeasures(NamedTuple):
    """What published cards report: the best accuracy and the best F1, each at the threshold that is best on this very set."""

    accuracy: float
    accuracy_threshold: float
    f1: float
    f1_threshold: float
    precision: float
    recall: float
    average_precision: float


class ReliabilityBin(NamedTuple):
    """One bin of a reliability diagram: number of pairs, mean probability and share of positives."""

    pairs: int
    mean_probability: float
    share_positive: float


def classification_measures(
    labels: "NDArray[Any]", scores: "NDArray[Any]", threshold: float, *, probabilities: "NDArray[Any] | None" = None
) -> ClassificationMeasures:
    """The measures of ``scores`` [n] against ``labels`` [n] of 0 and 1, with ``threshold`` on the scale of the scores.

    Calibration error and Brier score are of ``probabilities`` [n]; by default, those that ``as_probabilities`` makes of the
    scores.

    Raises:
        SourceError: no pairs, labels other than 0 and 1, one class only, or a score that is not finite.
        UsageError: arrays of different lengths, a threshold that is not finite, or probabilities outside 0 to 1.
    """
    import numpy as np
    from sklearn.metrics import average_precision_score, brier_score_loss, matthews_corrcoef, roc_auc_score

    truth, values = check_pairs(labels, scores)
    if not np.isfinite(threshold):
        raise UsageError(f"The threshold must be a finite number, not {threshold}.")
    chances = _checked_probabilities(as_probabilities(values) if probabilities is None else probabilities, len(truth))
    predicted = values >= threshold
    hits, alarms = int((predicted & truth).sum()), int((predicted & ~truth).sum())
    positives, n = int(truth.sum()), len(truth)
    return ClassificationMeasures(
        n=n,
        positives=positives,
        threshold=float(threshold),
        accuracy=float((predicted == truth).mean()),
        precision=hits / (hits + alarms) if hits + alarms else 0.0,
        recall=hits / positives,
        f1=2 * hits / (hits + alarms + positives),
        average_precision=float(average_precision_score(truth, values)),
        roc_auc=float(roc_auc_score(truth, values)),
        mcc=float(matthews_corrcoef(truth, predicted)),
        calibration_error=calibration_error(truth, chances),
        brier=float(brier_score_loss(truth, chances)),
        true_positives=hits,
        false_positives=alarms,
        true_negatives=n - positives - alarms,
        false_negatives=positives - hits,
    )


def best_threshold(labels: "NDArray[Any]", scores: "NDArray[Any]", measure: str = "f1") -> tuple[float, float]:
    """The (value, threshold) of the best "f1" or "accuracy" that any threshold gives on this set.

    Thresholds are midway between neighbouring distinct scores, so that pairs of equal score are on the same side; of equally good
    thresholds the highest is chosen. Choose it on dev data and freeze it: on the data it was chosen on, it is optimistic.

    Raises:
        SourceError: as for ``classification_measures``.
        UsageError: an unknown measure.
    """
    import numpy as np

    truth, values = check_pairs(labels, scores)
    if measure not in ("f1", "accuracy"):
        raise UsageError(f"A threshold is chosen by f1 or accuracy, not by {measure!r}.")
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    ends = np.append(np.flatnonzero(ranked[:-1] != ranked[1:]), len(ranked) - 1)  # the last pair of each distinct score
    predicted, hits = ends + 1, np.cumsum(truth[order])[ends]
    if measure == "f1":
        # Rounding decides between thresholds of equal F1; computed as in sentence-transformers, it decides the same way.
        precision, recall = hits / predicted, hits / truth.sum()
        results = 2 * precision * recall / np.maximum(precision + recall, np.finfo(np.float64).tiny)
    else:
        results = (2 * hits - predicted + (~truth).sum()) / len(truth)
        if (~truth).sum() / len(truth) >= results.max():  # nothing is relevant
            return float((~truth).mean()), float(np.nextafter(ranked[0], np.inf))
    best = int(np.argmax(results))
    return float(results[best]), _between(ranked, int(ends[best]))


def _between(ranked: "NDArray[np.float64]", end: int) -> float:
    """A threshold between the score at ``end`` and the next one."""
    last = float(ranked[end])
    if end + 1 == len(ranked):
        return last
    below = float(ranked[end + 1])
    middle = last / 2 + below / 2
    return middle if middle > below else last


def published_measures(labels: "NDArray[Any]", scores: "NDArray[Any]") -> PublishedMeasures:
    """The measures of published cards, equal to those of sentence-transformers' CrossEncoderClassificationEvaluator.

    They are optimistic: the thresholds are chosen on the set that is reported. Older versions of the evaluator, which many cards
    were made with, also separate pairs of equal score.

    Raises:
        SourceError: as for ``classification_measures``.
    """
    from sklearn.metrics import average_precision_score

    truth, values = check_pairs(labels, scores)
    accuracy, accuracy_threshold = best_threshold(truth, values, "accuracy")
    f1, f1_threshold = best_threshold(truth, values, "f1")
    predicted = values >= f1_threshold
    hits = int((predicted & truth).sum())
    return PublishedMeasures(
        accuracy=accuracy,
        accuracy_threshold=accuracy_threshold,
        f1=f1,
        f1_threshold=f1_threshold,
        precision=hits / int(predicted.sum()),
        recall=hits / int(truth.sum()),
        average_precision=float(average_precision_score(truth, values)),
    )


def are_probabilities(scores: "NDArray[Any]") -> bool:
    """Whether all scores are between 0 and 1; otherwise they are taken for logits."""
    return bool(((scores >= 0) & (scores <= 1)).all())


def as_probabilities(scores: "NDArray[Any]") -> "NDArray[np.float64]":
    """The scores if all are between 0 and 1, else their logistic function, as of logits."""
    import numpy as np
    from scipy.special import expit

    values = np.asarray(scores, np.float64)
    return values if are_probabilities(values) else np.asarray(expit(values), np.float64)


def reliability_bins(
    labels: "NDArray[Any]", probabilities: "NDArray[Any]", bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """The non-empty bins of equal width over 0 to 1, from the lowest; a boundary belongs to the bin above it."""
    import numpy as np

    truth, chances = np.asarray(labels, np.float64), np.asarray(probabilities, np.float64)
    which = np.minimum((chances * bins).astype(np.int64), bins - 1)
    counts, sums, positives = (np.bincount(which, weights, bins) for weights in (None, chances, truth))
    return [
        ReliabilityBin(int(count), float(total / count), float(positive / count))
        for count, total, positive in zip(counts, sums, positives, strict=True)
        if count
    ]


def calibration_error(labels: "NDArray[Any]", probabilities: "NDArray[Any]", bins: int = CALIBRATION_BINS) -> float:
    """The expected calibration error over ``bins`` bins of equal width (see ``ClassificationMeasures``)."""
    filled = reliability_bins(labels, probabilities, bins)
    distance = sum(one.pairs * abs(one.mean_probability - one.share_positive) for one in filled)
    return distance / sum(one.pairs for one in filled)


def check_pairs(labels: "NDArray[Any]", scores: "NDArray[Any]") -> tuple["NDArray[np.bool_]", "NDArray[np.float64]"]:
    """Labels [n] as booleans and scores [n] as float64.

    Raises:
        SourceError: no pairs, labels other than 0 and 1, one class only, or a score that is not finite; the message names the
            first such pair, counted from 1.
        UsageError: arrays of different lengths.
    """
    import numpy as np

    numbers, values = _numbers("label", labels), _numbers("score", scores)
    if len(numbers) != len(values):
        raise UsageError(f"There are {len(numbers)} labels but {len(values)} scores; each pair needs both.")
    if not len(numbers):
        raise SourceError("There are no pairs.")
    wrong = np.flatnonzero((numbers != 0) & (numbers != 1))
    if len(wrong):
        raise SourceError(f"The label of pair {wrong[0] + 1} is {numbers[wrong[0]]:g}. Labels are 0 or 1.")
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise SourceError(f"The score of pair {wrong[0] + 1} is {values[wrong[0]]}. Scores must be finite numbers.")
    if numbers.min() == numbers.max():
        raise SourceError(
            f"All {len(numbers)} labels are {numbers[0]:g}. Average precision, ROC-AUC and a threshold need both classes."
        )
    return numbers == 1, values


def _numbers(what: str, values: "NDArray[Any]") -> "NDArray[np.float64]":
    import numpy as np

    array = np.asarray(values)
    if array.ndim != 1:
        raise UsageError(f"The {what}s must be one-dimensional, not of shape {array.shape}.")
    if array.dtype.kind not in "biuf" and len(array):
        raise SourceError(f"The {what}s are not numbers; the first is {array[0]!r}.")
    return array.astype(np.float64)


def _checked_probabilities(probabilities: "NDArray[Any]", n: int) -> "NDArray[np.float64]":
    chances = _numbers("probability", probabilities)
    if len(chances) != n:
        raise UsageError(f"There are {n} pairs but {len(chances)} probabilities.")
    if not are_probabilities(chances):
        raise UsageError("Probabilities must be between 0 and 1.")
    return chances
