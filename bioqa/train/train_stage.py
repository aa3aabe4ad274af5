"""One stage of a training run: from the base model or the previous stage's model to a trained model."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers.cross_encoder import CrossEncoder
from transformers import set_seed

from bioqa.errors import UsageError
from bioqa.io.output import new_folder
from bioqa.train.base_model import base_weight, load_base_model
from bioqa.train.callbacks import TrainingTimer
from bioqa.train.pair_trainer import PairTrainer, make_trainer, quiet_training
from bioqa.train.recipe import Stage, TrainingSettings
from bioqa.train.training_folder import SUMMARY_FILE, TrainingFolder

if TYPE_CHECKING:
    import pyarrow as pa


def check_precision(settings: TrainingSettings) -> None:
    """Raise UsageError if this machine cannot train in the requested precision."""
    if not torch.cuda.is_available():
        if settings.precision == "fp16":
            raise UsageError(
                "training.precision = 'fp16' needs a GPU, and this machine has none. Train with --set training.precision=fp32 "
                "(or bf16, which is fast on processors that support it), or on another machine."
            )
    elif settings.precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise UsageError(
            "training.precision = 'bf16' is not supported by this machine's GPU. Train with --set training.precision=fp32, or on "
            "another machine."
        )


def train_stage(
    stage: Stage,
    folder: TrainingFolder,
    number: int,
    pairs: "tuple[pa.Table, pa.Table | None]",
    *,
    progress: bool,
) -> None:
    """Train stage ``number`` (from 1), resuming from its last checkpoint; write its model and summary to ``folder``.

    ``pairs`` are the training pairs and the dev pairs (or None).

    Raises:
        UsageError: ``model.freeze`` matches no weight, or the base model does not fit the settings.
        ModelError: the base model cannot be loaded, or its bioqa.json is damaged.
        PairsError: the pairs do not fit the loss.
        TrainingError: the loss is no longer finite.
    """
    train, dev = pairs
    weight = base_weight(stage.model)
    set_seed(stage.training.seed)
    with quiet_training():
        model = load_base_model(stage.model, folder.stage_model(number - 1) if number > 1 else None)
    _freeze(model, stage.model.freeze)
    trainer = make_trainer(stage, model, folder.stage(number), pairs, progress=progress)
    last = folder.last_checkpoint(number)
    with quiet_training():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if folder.writes:
            summary = _summary(trainer, stage, len(train), 0 if dev is None else len(dev))
            summary["base_first_stage_weight"] = weight
            _write_model(trainer.model, folder.stage_model(number), summary)
    trainer.accelerator.wait_for_everyone()


def _freeze(model: CrossEncoder, names: tuple[str, ...]) -> None:
    for name in names:
        found = [weight for path, weight in model.named_parameters() if name in path]
        if not found:
            raise UsageError(f"model.freeze: no weight of the base model has {name!r} in its name.")
        for weight in found:
            weight.requires_grad_(False)


def _summary(trainer: PairTrainer, stage: Stage, train_pairs: int, dev_pairs: int) -> dict[str, Any]:
    """What the model card and the training curves show of a stage."""
    state, card = trainer.state, trainer.model.model_card_data
    timer = next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, TrainingTimer))
    best = state.best_model_checkpoint if stage.training.best_checkpoint else None
    arguments: Any = trainer.args
    settings = json.loads(arguments.to_json_string())
    return {
        "stage": stage.name,
        "steps": state.global_step,
        "best_step": int(best.rpartition("-")[2]) if best else None,
        "seconds": round(timer.seconds(), 1),
        "train_pairs": train_pairs,
        "dev_pairs": dev_pairs,
        "processes": trainer.args.world_size,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        "hyperparameters": {key: settings[key] for key in card.all_hyperparameters},
        "non_default": sorted(card.non_default_hyperparameters),
        "log": state.log_history,
    }


def _write_model(model: CrossEncoder, target: Path, summary: dict[str, Any]) -> None:
    """Write the model and the summary of a stage; the folder appears whole or not at all."""
    with new_folder(target) as part:
        model.save_pretrained(str(part), create_model_card=False)
        (part / SUMMARY_FILE).write_text(json.dumps(summary, indent=1, default=str) + "\n", encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
