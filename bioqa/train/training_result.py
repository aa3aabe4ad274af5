"""The outcome of a training run, as the model card and the plots show it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.model_folder.settings import Calibration
from bioqa.train.dev_weight import DevWeight
from bioqa.train.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa
    from sentence_transformers import CrossEncoder

    from bioqa.evaluate.classification import ClassificationMeasures, PublishedMeasures

DEV = "dev"
DEV_METRIC = f"eval_{DEV}_average_precision"
"""The key under which the trainer logs the average precision on dev."""


@dataclass(frozen=True, slots=True, eq=False)
class DevEvaluation:
    """The exported model on the n dev pairs, with the threshold and the calibration that were chosen on them.

    ``labels`` is a bool array of shape (n,). ``uncalibrated`` and ``calibrated`` are float64 arrays of shape (n,): the logistic
    function of the logits, and cross-validated calibrated probabilities. ``measures`` are at the chosen threshold, with the
    calibration error of ``calibrated``; ``published`` are computed as in published model cards. ``ece_before`` is the expected
    calibration error of ``uncalibrated``.
    """

    labels: NDArray[np.bool_]
    uncalibrated: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    calibration: Calibration
    measures: "ClassificationMeasures"
    published: "PublishedMeasures"
    ece_before: float


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """A completed training run.

    ``name`` is the name of the model folder. ``stages`` are the summaries of the stages (see ``train_stage.train_stage``).
    ``dev_evaluation`` is None without dev pairs. ``weight`` is the first-stage weight. ``train`` and ``dev`` are the pairs of the
    last stage.
    """

    recipe: Recipe
    name: str
    model: "CrossEncoder"
    stages: list[dict[str, Any]]
    dev_evaluation: DevEvaluation | None
    weight: DevWeight
    train: "pa.Table"
    dev: "pa.Table | None"
