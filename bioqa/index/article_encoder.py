"""What makes the vectors of articles, and the form in which they are indexed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from bioqa.errors import UsageError
from bioqa.index.manifest import VectorInfo
from bioqa.types import Article

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DIMENSION = 1024
"""Lucene's limit."""


class ArticleEncoder(Protocol):
    """Makes vectors of articles: an ``Encoder``, or files of vectors."""

    @property
    def info(self) -> VectorInfo:
        """How the vectors are made."""
        ...

    def encode_articles(self, articles: Sequence[Article]) -> "NDArray[np.float32]":
        """The vectors of n articles: float32 (n, dimension), not numbers for an article without one."""
        ...


def same_vectors(one: VectorInfo | None, other: VectorInfo) -> bool:
    """Whether vectors of two makers can be in one index."""
    return one is not None and (one.digest, one.dimension, one.similarity, one.source) == (
        other.digest,
        other.dimension,
        other.similarity,
        other.source,
    )


def encoded(encoder: ArticleEncoder, articles: Sequence[Article]) -> "NDArray[np.float32]":
    """The vectors of n articles as they are indexed: float32 (n, dimension), of length 1 if they are compared by the cosine, not
    numbers for an article without one.

    Raises:
        UsageError: the encoder's vectors have another shape than it says, or more than ``MAX_DIMENSION`` dimensions.
    """
    import numpy as np

    info = encoder.info
    if info.dimension > MAX_DIMENSION:
        raise UsageError(
            f"{info.model} makes vectors of {info.dimension:,} dimensions, but an index can have at most {MAX_DIMENSION:,}."
        )
    vectors = np.asarray(encoder.encode_articles(articles), dtype=np.float32)
    if vectors.shape != (len(articles), info.dimension):
        raise UsageError(f"{info.model} made vectors of shape {vectors.shape}, not {(len(articles), info.dimension)}.")
    return at_length_one(vectors) if info.similarity == "cosine" else vectors


def at_length_one(vectors: "NDArray[np.float32]") -> "NDArray[np.float32]":
    """Vectors (n, dimension) at length 1; not numbers for those of length 0."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[np.float32] = np.divide(vectors, lengths, where=lengths > 0, out=np.full_like(vectors, np.nan))
    return result
