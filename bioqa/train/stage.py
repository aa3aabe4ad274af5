"""One stage of a training, on sentence-transformers' ``CrossEncoderTrainer``."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator
from torch import nn
from transformers import EarlyStoppingCallback, set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from bioqa.errors import TrainingError, UsageError
from bioqa.rerank.silence_libraries import silence_libraries
from bioqa.train.base import load_base
from bioqa.train.datasets import Examples, labels, lengths, make_examples, shape
from bioqa.train.folder import FACTS, RunFolder
from bioqa.train.losses import LOSSES, make_loss
from bioqa.train.pretokenized import EpochBatchSampler, HandOver, TokenizingCollator
from bioqa.train.progress import Clock, Progress, SetEpoch
from bioqa.train.recipe import Stage, TrainingSettings

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

DEV = "dev"
METRIC = f"eval_{DEV}_average_precision"
"""The name under which the trainer logs the average precision on dev."""

NEVER = 1 << 40


class PairTrainer(CrossEncoderTrainer):
    """The library's trainer with batches of similar length, tokens made ahead, and an end where the loss is no number."""

    def __init__(self, examples: Examples, settings: TrainingSettings, max_length: int, **options: Any) -> None:
        self._sections = examples.sections
        self._settings = settings
        self._max_length = max_length
        self._first_bad = torch.tensor(NEVER)
        self._lengths: dict[int, Any] = {}
        super().__init__(train_dataset=examples.dataset, **options)
        self._first_bad = self._first_bad.to(self.args.device)

    def get_batch_sampler(
        self, dataset: "Dataset", batch_size: int, drop_last: bool, *_: Any, **__: Any
    ) -> EpochBatchSampler:
        """The batches of the training set, and of dev for its loss."""
        trains = dataset is self.train_dataset
        sections = self._sections if trains else (np.arange(len(dataset)),)
        if self._settings.group_by_length and id(dataset) not in self._lengths:
            self._lengths[id(dataset)] = lengths(dataset, self.model.tokenizer, self._max_length)
        tokens = self._lengths.get(id(dataset))
        drop_last = drop_last and trains  # under torchrun the library would have parts of dev left out
        sampler = EpochBatchSampler(sections, tokens, batch_size, drop_last=drop_last, seed=self._settings.seed)
        if trains:
            self.add_callback(SetEpoch(sampler))
        return sampler

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a batch; its tokens are handed to the loss where they were made ahead."""
        tokens = inputs.pop("tokens", None)
        if tokens is not None:
            hand_over: Any = self.model.preprocess
            hand_over.ready = tokens
        return super().compute_loss(model, inputs, *arguments, **options)

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """One step; remembers, without waiting for the device, the first one whose loss was no number."""
        loss: torch.Tensor = super().training_step(*arguments, **options)
        step = torch.where(torch.isfinite(loss), NEVER, self.state.global_step + 1)
        self._first_bad = torch.minimum(self._first_bad, step)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, after a look whether training diverged."""
        if not all(np.isfinite(value) for key, value in logs.items() if key.endswith("loss")):
            self._diverged()
        super().log(logs, start_time)

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Evaluate, unless training diverged before."""
        self._check()
        measures: dict[str, float] = super().evaluate(*arguments, **options)
        return measures

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint, unless training diverged before."""
        self._check()
        super()._save_checkpoint(model, trial)

    def _check(self) -> None:
        if int(self._first_bad) < NEVER or not all(torch.isfinite(weight).all() for weight in self.model.parameters()):
            self._diverged()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write a checkpoint's model without a model card."""
        self.model.save_pretrained(str(output_dir or self.args.output_dir), create_model_card=False)

    def _diverged(self) -> None:
        bad = int(self._first_bad)
        raise TrainingError(
            f"Training diverged: the loss is no number from step {bad if bad < NEVER else self.state.global_step} of "
            f"{self.state.max_steps} on. Try a lower training.learning_rate (now {self._settings.learning_rate:g}), a longer "
            "training.warmup or another training.precision; no model was written."
        )


def check_precision(settings: TrainingSettings) -> None:
    """Raise UsageError where this machine cannot train in the precision asked for."""
    if not torch.cuda.is_available():
        if settings.precision == "fp16":
            raise UsageError(
                "training.precision = 'fp16' needs a GPU, and there is none here. Train with --set training.precision=fp32 (or "
                "bf16, which is fast on processors with instructions for it), or on another machine."
            )
    elif settings.precision == "bf16" and not torch.cuda.is_bf16_supported():
        raise UsageError(
            "training.precision = 'bf16': this machine's GPU cannot compute in it. Train with --set training.precision=fp32, or on "
            "another machine."
        )


def train_stage(
    stage: Stage, folder: RunFolder, number: int, pairs: "tuple[pa.Table, pa.Table | None]", *, progress: bool
) -> None:
    """Train one stage, from where a former process left it, and write its model and facts to ``folder.result(number)``.

    ``pairs``: the training pairs, and those of dev.

    Raises:
        TrainingError: the loss is no longer a number.
    """
    train, dev = pairs
    set_seed(stage.training.seed)
    with _quiet():
        model = load_base(stage.model, folder.result(number - 1) if number > 1 else None)
    _freeze(model, stage.model.freeze)
    trainer = make_trainer(stage, model, folder.stage(number), pairs, progress=progress)
    last = folder.last_checkpoint(number)
    with _quiet():
        trainer.train(resume_from_checkpoint=None if last is None else str(last))
        if folder.writes:
            _write(trainer, folder.result(number), _facts(trainer, stage, len(train), 0 if dev is None else len(dev)))
    trainer.accelerator.wait_for_everyone()


def _freeze(model: CrossEncoder, names: tuple[str, ...]) -> None:
    for name in names:
        found = [weight for path, weight in model.named_parameters() if name in path]
        if not found:
            raise UsageError(f"model.freeze: no weight of the base model has {name!r} in its name.")
        for weight in found:
            weight.requires_grad_(False)


def make_trainer(
    stage: Stage,
    model: CrossEncoder,
    folder: Path,
    pairs: "tuple[pa.Table, pa.Table | None]",
    *,
    progress: bool = False,
) -> PairTrainer:
    """The trainer of a stage for ``model``, with its checkpoints in ``folder``; for ``pairs`` see ``train_stage``."""
    train, dev = pairs
    settings = stage.training
    examples = make_examples(train, stage)
    callbacks: list[Any] = [Clock()]
    if progress:
        callbacks.append(Progress(stage.name, METRIC))
    if settings.early_stopping:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping))
    if settings.gradient_checkpointing:
        _checkpoint_activations(model.model)
    workers = _workers(stage)
    options: dict[str, Any] = {}
    if workers and LOSSES[stage.loss.name].example == "pair":
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # the workers are forks, and each has a core
        options["data_collator"] = TokenizingCollator(preprocess_fn=model.preprocess)
        model.preprocess = HandOver(model.preprocess)  # type: ignore[method-assign]
    with _quiet():
        trainer = PairTrainer(
            examples,
            settings,
            stage.model.max_length,
            model=model,
            args=_arguments(stage, folder, workers, evaluates=dev is not None),
            eval_dataset=None if dev is None else shape(dev, stage),
            loss=make_loss(stage.loss, model),
            evaluator=None if dev is None else evaluator(dev, settings.eval_batch_size),
            callbacks=callbacks,
            **options,
        )
    for printing in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(printing)
    return trainer


def _checkpoint_activations(model: Any) -> None:
    """Compute activations again in the backward pass; transformers 5 has another name for it."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _workers(stage: Stage) -> int:
    """Processes that tokenize: as set, else on a GPU some of the cores."""
    if stage.training.workers >= 0:
        return stage.training.workers
    return min(4, (os.cpu_count() or 1) // 2) if torch.cuda.is_available() else 0


def _arguments(stage: Stage, folder: Path, workers: int, *, evaluates: bool) -> CrossEncoderTrainingArguments:
    settings = stage.training
    save_steps = settings.save_steps or settings.eval_steps or 500
    sections = int(settings.epochs) if stage.data.curriculum < 1 else 0
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1 if sections else settings.epochs,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.eval_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=settings.warmup,
        lr_scheduler_type=settings.schedule,
        max_grad_norm=settings.max_grad_norm,
        fp16=settings.precision == "fp16",
        bf16=settings.precision == "bf16",
        eval_strategy="steps" if evaluates else "no",
        eval_steps=settings.eval_steps or NEVER,
        save_strategy="steps",
        save_steps=save_steps,
        save_total_limit=max(2, settings.keep_checkpoints),
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        restore_callback_states_from_checkpoint=True,
        load_best_model_at_end=settings.best_checkpoint,
        metric_for_best_model=METRIC if settings.best_checkpoint else None,
        greater_is_better=True if settings.best_checkpoint else None,
        seed=settings.seed,
        dataloader_num_workers=workers,
        ddp_find_unused_parameters=False,  # with it, torch takes every weight for one that is used twice
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    if "LOCAL_RANK" not in os.environ and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs are torchrun's matter; without it the library would split every batch
    return arguments


def evaluator(dev: "pa.Table", batch_size: int) -> CrossEncoderClassificationEvaluator:
    """The library's measures on dev pairs; a label from 0.5 on counts as relevant."""
    columns = (dev.column(name).to_pylist() for name in ("question", "passage"))
    pairs: list[Any] = [list(pair) for pair in zip(*columns, strict=True)]
    return CrossEncoderClassificationEvaluator(
        pairs,
        (labels(dev) >= 0.5).astype(int).tolist(),
        name=DEV,
        batch_size=batch_size,
        show_progress_bar=False,
        write_csv=False,
    )


def _facts(trainer: PairTrainer, stage: Stage, train_pairs: int, dev_pairs: int) -> dict[str, Any]:
    """What the model card and the curves need to know of a stage."""
    state, card = trainer.state, trainer.model.model_card_data
    clock = next(callback for callback in trainer.callback_handler.callbacks if isinstance(callback, Clock))
    best = state.best_model_checkpoint if stage.training.best_checkpoint else None
    arguments: Any = trainer.args
    settings = json.loads(arguments.to_json_string())
    return {
        "stage": stage.name,
        "steps": state.global_step,
        "best_step": int(best.rpartition("-")[2]) if best else None,
        "seconds": round(clock.seconds(), 1),
        "train_pairs": train_pairs,
        "dev_pairs": dev_pairs,
        "processes": trainer.args.world_size,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU",
        "peak_gpu_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
        "hyperparameters": {key: settings[key] for key in card.all_hyperparameters},
        "non_default": sorted(card.non_default_hyperparameters),
        "log": state.log_history,
    }


def _write(trainer: PairTrainer, target: Path, facts: dict[str, Any]) -> None:
    """Write a stage's model and facts; the folder appears whole."""
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    model = trainer.model
    model.save_pretrained(str(part), create_model_card=False)
    (part / FACTS).write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")
    shutil.rmtree(target, ignore_errors=True)
    part.replace(target)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' bars, notices and warnings; what goes wrong is raised."""
    names = ("sentence_transformers", "accelerate", "torch.distributed", "huggingface_hub")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with silence_libraries():
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
