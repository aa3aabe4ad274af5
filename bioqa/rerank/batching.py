"""Batches of pairs of similar length, so that little of a batch is padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.pair_tokenizer import Padding, TokenizedPair


@dataclass(frozen=True, slots=True)
class Batch:
    """Several pairs as one rectangle.

    ``rows`` are the indices of the pairs in the input, int64 of shape (n,). ``ids``, ``segment_ids`` and ``mask`` (1 for
    tokens, 0 for padding) are int64 of shape (n, padded length).
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    segment_ids: NDArray[np.int64]
    mask: NDArray[np.int64]

    def part(self, begin: int, end: int) -> "Batch":
        """The pairs from ``begin`` up to, not including, ``end``."""
        return Batch(*(array[begin:end] for array in (self.rows, self.ids, self.segment_ids, self.mask)))


def make_batches(
    pairs: Sequence[TokenizedPair],
    size: int,
    padding: Padding,
    max_tokens: int | None = None,
    padded_length: Callable[[int], int] | None = None,
) -> Iterator[Batch]:
    """Yield all pairs in batches of up to ``size`` pairs, longest first (so that running out of memory shows at once).

    A batch has at most ``max_tokens`` tokens, padding included, or is a single pair. Pairs are padded to the longest of their
    batch. With ``padded_length``, each pair is padded on the right to the length that this function returns for its own, and
    only pairs of equal padded length share a batch: a pair is then computed in the same way whatever it is batched with.
    """
    lengths = np.array([len(pair.ids) for pair in pairs], dtype=np.int64)
    if padded_length is not None:
        padding = replace(padding, left=False)
        lengths = np.array([padded_length(int(length)) for length in lengths], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        length = int(lengths[order[start]])
        fits = size if max_tokens is None else max(1, max_tokens // max(1, length))
        rows = order[start : start + min(size, fits)]
        if padded_length is not None:
            rows = rows[lengths[rows] == length]
        start += len(rows)
        yield _pad(rows, [pairs[row] for row in rows], length, padding)


def _pad(rows: NDArray[np.int64], pairs: Sequence[TokenizedPair], length: int, padding: Padding) -> Batch:
    """A batch of the pairs at ``rows`` of the input, each padded to ``length``."""
    shape = (len(pairs), length)
    ids = np.full(shape, padding.id, dtype=np.int64)
    segment_ids = np.full(shape, padding.segment_id, dtype=np.int64)
    counts = np.array([len(pair.ids) for pair in pairs])[:, None]
    positions = np.arange(length)
    is_token = positions >= length - counts if padding.left else positions < counts
    ids[is_token] = np.concatenate([pair.ids for pair in pairs])
    segment_ids[is_token] = np.concatenate([pair.segment_ids for pair in pairs])
    return Batch(rows, ids, segment_ids, is_token.astype(np.int64))
