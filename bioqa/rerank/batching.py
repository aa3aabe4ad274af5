"""Pairs of similar length put together, so that little of a batch is padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

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


def batches(
    pairs: Sequence[Tokens],
    size: int,
    padding: Padding,
    most_tokens: int | None = None,
    padded_length: Callable[[int], int] | None = None,
) -> Iterator[Batch]:
    """Yield all pairs, ``size`` at a time, longest first (so that running out of memory shows at once).

    A batch has ``most_tokens`` at most, padding included, or one pair. Pairs are padded to the longest of their batch; with
    ``padded_length`` each at its end, to what that gives for its own length, and only pairs of the same one are put together, so
    that a pair is computed in the same way whatever is scored beside it.
    """
    lengths = np.array([len(pair.ids) for pair in pairs], dtype=np.int64)
    if padded_length is not None:
        padding = replace(padding, left=False)
        lengths = np.array([padded_length(int(length)) for length in lengths], dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        length = int(lengths[order[start]])
        fits = size if most_tokens is None else max(1, most_tokens // max(1, length))
        rows = order[start : start + min(size, fits)]
        if padded_length is not None:
            rows = rows[lengths[rows] == length]
        start += len(rows)
        yield _batch(rows, [pairs[row] for row in rows], length, padding)


def _batch(rows: NDArray[np.int64], pairs: Sequence[Tokens], length: int, padding: Padding) -> Batch:
    shape = (len(pairs), length)
    ids = np.full(shape, padding.id, dtype=np.int64)
    types = np.full(shape, padding.type, dtype=np.int64)
    counts = np.array([len(pair.ids) for pair in pairs])[:, None]
    places = np.arange(length)
    there = places >= length - counts if padding.left else places < counts
    ids[there] = np.concatenate([pair.ids for pair in pairs])
    types[there] = np.concatenate([pair.types for pair in pairs])
    return Batch(rows, ids, types, there.astype(np.int64))
