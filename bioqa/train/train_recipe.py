"""Train a reranker by a recipe, stage by stage, into a model folder."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.errors import ModelError, PairsError, UsageError
from bioqa.train.recipe import Recipe
from bioqa.train.training_folder import TrainingFolder


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """The model in ``folder``; ``new`` is False if it had been trained before."""

    folder: Path
    new: bool


def train_recipe(recipe: Recipe, output: str | Path, *, fresh: bool = False, progress: bool = False) -> TrainedModel:
    """Train by ``recipe`` and write the model to the folder ``output``.

    An interrupted run resumes from its last checkpoint; ``fresh`` starts over. Under torchrun each process trains on its share of
    the batches, and only the first one writes. ``progress`` reports progress and evaluations on standard error.

    The folder loads in ``sentence_transformers.CrossEncoder`` and ``bioqa.Reranker`` with equal scores. It also contains
    recipe.toml (all settings), README.md (the model card), curves.png, training.json (summary and log of each stage) and
    bioqa.json (decision threshold, calibration and first-stage weight, chosen on dev: see ``dev_weight``).

    Raises:
        UsageError: a setting does not fit the base model, this machine or the training run in ``output``.
        PairsError: a pairs file cannot be used, or training and dev pairs overlap (LeakError).
        ModelError: the base model cannot be loaded.
        TrainingError: the loss is no longer finite.
        OutputError: ``output`` cannot be written.
    """
    from bioqa.train.datasets import check_files, check_leaks, read_dev, read_train

    for stage in recipe.stages:
        check_files(stage.data)

    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    from bioqa.train.export import export_model
    from bioqa.train.train_stage import check_precision, train_stage

    for stage in recipe.stages:
        check_precision(stage.training)
    pairs = [(read_train(stage), read_dev(stage.data)) for stage in recipe.stages]
    processes = PartialState(cpu=not torch.cuda.is_available())
    with processes.main_process_first():
        first = processes.is_main_process
        folder = TrainingFolder(output, recipe, fresh=fresh and first, writes=first)
        if first and not folder.finished:
            for stage in recipe.stages:
                check_leaks(stage.data)
            folder.begin(recipe)
    if folder.finished:
        return TrainedModel(folder.path, new=False)
    for number, stage in enumerate(recipe.stages, start=1):
        if folder.stage_summary(number) is None:
            try:
                train_stage(stage, folder, number, pairs[number - 1], progress=progress)
            except (UsageError, ModelError, PairsError):
                if first:
                    folder.withdraw()
                raise
        processes.wait_for_everyone()
    if processes.is_main_process:
        export_model(recipe, folder, *pairs[-1], progress=progress)
    processes.wait_for_everyone()
    return TrainedModel(folder.path, new=True)
