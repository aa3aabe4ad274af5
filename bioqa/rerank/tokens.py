"""Pairs of texts to token ids, as the model's own tokenizer would."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK = 1024
"""Pairs tokenized at a time: the tokenizer's own records are about 100 times the size of the ids kept from them."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One pair: token and segment ids, int32 of shape (length,), with special tokens; whether text was cut off."""

    ids: NDArray[np.int32]
    types: NDArray[np.int32]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Padding:
    """How short rows of a batch are filled up: token id, segment id, and on which side."""

    id: int
    type: int
    left: bool


class PairTokenizer:
    """A ``tokenizers.Tokenizer`` set to one length, used read-only (and so from any thread).

    ``max_length`` is in tokens, special ones included; longer pairs lose tokens from the end of whichever text is
    longer ("longest_first", as in sentence-transformers). None: nothing is cut. ``segments`` says whether the model
    takes segment ids.
    """

    def __init__(
        self, backend: "Tokenizer", max_length: int | None, padding: Padding, *, segments: bool, cut: str = "right"
    ) -> None:
        if max_length is None:
            backend.no_truncation()
        else:
            backend.enable_truncation(max_length, strategy="longest_first", direction=cut)
        backend.no_padding()
        self._backend = backend
        self.max_length = max_length
        self.padding = padding
        self.segments = segments
        self.special = backend.num_special_tokens_to_add(True)

    def encode(self, pairs: Sequence[tuple[str, str]]) -> Iterator[Tokens]:
        """Yield the tokens of each (first text, second text), in order."""
        for start in range(0, len(pairs), CHUNK):
            chunk = [(clean(first), clean(second)) for first, second in pairs[start : start + CHUNK]]
            for encoding in self._backend.encode_batch(chunk):
                yield self._tokens(encoding)

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text without special ones, counted up to ``max_length``."""
        counts: list[int] = []
        for start in range(0, len(texts), CHUNK):
            chunk = [clean(text) for text in texts[start : start + CHUNK]]
            counts += [len(found.ids) for found in self._backend.encode_batch(chunk, add_special_tokens=False)]
        return counts

    def _tokens(self, encoding: Any) -> Tokens:
        ids = np.array(encoding.ids, dtype=np.int32)
        full = self.max_length is not None and len(ids) >= self.max_length
        return Tokens(ids, np.array(encoding.type_ids, dtype=np.int32), full and bool(encoding.overflowing))


def clean(text: str) -> str:
    """The text with "?" for halves of surrogate pairs, which JSON can hold but UTF-8 (and so the tokenizer) cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
