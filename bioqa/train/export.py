"""From the last stage's model to the finished model folder: weights, bioqa.json with what is chosen on dev, plots, model card."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bioqa.io.output import new_folder
from bioqa.pairs.read_pairs import column_values
from bioqa.rerank.model_folder.settings import SETTINGS_FILE, Calibration
from bioqa.train.dev_weight import DevWeight, choose_dev_weight
from bioqa.train.model_card import write_card
from bioqa.train.plots import save_curves, save_reliability
from bioqa.train.recipe import ExportSettings, Recipe
from bioqa.train.training_folder import FIRST_FILE, RECIPE_FILE, TrainingFolder
from bioqa.train.training_result import DevEvaluation, TrainingResult

if TYPE_CHECKING:
    import pyarrow as pa
    from sentence_transformers import CrossEncoder


def export_model(
    recipe: Recipe, folder: TrainingFolder, train: "pa.Table", dev: "pa.Table | None", *, progress: bool = False
) -> None:
    """Write the model of a run whose stages are all finished. ``train`` and ``dev`` are the pairs of the last stage."""
    last = len(recipe.stages)
    stages = [folder.stage_summary(number) or {} for number in range(1, last + 1)]
    with new_folder(folder.checkpoints / "finished") as part:
        model = _export_weights(folder.stage_model(last), part, recipe.export)
        evaluation = None if dev is None else _evaluate_on_dev(model, dev, recipe, progress=progress)
        weight = choose_dev_weight(
            dev,
            stages[0].get("base_first_stage_weight", 0.0),
            lambda pairs: _logits(model, pairs, recipe, progress=progress),
        )
        (part / SETTINGS_FILE).write_text(
            json.dumps(_reranker_settings(recipe, evaluation, weight), indent=1) + "\n", encoding="utf-8"
        )
        (part / RECIPE_FILE).write_text(recipe.to_toml(), encoding="utf-8")
        (part / FIRST_FILE).write_text(json.dumps(stages, indent=1) + "\n", encoding="utf-8")
        save_curves(part / "curves.png", stages)
        if evaluation is not None:
            save_reliability(part / "reliability.png", evaluation)
        write_card(
            part / "README.md", TrainingResult(recipe, folder.path.name, model, stages, evaluation, weight, train, dev)
        )
        folder.publish(part, keep_checkpoints=recipe.stages[-1].training.keep_checkpoints > 0)


def _export_weights(source: Path, target: Path, settings: ExportSettings) -> "CrossEncoder":
    """Write the model in ``source`` with the exported precision and maximum length, and load the result in fp32."""
    import torch

    from bioqa.rerank.silence_libraries import silence_libraries

    model = _load(source)
    if settings.max_length:
        model.max_seq_length = settings.max_length
    model.to({"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[settings.precision])
    with silence_libraries():
        model.save_pretrained(str(target), create_model_card=False)
    for file in target.iterdir():
        if file.is_file():
            file.chmod(0o644)
    return _load(target)


def _load(folder: Path) -> "CrossEncoder":
    import torch
    from sentence_transformers import CrossEncoder

    from bioqa.rerank.silence_libraries import silence_libraries
    from bioqa.train.base_model import offline_card_data

    with silence_libraries():
        model: CrossEncoder = CrossEncoder(
            str(folder), model_kwargs={"dtype": torch.float32}, model_card_data=offline_card_data()
        )
    return model


def _evaluate_on_dev(
    model: "CrossEncoder", dev: "pa.Table", recipe: Recipe, *, progress: bool = False
) -> DevEvaluation:
    """Score the dev pairs, choose the threshold with the highest F1 and fit the calibration."""
    import torch

    from bioqa.evaluate.classification import (
        best_threshold,
        calibration_error,
        classification_measures,
        published_measures,
    )
    from bioqa.train.calibration import cross_validated, fit
    from bioqa.train.datasets import labels

    questions, passages = (column_values(dev, name) for name in ("question", "passage"))
    pairs = list(zip(questions, passages, strict=True))
    logits = _logits(model, pairs, recipe, progress=progress)
    activation: Any = model.activation_fn
    scores = activation(torch.from_numpy(logits)).numpy()
    relevant = labels(dev) >= 0.5
    uncalibrated = expit(logits.astype(np.float64))
    calibration, calibrated = Calibration(), uncalibrated
    method = recipe.export.calibration
    if method != "none":
        calibration = fit(logits, relevant, method)
        calibrated = cross_validated(logits, relevant, dev.column("question_id").to_numpy(), method)
    threshold = best_threshold(relevant, scores)[1]
    return DevEvaluation(
        labels=relevant,
        uncalibrated=uncalibrated,
        calibrated=calibrated,
        calibration=calibration,
        measures=classification_measures(relevant, scores, threshold, probabilities=calibrated),
        published=published_measures(relevant, scores),
        ece_before=calibration_error(relevant, uncalibrated),
    )


def _logits(
    model: "CrossEncoder", pairs: Sequence[tuple[str, str]], recipe: Recipe, *, progress: bool
) -> NDArray[np.float32]:
    """The logits of n pairs: float32 of shape (n,)."""
    import torch

    logits: NDArray[np.float32] = model.predict(
        list(pairs),
        batch_size=recipe.stages[-1].training.eval_batch_size,
        activation_fn=torch.nn.Identity(),
        show_progress_bar=progress and sys.stderr.isatty(),
    )
    return logits


def _reranker_settings(recipe: Recipe, evaluation: DevEvaluation | None, weight: DevWeight) -> dict[str, Any]:
    """The content of bioqa.json; ``ece_after`` is cross-validated."""
    about: dict[str, Any] = {
        "first_stage_weight": weight.weight,
        "first_stage_weight_chosen_by": weight.chosen_by,
        "trained_on_tokens": recipe.stages[-1].model.max_length,
    }
    if weight.tried:
        about["first_stage_weights_tried"] = {f"{tried:g}": mean for tried, mean in weight.tried.items()}
    if evaluation is None:
        return {"threshold": None, "calibration": None, **about}
    measures = asdict(evaluation.measures)
    return {
        "threshold": measures["threshold"],
        "threshold_chosen_by": "highest F1 on dev",
        "calibration": asdict(evaluation.calibration) if evaluation.calibration.method != "none" else None,
        "ece_before": evaluation.ece_before,
        "ece_after": measures["calibration_error"],
        "dev": {name: measures[name] for name in ("n", "positives", "average_precision", "f1", "mcc")},
        **about,
    }
