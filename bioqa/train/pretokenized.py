"""Which examples make a batch, and their tokens ahead of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator

WINDOW = 64
"""Batches that are sorted by length together: the more, the less padding, and the less mixed the batches."""


class EpochBatchSampler(DefaultBatchSampler):
    """Batches in an order that depends on the seed and the epoch alone, so that a run can go on where it was.

    ``sections`` holds the rows of each epoch where epochs differ; they then follow each other within one pass. ``lengths``
    (tokens of each row) has rows of similar length share a batch, in windows of ``WINDOW`` shuffled batches; None mixes them.
    """

    def __init__(
        self,
        sections: Sequence[NDArray[np.int64]],
        lengths: NDArray[np.int64] | None,
        batch_size: int,
        *,
        drop_last: bool,
        seed: int,
    ) -> None:
        super().__init__(range(sum(map(len, sections))), batch_size=batch_size, drop_last=drop_last, seed=seed)
        self.sections = sections
        self.lengths = lengths

    def __len__(self) -> int:
        """Batches of a pass."""
        return sum(self._batches(len(section)) for section in self.sections)

    def _batches(self, rows: int) -> int:
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        for number, section in enumerate(self.sections):
            rng = np.random.default_rng([self.seed, self.epoch, number])
            order = section[rng.permutation(len(section))]
            if self.lengths is not None:
                order = np.concatenate([window[np.argsort(self.lengths[window])] for window in self._windows(order)])
            batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
            for batch in rng.permutation(self._batches(len(order))):
                yield batches[batch].tolist()

    def _windows(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        size = self.batch_size * WINDOW
        for start in range(0, max(len(order), 1), size):
            yield order[start : start + size]


class HandOver:
    """Stands in for ``CrossEncoder.preprocess``: gives the tokens that were made ahead for the next batch, else makes them.

    The library's losses tokenize within the training step; with this, a worker process does so beforehand.
    """

    def __init__(self, preprocess: Any) -> None:
        self.preprocess = preprocess
        self.ready: Any = None

    def __call__(self, inputs: Any, prompt: str | None = None, **options: Any) -> Any:
        """The tokens of ``inputs``."""
        ready, self.ready = self.ready, None
        return self.preprocess(inputs, prompt=prompt, **options) if ready is None else ready


@dataclass
class TokenizingCollator(CrossEncoderDataCollator):
    """The library's batch of pairs, with their tokens under "tokens"."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of some rows of a dataset."""
        batch: dict[str, Any] = super().__call__(features)
        batch["tokens"] = dict(self.preprocess_fn([(row["question"], row["passage"]) for row in features]))
        return batch
