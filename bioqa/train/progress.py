"""What a person sees of a training under way, on standard error, and what it takes."""

import sys
import time
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import ExportableState


class Progress(TrainerCallback):
    """A bar with the latest loss, or a line for each logged loss where there is no terminal; a line for every evaluation."""

    def __init__(self, stage: str, metric: str) -> None:
        """``stage`` names the bar, ``metric`` is the logged measure to show."""
        self._stage = stage
        self._metric = metric
        self._bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin the bar at the step that the run goes on from."""
        from tqdm import tqdm

        if state.is_world_process_zero:
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

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A step further."""
        if self._bar is not None:
            self._bar.update(state.global_step - self._bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Show the training loss beside the bar, an evaluation as a line above it."""
        if self._bar is None or logs is None:
            return
        at = f"{self._stage}, step {state.global_step:,} of {state.max_steps:,}"
        if "loss" in logs:
            self._bar.set_postfix_str(f"loss {logs['loss']:.4f}")
            if self._bar.disable:
                self._bar.write(f"{at}: loss {logs['loss']:.4f}", file=sys.stderr)
        elif self._metric in logs:
            self._bar.write(
                f"{at}: dev loss {logs['eval_loss']:.4f}, dev average precision {logs[self._metric]:.4f}",
                file=sys.stderr,
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


class SetEpoch(TrainerCallback):
    """Tells a batch sampler its epoch; the trainer's own way does not reach it in a run that goes on under torchrun."""

    def __init__(self, sampler: Any) -> None:
        """``sampler`` has a method ``set_epoch``."""
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Set the epoch that begins, or that a run goes on in."""
        self._sampler.set_epoch(int(state.epoch or 0))


class Clock(TrainerCallback, ExportableState):
    """Seconds of training over all the processes that a run took; it is part of every checkpoint."""

    def __init__(self, before: float = 0.0) -> None:
        """``before``: the seconds that earlier processes took."""
        self._before = before
        self._began = time.monotonic()

    def seconds(self) -> float:
        """Seconds up to now."""
        return self._before + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Begin to count."""
        self._began = time.monotonic()

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {"before": self.seconds()}, "attributes": {}}
