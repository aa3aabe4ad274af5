"""Batches run on one device or on several, in halves where memory runs out."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError
from bioqa.rerank.batching import Batch
from bioqa.rerank.model_folder.tokenizer import reason

if TYPE_CHECKING:
    from bioqa.rerank.engines.exact import Deferred, Network

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

AHEAD = 32
"""Batches that a device may be given before the first of them is waited for: it is never idle, and few batches stay in memory."""


class Workers:
    """The networks of one model, each on a device of its own; safe to use from several threads at once.

    ``devices`` are torch's names, as many as ``networks``. A batch is the same on whichever device it runs, so how they are spread
    changes no score by more than the devices' own rounding.
    """

    def __init__(self, name: str, devices: Sequence[str], networks: "Sequence[Network]") -> None:
        self._workers = [_Worker(name, *one) for one in zip(devices, networks, strict=True)]

    def logits(self, batches: Iterable[Batch], count: int) -> NDArray[np.float32]:
        """The logits of ``count`` pairs, float32 of shape (count,), from batches that hold each of them once.

        Every device takes the next batch as soon as it is free, or has been given the one before where its network defers its
        results; these are waited for ``AHEAD`` batches later. Raises ModelError where a network fails.
        """
        found = np.zeros(count, dtype=np.float32)
        queue = _Queue(batches)

        def work(worker: _Worker) -> None:
            started: deque[tuple[NDArray[np.int64], Deferred]] = deque()

            def finish(most: int) -> None:
                while len(started) > most:
                    rows, wait = started.popleft()
                    found[rows] = wait()

            for batch in queue:
                started.append((batch.rows, worker.start(batch)))
                finish(AHEAD)
            finish(0)

        if len(self._workers) == 1:
            work(self._workers[0])
            return found
        with ThreadPoolExecutor(len(self._workers)) as pool:
            try:
                for done in [pool.submit(work, worker) for worker in self._workers]:
                    done.result()
            finally:
                queue.close()  # after a failure on one device the others end with the batch they have
        return found


class _Queue:
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
        """Give out no further batch."""
        with self._lock:
            self._batches = iter(())


class _Worker:
    """One network, and how large a batch has been found to fit on its device."""

    def __init__(self, name: str, device: str, network: "Network") -> None:
        self._name = name
        self._device = device
        self._network = network
        self._fits: int | None = None  # tokens, padding included; None until memory runs out

    def start(self, batch: Batch) -> "Deferred":
        """Have the network begin with a batch, or with its halves where it does not fit; what comes back waits for the logits."""
        if self._fits is not None and batch.ids.size > self._fits and len(batch.rows) > 1:
            return self._halves(batch)
        result = self._try(batch, lambda: self._network(batch))
        if result is None:
            return self._smaller(batch)
        if not callable(result):
            return lambda: result
        return lambda: self._finish(batch, result)

    def _finish(self, batch: Batch, wait: "Deferred") -> NDArray[np.float32]:
        """The logits of a batch begun before; those of its halves where it turns out not to have fitted."""
        logits = self._try(batch, wait)
        return self._smaller(batch)() if logits is None else logits

    def _smaller(self, batch: Batch) -> "Deferred":
        """Begin again with the halves of a batch that did not fit."""
        _free(self._device)
        self._shrink(batch)
        return self._halves(batch)

    def _halves(self, batch: Batch) -> "Deferred":
        half = len(batch.rows) // 2
        first, second = self.start(_part(batch, 0, half)), self.start(_part(batch, half, len(batch.rows)))
        return lambda: np.concatenate([first(), second()])

    def _try(self, batch: Batch, compute: Callable[[], _Result]) -> _Result | None:
        """What ``compute`` gives for a batch, None where it does not fit in memory; a sentence instead of a library's traceback."""
        shape = f"{len(batch.rows)} pairs of {batch.ids.shape[1]} tokens"
        try:
            return compute()
        except Exception as error:
            if not (isinstance(error, IndexError | RuntimeError | MemoryError) or _is_onnxruntimes(error)):
                raise
            if not _is_memory(error):
                raise ModelError(
                    f"The reranker {self._name} failed on {shape}: {reason(error)} "
                    "Its tokenizer and weights may not belong together."
                ) from error
            if len(batch.rows) == 1:
                raise ModelError(
                    f"The reranker {self._name} ran out of memory on {self._device} with one pair of {batch.ids.shape[1]} "
                    "tokens; use a smaller maximum length, another device or a smaller model."
                ) from error
            return None

    def _shrink(self, batch: Batch) -> None:
        """Have later batches be at most half as large as this one; the first time, say so."""
        if self._fits is None:
            shape = f"{len(batch.rows)} pairs of {batch.ids.shape[1]} tokens"
            _log.warning(
                f"The reranker {self._name} ran out of memory on {self._device} with {shape}; it goes on with half as many. "
                "A smaller batch size avoids this."
            )
        self._fits = min(self._fits or batch.ids.size, batch.ids.size // 2)


def _part(batch: Batch, begin: int, end: int) -> Batch:
    return Batch(*(array[begin:end] for array in (batch.rows, batch.ids, batch.types, batch.mask)))


MEMORY = (
    "out of memory",
    "alloc_failed",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate memory",
    "bad_alloc",
    "bad allocation",
)
"""What cuBLAS, torch's allocators for CPU and MPS, and onnxruntime say where memory runs out."""


def _is_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out: Python's class, torch's for GPUs, or one of ``MEMORY``."""
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or any(sign in text for sign in MEMORY)
    )


def _is_onnxruntimes(error: Exception) -> bool:
    """Whether an error is one of onnxruntime's, whose classes are no RuntimeError."""
    return type(error).__module__.startswith("onnxruntime.")


def _free(device: str) -> None:
    """Give memory that torch keeps for reuse back to the GPU, so that a smaller batch finds it in one piece."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.empty_cache()
