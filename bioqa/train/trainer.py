"""Train a reranker by a recipe, stage by stage, into a folder that holds all there is to know of it."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.errors import ModelError, PairsError, UsageError
from bioqa.train.folder import RunFolder
from bioqa.train.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Trained:
    """What ``train`` made: ``folder`` holds the model, ``new`` is False where it did so already."""

    folder: Path
    new: bool


def train(recipe: Recipe, output: str | Path, *, fresh: bool = False, progress: bool = False) -> Trained:
    """Train by ``recipe`` and write the model to the folder ``output``.

    A run that was interrupted goes on from its last checkpoint; ``fresh`` begins anew. Under torchrun each process takes its share
    of the batches, and the first alone writes. ``progress`` shows a bar and the evaluations on standard error.

    The folder loads in ``sentence_transformers.CrossEncoder`` and ``bioqa.Reranker`` with equal scores, and has recipe.toml
    (all settings), README.md (the model card), curves.png, training.json (the log) and bioqa.json (decision threshold and
    calibration, chosen on dev).

    Raises:
        UsageError: a setting does not go with the base model, this machine or the training that ``output`` holds.
        PairsError: a pairs file cannot be used, or training and dev pairs overlap (LeakError).
        ModelError: the base model cannot be loaded.
        TrainingError: the loss is no longer a number.
        OutputError: ``output`` cannot be written.
    """
    from bioqa.train.datasets import check_files, check_leaks, read_dev, read_train

    for stage in recipe.stages:
        check_files(stage.data)

    import torch
    from accelerate import PartialState  # type: ignore[import-untyped]

    from bioqa.train.export import finish
    from bioqa.train.stage import check_precision, train_stage

    for stage in recipe.stages:
        check_precision(stage.training)
    pairs = [(read_train(stage), read_dev(stage.data)) for stage in recipe.stages]
    processes = PartialState(cpu=not torch.cuda.is_available())
    with processes.main_process_first():
        first = processes.is_main_process
        folder = RunFolder(output, recipe, fresh=fresh and first, writes=first)
        if first and not folder.finished:
            for stage in recipe.stages:
                check_leaks(stage.data)
            folder.begin(recipe)
    if folder.finished:
        return Trained(folder.path, new=False)
    for number, stage in enumerate(recipe.stages, start=1):
        if folder.facts(number) is None:
            try:
                train_stage(stage, folder, number, pairs[number - 1], progress=progress)
            except (UsageError, ModelError, PairsError):
                if first:
                    folder.withdraw()
                raise
        processes.wait_for_everyone()
    if processes.is_main_process:
        finish(recipe, folder, *pairs[-1], progress=progress)
    processes.wait_for_everyone()
    return Trained(folder.path, new=True)
