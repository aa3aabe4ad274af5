"""Compute batches on one or several devices, in halves where memory runs out."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, first_line
from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.network import Network, PendingLogits

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

MAX_IN_FLIGHT = 32
"""Batches that a device is given before the first of them is waited for: it is never idle, and few batches are in memory."""


class Workers:
    """The networks of one model, each on a device of its own; safe to use from several threads at once.

    ``devices`` are torch's names, one for each network. A batch is the same on whichever device it runs, so their number
    changes scores by no more than the devices' own rounding.
    """

    def __init__(
        self,
        name: str,
        devices: Sequence[str],
        networks: Sequence[Network],
        kind: str = "reranker",
        what: str = "pairs",
    ) -> None:
        self._workers = [_Worker(f"{kind} {name}", what, *one) for one in zip(devices, networks, strict=True)]

    def logits(self, batches: Iterable[Batch], count: int) -> NDArray[np.float32]:
        """The logits of ``count`` pairs, float32 of shape (count,), from batches that together contain each pair once.

        Raises ModelError if a network fails.
        """
        return self._compute(batches, np.zeros(count, dtype=np.float32))

    def vectors(self, batches: Iterable[Batch], count: int, width: int) -> NDArray[np.float32]:
        """The pooled vectors of ``count`` texts, float32 of shape (count, width); as ``logits``."""
        return self._compute(batches, np.zeros((count, width), dtype=np.float32))

    def _compute(self, batches: Iterable[Batch], result: NDArray[np.float32]) -> NDArray[np.float32]:
        """Fill ``result``, which has one row for each pair or text.

        Every device takes the next batch as soon as it is free. Where its network returns pending logits, it takes up to
        ``MAX_IN_FLIGHT`` further batches before it waits for them.
        """
        queue = _BatchQueue(batches)

        def work(worker: _Worker) -> None:
            in_flight: deque[tuple[NDArray[np.int64], PendingLogits]] = deque()

            def finish(down_to: int) -> None:
                while len(in_flight) > down_to:
                    rows, wait = in_flight.popleft()
                    result[rows] = wait()

            for batch in queue:
                in_flight.append((batch.rows, worker.start(batch)))
                finish(MAX_IN_FLIGHT)
            finish(0)

        if len(self._workers) == 1:
            work(self._workers[0])
            return result
        with ThreadPoolExecutor(len(self._workers)) as pool:
            try:
                for done in [pool.submit(work, worker) for worker in self._workers]:
                    done.result()
            finally:
                queue.close()  # after a failure on one device, the others stop after their current batch
        return result


class _BatchQueue:
    """Batches that several threads take from, one at a time."""

    def __init__(self, batches: Iterable[Batch]) -> None:
        self._batches = iter(batches)
        self._lock = Lock()

    def __iter__(self) -> Iterator[Batch]:
        while True:
            with self._lock:
                batch = next(self._batches, None)
            if batch is None:
                return
            yield batch

    def close(self) -> None:
        """Hand out no further batches."""
        with self._lock:
            self._batches = iter(())


class _Worker:
    """One network, and the largest batch found to fit on its device."""

    def __init__(self, name: str, what: str, device: str, network: Network) -> None:
        self._name = name
        self._what = what
        self._device = device
        self._network = network
        self._max_tokens: int | None = None  # padding included; None until memory runs out

    def start(self, batch: Batch) -> PendingLogits:
        """Start to compute a batch, or its halves if it does not fit; the returned function waits for the logits."""
        if self._max_tokens is not None and batch.ids.size > self._max_tokens and len(batch.rows) > 1:
            return self._start_halves(batch)
        result = self._try(batch, lambda: self._network(batch))
        if result is None:
            return self._retry(batch)
        if not callable(result):
            return lambda: result
        return lambda: self._wait(batch, result)

    def _wait(self, batch: Batch, wait: PendingLogits) -> NDArray[np.float32]:
        """The logits of a batch started before, computed again in halves if it turns out not to fit."""
        logits = self._try(batch, wait)
        return self._retry(batch)() if logits is None else logits

    def _retry(self, batch: Batch) -> PendingLogits:
        """Start again with the halves of a batch that did not fit."""
        _release_cached_memory(self._device)
        self._lower_max_tokens(batch)
        return self._start_halves(batch)

    def _start_halves(self, batch: Batch) -> PendingLogits:
        half = len(batch.rows) // 2
        first, second = self.start(batch.part(0, half)), self.start(batch.part(half, len(batch.rows)))
        return lambda: np.concatenate([first(), second()])

    def _try(self, batch: Batch, compute: Callable[[], _Result]) -> _Result | None:
        """The result of ``compute`` for a batch, None if memory runs out. A library's other errors become a ModelError."""
        shape = f"{len(batch.rows)} {self._what} of {batch.ids.shape[1]} tokens"
        try:
            return compute()
        except Exception as error:
            if not (isinstance(error, IndexError | RuntimeError | MemoryError) or _is_from_onnxruntime(error)):
                raise
            if not _is_out_of_memory(error):
                raise ModelError(
                    f"The {self._name} failed on {shape}: {first_line(error)} Its tokenizer may not match its weights."
                ) from error
            if len(batch.rows) == 1:
                raise ModelError(
                    f"The {self._name} ran out of memory on {self._device} with a single {self._what.removesuffix('s')} of "
                    f"{batch.ids.shape[1]} tokens; use a smaller maximum length, another device or a smaller model."
                ) from error
            return None

    def _lower_max_tokens(self, batch: Batch) -> None:
        """Limit later batches to half the size of this one; the first time, warn."""
        if self._max_tokens is None:
            shape = f"{len(batch.rows)} {self._what} of {batch.ids.shape[1]} tokens"
            _log.warning(
                f"The {self._name} ran out of memory on {self._device} with {shape}; continuing with half as many. "
                "Use a smaller batch size to avoid this."
            )
        self._max_tokens = min(self._max_tokens or batch.ids.size, batch.ids.size // 2)


OUT_OF_MEMORY = (
    "out of memory",
    "alloc_failed",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
"""Phrases in the errors of cuBLAS, torch's allocators for CPU and MPS, and onnxruntime when memory runs out."""


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: by Python's class, torch's class for GPUs, or one of ``OUT_OF_MEMORY``."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(phrase in text for phrase in OUT_OF_MEMORY)
    )


def _is_from_onnxruntime(error: Exception) -> bool:
    """Whether an error is one of onnxruntime's, whose classes are not RuntimeErrors."""
    return type(error).__module__.startswith("onnxruntime.")


def _release_cached_memory(device: str) -> None:
    """Return memory that torch keeps for reuse to the GPU, so that a smaller batch finds contiguous space."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
