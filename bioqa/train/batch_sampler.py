"""Reproducible batches, of pairs of similar length."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from sentence_transformers.base.sampler import DefaultBatchSampler

WINDOW = 64
"""Number of batches sorted by length together: more means less padding, but batches that are less random."""


class EpochBatchSampler(DefaultBatchSampler):
    """Batches whose order depends only on the seed and the epoch, so that an interrupted run can resume.

    ``epoch_rows`` are the rows of each epoch if epochs differ; one pass then yields all of them, epoch after epoch. ``lengths``
    (tokens of each row) makes rows of similar length share a batch, within windows of ``WINDOW`` shuffled batches; with None,
    batches are random.
    """

    def __init__(
        self,
        epoch_rows: Sequence[NDArray[np.int64]],
        lengths: NDArray[np.int64] | None,
        batch_size: int,
        *,
        drop_last: bool,
        seed: int,
    ) -> None:
        super().__init__(range(sum(map(len, epoch_rows))), batch_size=batch_size, drop_last=drop_last, seed=seed)
        self.epoch_rows = epoch_rows
        self.lengths = lengths

    def __len__(self) -> int:
        """Number of batches of one pass."""
        return sum(self._batch_count(len(rows)) for rows in self.epoch_rows)

    def _batch_count(self, rows: int) -> int:
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the rows of each batch."""
        for number, rows in enumerate(self.epoch_rows):
            rng = np.random.default_rng([self.seed, self.epoch, number])
            order = rows[rng.permutation(len(rows))]
            if self.lengths is not None:
                order = np.concatenate([window[np.argsort(self.lengths[window])] for window in self._windows(order)])
            batches = [order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)]
            for batch in rng.permutation(self._batch_count(len(order))):
                yield batches[batch].tolist()

    def _windows(self, order: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        size = self.batch_size * WINDOW
        for start in range(0, max(len(order), 1), size):
            yield order[start : start + size]
