"""Pairs of similar length put together, so that little of a batch is padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.tokens import Padding, Tokens


@dataclass(frozen=True, slots=True)
class Batch:
    """Some pairs as one rectangle.

    ``rows`` are the pairs' places in the input, shape (n,). ``ids``, ``types`` and ``mask`` (1 where a token stands, 0
    at padding) are int64 of shape (n, length of the longest pair).
    """

    rows: NDArray[np.int64]
    ids: NDArray[np.int64]
    types: NDArray[np.int64]
    mask: NDArray[np.int64]


def batches(pairs: Sequence[Tokens], size: int, padding: Padding, most_tokens: int | None = None) -> Iterator[Batch]:
    """Yield all pairs, ``size`` at a time, longest first (so that running out of memory shows at once).

    A batch has ``most_tokens`` at most, padding included, or one pair.
    """
    lengths = np.array([len(pair.ids) for pair in pairs], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        fits = size if most_tokens is None else max(1, most_tokens // max(1, int(lengths[order[start]])))
        rows = order[start : start + min(size, fits)]
        start += len(rows)
        yield _batch(rows, [pairs[row] for row in rows], padding)


def _batch(rows: NDArray[np.int64], pairs: Sequence[Tokens], padding: Padding) -> Batch:
    shape = (len(pairs), max(len(pair.ids) for pair in pairs))
    ids = np.full(shape, padding.id, dtype=np.int64)
    types = np.full(shape, padding.type, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.int64)
    for row, pair in enumerate(pairs):
        length = len(pair.ids)
        place = slice(shape[1] - length, None) if padding.left else slice(0, length)
        ids[row, place], types[row, place], mask[row, place] = pair.ids, pair.types, 1
    return Batch(rows, ids, types, mask)
