"""From the last stage's model to the finished folder: weights for use, threshold and calibration, card, curves."""

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from bioqa.rerank.model_folder.settings import SETTINGS_FILE, Calibration
from bioqa.train.folder import RECIPE, RunFolder
from bioqa.train.recipe import ExportSettings, Recipe

if TYPE_CHECKING:
    import pyarrow as pa
    from sentence_transformers import CrossEncoder

    from bioqa.evaluate.classification import ClassificationMeasures, PublishedMeasures


@dataclass(frozen=True, slots=True, eq=False)
class Judgement:
    """What the finished model makes of the n dev pairs, and what was chosen by it.

    ``labels`` bool and ``raw``, ``calibrated`` float64 of shape (n,): the logistic function of the logits, and the probabilities
    by calibrations fitted to other questions. ``measures`` are at the chosen threshold, with the calibration error of
    ``calibrated``; ``published`` in the way of published cards. ``ece_before`` is the calibration error of ``raw``.
    """

    labels: NDArray[np.bool_]
    raw: NDArray[np.float64]
    calibrated: NDArray[np.float64]
    calibration: Calibration
    measures: "ClassificationMeasures"
    published: "PublishedMeasures"
    ece_before: float


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """All there is to tell of a training. ``name``: of the model's folder. ``facts``: of each stage (see ``stage.train_stage``).
    ``judgement``: None without dev pairs. ``train``, ``dev``: the pairs of the last stage.
    """

    recipe: Recipe
    name: str
    model: "CrossEncoder"
    facts: list[dict[str, Any]]
    judgement: Judgement | None
    train: "pa.Table"
    dev: "pa.Table | None"


def finish(
    recipe: Recipe, folder: RunFolder, train: "pa.Table", dev: "pa.Table | None", *, progress: bool = False
) -> None:
    """Write the finished model of a training whose stages are all done. ``train`` and ``dev`` are the last stage's pairs."""
    from bioqa.train.model_card import write_card
    from bioqa.train.plots import draw_curves, draw_reliability

    last = len(recipe.stages)
    facts = [folder.facts(number) or {} for number in range(1, last + 1)]
    part = folder.checkpoints / ".finished"
    shutil.rmtree(part, ignore_errors=True)
    model = export(folder.result(last), part, recipe.export)
    judgement = None if dev is None else judge(model, dev, recipe, progress=progress)
    (part / SETTINGS_FILE).write_text(json.dumps(decision(recipe, judgement), indent=1) + "\n", encoding="utf-8")
    (part / RECIPE).write_text(recipe.to_toml(), encoding="utf-8")
    (part / "training.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    draw_curves(part / "curves.png", facts)
    if judgement is not None:
        draw_reliability(part / "reliability.png", judgement)
    write_card(part / "README.md", Finished(recipe, folder.path.name, model, facts, judgement, train, dev))
    folder.publish(part, keep_checkpoints=recipe.stages[-1].training.keep_checkpoints > 0)


def export(source: Path, target: Path, settings: ExportSettings) -> "CrossEncoder":
    """Write the model of a stage as it will be used, and load that again in fp32."""
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
    from bioqa.train.base import card_data

    with silence_libraries():
        model: CrossEncoder = CrossEncoder(
            str(folder), model_kwargs={"dtype": torch.float32}, model_card_data=card_data()
        )
    return model


def judge(model: "CrossEncoder", dev: "pa.Table", recipe: Recipe, *, progress: bool = False) -> Judgement:
    """Score the dev pairs, choose the threshold of highest F1 and fit the calibration."""
    import torch

    from bioqa.evaluate.classification import (
        best_threshold,
        calibration_error,
        classification_measures,
        published_measures,
    )
    from bioqa.train.calibration import fit, held_out
    from bioqa.train.datasets import labels

    pairs = list(zip(dev.column("question").to_pylist(), dev.column("passage").to_pylist(), strict=True))
    batch_size = recipe.stages[-1].training.eval_batch_size
    bar = progress and sys.stderr.isatty()
    logits = model.predict(pairs, batch_size=batch_size, activation_fn=torch.nn.Identity(), show_progress_bar=bar)
    activation: Any = model.activation_fn
    scores = activation(torch.from_numpy(logits)).numpy()
    truth = labels(dev) >= 0.5
    raw = expit(logits.astype(np.float64))
    calibration, calibrated = Calibration(), raw
    if recipe.export.calibration != "none":
        calibration = fit(logits, truth, recipe.export.calibration)
        calibrated = held_out(logits, truth, dev.column("question_id").to_numpy(), recipe.export.calibration)
    threshold = best_threshold(truth, scores)[1]
    return Judgement(
        labels=truth,
        raw=raw,
        calibrated=calibrated,
        calibration=calibration,
        measures=classification_measures(truth, scores, threshold, probabilities=calibrated),
        published=published_measures(truth, scores),
        ece_before=calibration_error(truth, raw),
    )


def decision(recipe: Recipe, judgement: Judgement | None) -> dict[str, Any]:
    """The content of bioqa.json; ``ece_after`` is of calibrations fitted to other questions."""
    about = {"trained_on_tokens": recipe.stages[-1].model.max_length}
    if judgement is None:
        return {"threshold": None, "calibration": None, **about}
    measures = asdict(judgement.measures)
    return {
        "threshold": measures["threshold"],
        "threshold_chosen_by": "highest F1 on dev",
        "calibration": asdict(judgement.calibration) if judgement.calibration.method != "none" else None,
        "ece_before": judgement.ece_before,
        "ece_after": measures["calibration_error"],
        "dev": {name: measures[name] for name in ("n", "positives", "average_precision", "f1", "mcc")},
        **about,
    }
