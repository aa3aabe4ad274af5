"""Trainer callbacks: progress on standard error, the sampler's epoch, and training time."""

import sys
import time
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState

from bioqa.io.terminal import printable

FIRST_REPORT = 10.0
REPORT_INTERVAL = 30.0
"""Seconds until the first line of progress, and between lines, where standard error is not a terminal."""


class TrainingProgress(TrainerCallback):
    """Shows a progress bar on a terminal, elsewhere lines of text; evaluations on dev are always lines.

    Lines have step, loss, pairs per second and time left. One is written for each logged loss, and by time:
    after ``FIRST_REPORT`` seconds and then every ``REPORT_INTERVAL`` seconds, after the batch that ends then.
    """

    def __init__(self, stage: str, metric: str, pairs_per_example: float) -> None:
        """``stage`` labels the bar and the lines, ``metric`` is the key of the logged measure to show."""
        self._stage = printable(stage)
        self._metric = metric
        self._pairs_per_example = pairs_per_example
        self._bar: Any = None
        self._began = self._due = 0.0
        self._first_step = 0
        self._batches = 0
        self._loss_sum: Any = 0.0
        self._losses = 0

    def add_loss(self, loss: Any) -> None:
        """Record the loss of a training batch, a tensor, without waiting for the device."""
        self._loss_sum = self._loss_sum + loss.detach()
        self._losses += 1

    def _mean_loss(self) -> float:
        """The mean loss since the last call."""
        mean = float(self._loss_sum) / max(self._losses, 1)
        self._loss_sum, self._losses = 0.0, 0
        return mean

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the bar at the first or the resumed step."""
        from tqdm import tqdm

        if not state.is_world_process_zero:
            return
        self._bar = tqdm(
            desc=self._stage,
            total=state.max_steps,
            initial=state.global_step,
            unit=" steps",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )
        self._began = time.monotonic()
        self._due = self._began + FIRST_REPORT
        self._first_step = state.global_step

    def on_substep_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Count a batch of an accumulated step."""
        self._end_batch(args, state)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)
        self._end_batch(args, state)

    def _end_batch(self, args: Any, state: Any) -> None:
        self._batches += 1
        if self._bar is not None and self._bar.disable and time.monotonic() >= self._due:
            self._write_line(args, state, self._mean_loss())

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Show the training loss beside the bar or as a line, and an evaluation as a line."""
        if self._bar is None or logs is None:
            return
        if "loss" in logs:
            self._mean_loss()
            if self._bar.disable:
                self._write_line(args, state, logs["loss"])
            else:
                self._bar.set_postfix_str(f"loss {logs['loss']:.4f}")
        elif self._metric in logs:
            scores = f"dev loss {logs['eval_loss']:.4f}, dev average precision {logs[self._metric]:.4f}"
            self._bar.write(f"{self._position(state)}: {scores}", file=sys.stderr)

    def _position(self, state: Any) -> str:
        return f"{self._stage}, step {state.global_step:,} of {state.max_steps:,}"

    def _write_line(self, args: Any, state: Any, loss: float) -> None:
        now = time.monotonic()
        seconds = max(now - self._began, 1e-9)
        pairs = self._batches * args.train_batch_size * args.world_size * self._pairs_per_example
        batches_left = (state.max_steps - self._first_step) * args.gradient_accumulation_steps - self._batches
        left = self._bar.format_interval(max(batches_left, 0) * seconds / max(self._batches, 1))
        line = f"{self._position(state)}: loss {loss:.4f}, {pairs / seconds:,.1f} pairs/s, {left} left"
        self._bar.write(line, file=sys.stderr)
        self._due = now + REPORT_INTERVAL

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()


class SetEpoch(TrainerCallback):
    """Sets the epoch of a batch sampler; the trainer itself does not when it resumes under torchrun."""

    def __init__(self, sampler: Any) -> None:
        """``sampler`` has a method ``set_epoch``."""
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch that begins or is resumed."""
        self._sampler.set_epoch(int(state.epoch or 0))


class TrainingTimer(TrainerCallback, ExportableState):
    """Seconds of training, including those before an interruption; it is saved in every checkpoint."""

    def __init__(self, before: float = 0.0) -> None:
        """``before``: seconds of training before the run was resumed."""
        self._before = before
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Seconds of training so far."""
        return self._before + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the timer."""
        self._began = time.monotonic()

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint saves."""
        return {"args": {"before": self.seconds()}, "attributes": {}}
