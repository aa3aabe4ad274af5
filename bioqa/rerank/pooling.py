"""One vector from the token embeddings of a text, as sentence-transformers' ``Pooling`` makes it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Names of sentence-transformers. "weightedmean" weights tokens by their position, from 1."""


def pool(tokens: NDArray[np.float32], lengths: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.float32]:
    """The vectors of n texts: float32 (n, width · number of ``names``).

    ``tokens`` float32 (T, width) are the token embeddings of one text after another, ``lengths`` (n,) their numbers of tokens, all
    above 0. ``names`` are in ``POOLINGS``.
    """
    ends = np.cumsum(lengths)
    starts = ends - lengths
    positions = np.arange(1, len(tokens) + 1, dtype=np.float32) - np.repeat(starts, lengths)
    found = []
    for name in names:
        if name == "cls":
            found.append(tokens[starts])
        elif name == "lasttoken":
            found.append(tokens[ends - 1])
        elif name == "max":
            found.append(np.maximum.reduceat(tokens, starts))
        elif name == "weightedmean":
            weights = np.add.reduceat(positions, starts)
            found.append(np.add.reduceat(tokens * positions[:, None], starts) / weights[:, None])
        else:
            divisor = lengths if name == "mean" else np.sqrt(lengths)
            found.append(np.add.reduceat(tokens, starts) / divisor[:, None].astype(np.float32))
    return np.concatenate(found, axis=1, dtype=np.float32)


def pool_tensors(tokens: "Tensor", starts: "Tensor", names: Sequence[str]) -> "Tensor":
    """As ``pool``, of tensors on any device: ``starts`` (n + 1,) are the first rows of the texts, and the number of all rows."""
    import torch

    lengths = starts.diff()
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=tokens.device), lengths)
    empty = tokens.new_zeros(len(lengths), tokens.shape[1])
    found = []
    for name in names:
        if name == "cls":
            found.append(tokens[starts[:-1]])
        elif name == "lasttoken":
            found.append(tokens[starts[1:] - 1])
        elif name == "max":
            index = texts[:, None].expand_as(tokens)
            found.append(empty.scatter_reduce(0, index, tokens, "amax", include_self=False))
        elif name == "weightedmean":
            positions = (torch.arange(1, len(tokens) + 1, device=tokens.device) - starts[:-1][texts]).to(tokens.dtype)
            weights = empty[:, 0].index_add(0, texts, positions)
            found.append(empty.index_add(0, texts, tokens * positions[:, None]) / weights[:, None])
        else:
            divisor = lengths.to(tokens.dtype) if name == "mean" else lengths.to(tokens.dtype).sqrt()
            found.append(empty.index_add(0, texts, tokens) / divisor[:, None])
    return torch.cat(found, dim=1)
