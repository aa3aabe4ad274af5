"""Training on pairs with sentence-transformers' ``CrossEncoderTrainer``."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers.cross_encoder import CrossEncoder, CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.evaluation import CrossEncoderClassificationEvaluator
from torch import nn
from transformers import EarlyStoppingCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from bioqa.errors import TrainingError
from bioqa.pairs.pair_file import TEACHER_SCORE
from bioqa.rerank.silence_libraries import silence_libraries
from bioqa.train.batch_sampler import EpochBatchSampler
from bioqa.train.callbacks import SetEpoch, TrainingProgress, TrainingTimer
from bioqa.train.datasets import TrainingData, labels, make_training_data, pairs_per_example, to_examples, token_counts
from bioqa.train.losses import LOSSES, make_loss
from bioqa.train.pretokenized import TOKENS, PretokenizedInputs, TokenizingCollator
from bioqa.train.recipe import Stage, TrainingSettings
from bioqa.train.training_result import DEV, DEV_METRIC

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

NEVER = 1 << 40
"""A step that is never reached."""


class PairTrainer(CrossEncoderTrainer):
    """The library's trainer with batches of similar length and tokenization ahead; stops when the loss is not finite."""

    def __init__(
        self,
        data: TrainingData,
        settings: TrainingSettings,
        max_length: int,
        progress: TrainingProgress | None,
        **options: Any,
    ) -> None:
        self._epoch_rows = data.epoch_rows
        self._settings = settings
        self._max_length = max_length
        self._progress = progress
        self._first_bad_step = torch.tensor(NEVER)
        self._token_counts: dict[int, Any] = {}
        super().__init__(train_dataset=data.dataset, **options)
        self._first_bad_step = self._first_bad_step.to(self.args.device)
        if progress is not None:
            self.add_callback(progress)

    def get_batch_sampler(
        self, dataset: "Dataset", batch_size: int, drop_last: bool, *_: Any, **__: Any
    ) -> EpochBatchSampler:
        """The batches of the training set, or of dev for its loss."""
        is_train = dataset is self.train_dataset
        epoch_rows = self._epoch_rows if is_train else (np.arange(len(dataset)),)
        if self._settings.group_by_length and id(dataset) not in self._token_counts:
            self._token_counts[id(dataset)] = token_counts(dataset, self.model.tokenizer, self._max_length)
        lengths = self._token_counts.get(id(dataset))
        drop_last = drop_last and is_train  # under torchrun the library would drop parts of dev
        sampler = EpochBatchSampler(epoch_rows, lengths, batch_size, drop_last=drop_last, seed=self._settings.seed)
        if is_train:
            self.add_callback(SetEpoch(sampler))
        return sampler

    def compute_loss(self, model: Any, inputs: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        """The loss of a batch, with the tokens that a data loader worker made, if any."""
        tokens = inputs.pop(TOKENS, None)
        if tokens is not None:
            pretokenized: Any = self.model.preprocess
            pretokenized.tokens = tokens
        loss = super().compute_loss(model, inputs, *arguments, **options)
        if self._progress is not None and model.training:
            self._progress.add_loss(loss)
        return loss

    def training_step(self, *arguments: Any, **options: Any) -> torch.Tensor:
        """One step; records, without waiting for the device, the first step whose loss is not finite."""
        loss: torch.Tensor = super().training_step(*arguments, **options)
        step = torch.where(torch.isfinite(loss), NEVER, self.state.global_step + 1)
        self._first_bad_step = torch.minimum(self._first_bad_step, step)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log, unless training has diverged."""
        if not all(np.isfinite(value) for key, value in logs.items() if key.endswith("loss")):
            self._raise_diverged()
        super().log(logs, start_time)

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Evaluate, unless training has diverged."""
        self._check_finite()
        measures: dict[str, float] = super().evaluate(*arguments, **options)
        return measures

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Save a checkpoint, unless training has diverged."""
        self._check_finite()
        super()._save_checkpoint(model, trial)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """Write the model of a checkpoint, without a model card."""
        self.model.save_pretrained(str(output_dir or self.args.output_dir), create_model_card=False)

    def _check_finite(self) -> None:
        bad_step = int(self._first_bad_step) < NEVER
        if bad_step or not all(torch.isfinite(weight).all() for weight in self.model.parameters()):
            self._raise_diverged()

    def _raise_diverged(self) -> None:
        bad = int(self._first_bad_step)
        raise TrainingError(
            f"Training diverged: the loss is not finite from step {bad if bad < NEVER else self.state.global_step} of "
            f"{self.state.max_steps}. Try a lower training.learning_rate (now {self._settings.learning_rate:g}), a longer "
            "training.warmup or another training.precision. No model was written."
        )


def make_trainer(
    stage: Stage,
    model: CrossEncoder,
    folder: Path,
    pairs: "tuple[pa.Table, pa.Table | None]",
    *,
    progress: bool = False,
) -> PairTrainer:
    """The trainer of a stage for ``model``, with its checkpoints in ``folder``.

    ``pairs`` are the training pairs and the dev pairs (or None). ``progress`` reports on standard error.

    Raises:
        PairsError: as ``datasets.make_training_data``.
    """
    train, dev = pairs
    settings = stage.training
    data = make_training_data(train, stage)
    callbacks: list[Any] = [TrainingTimer()]
    if settings.early_stopping:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping))
    if settings.gradient_checkpointing:
        _enable_gradient_checkpointing(model.model)
    workers = _worker_count(stage)
    options: dict[str, Any] = {}
    if workers and LOSSES[stage.loss.name].example == "pair":
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # workers are forks with one core each
        options["data_collator"] = TokenizingCollator(preprocess_fn=model.preprocess)
        model.preprocess = PretokenizedInputs(model.preprocess)  # type: ignore[method-assign]
    with quiet_training():
        trainer = PairTrainer(
            data,
            settings,
            stage.model.max_length,
            TrainingProgress(stage.name, DEV_METRIC, pairs_per_example(data.dataset)) if progress else None,
            model=model,
            args=_training_arguments(stage, folder, workers, evaluates=dev is not None),
            eval_dataset=_dev_examples(dev, stage),
            loss=make_loss(stage.loss.name, model, pos_weight=stage.loss.pos_weight),
            evaluator=None if dev is None else dev_evaluator(dev, settings.eval_batch_size),
            callbacks=callbacks,
            **options,
        )
    for library_callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(library_callback)
    return trainer


def _dev_examples(dev: "pa.Table | None", stage: Stage) -> "Dataset | None":
    """The dev pairs as examples, for the loss on dev; None if there are none, or none with the scores of a teacher."""
    if dev is None or (LOSSES[stage.loss.name].teacher and TEACHER_SCORE not in dev.column_names):
        return None
    return to_examples(dev, stage)


def _enable_gradient_checkpointing(model: Any) -> None:
    """Recompute activations in the backward pass; the method was renamed in transformers 5."""
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def _worker_count(stage: Stage) -> int:
    """Number of data loader workers: as set, or by default some of the cores on a GPU and none on the CPU."""
    if stage.training.workers >= 0:
        return stage.training.workers
    return min(4, (os.cpu_count() or 1) // 2) if torch.cuda.is_available() else 0


def _training_arguments(stage: Stage, folder: Path, workers: int, *, evaluates: bool) -> CrossEncoderTrainingArguments:
    settings = stage.training
    one_pass = stage.data.curriculum < 1  # which yields the rows of all epochs
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1 if one_pass else settings.epochs,
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
        save_steps=settings.save_steps or settings.eval_steps or 500,
        save_total_limit=max(2, settings.keep_checkpoints),
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        restore_callback_states_from_checkpoint=True,
        load_best_model_at_end=settings.best_checkpoint,
        metric_for_best_model=DEV_METRIC if settings.best_checkpoint else None,
        greater_is_better=True if settings.best_checkpoint else None,
        seed=settings.seed,
        dataloader_num_workers=workers,
        ddp_find_unused_parameters=False,  # otherwise torch reports every weight as used twice
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    if "LOCAL_RANK" not in os.environ and arguments.n_gpu > 1:
        arguments._n_gpu = 1  # several GPUs need torchrun; otherwise the library would split every batch
    return arguments


def dev_evaluator(dev: "pa.Table", batch_size: int) -> CrossEncoderClassificationEvaluator:
    """The library's measures on dev pairs; labels of 0.5 and above are relevant."""
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


@contextmanager
def quiet_training() -> Iterator[None]:
    """Silence the libraries' progress bars, notices and warnings; errors are raised as usual."""
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
