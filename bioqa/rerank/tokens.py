"""Pairs of texts to token ids, as the model's own tokenizer would."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CHUNK = 1024
"""Pairs tokenized at a time: the tokenizer's own records are about 100 times the size of the ids kept from them."""

FIRST_CHUNK = 128
"""Pairs of the first chunk, so that the first batches are ready soon; each later one is twice as large, up to ``CHUNK``."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """One pair: token and segment ids, int32 of shape (length,), with special tokens; whether text was cut off, and how many
    characters of the second text.
    """

    ids: NDArray[np.int32]
    types: NDArray[np.int32]
    truncated: bool
    unread: int = 0


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
        self._cut = cut
        self.max_length = max_length
        self.padding = padding
        self.segments = segments
        self.special = backend.num_special_tokens_to_add(True)

    def encode(self, pairs: Sequence[tuple[str, str]], *, keep_first: bool = False) -> Iterator[Tokens]:
        """Yield the tokens of each (first text, second text), in order.

        With ``keep_first`` only the second text is cut; the first must leave it room.
        """
        return chain.from_iterable(self.encode_chunks(pairs, keep_first=keep_first))

    def encode_chunks(self, pairs: Sequence[tuple[str, str]], *, keep_first: bool = False) -> Iterator[list[Tokens]]:
        """Yield what ``encode`` does, some pairs at a time; a thread tokenizes the next ones meanwhile."""
        chunks = _chunks(pairs)
        chunk = next(chunks, [])
        encodings = self._backend.encode_batch(chunk)
        with ThreadPoolExecutor(1) as pool:
            while chunk:
                following = next(chunks, [])
                ahead = pool.submit(self._backend.encode_batch, following)
                yield [self._kept(pair, found, keep_first) for pair, found in zip(chunk, encodings, strict=True)]
                chunk, encodings = following, ahead.result()

    def _kept(self, pair: tuple[str, str], encoding: Any, keep_first: bool) -> Tokens:
        """The tokens of one pair from the tokenizer's record of them."""
        if self.max_length is None or len(encoding) < self.max_length or not encoding.overflowing:
            return _tokens(encoding)
        first, second = pair
        if keep_first:
            return self._keeping_first(first, second)
        of_second = [o for o, text in zip(encoding.offsets, encoding.sequence_ids, strict=True) if text == 1]
        return _tokens(encoding, True, _unread(of_second, second))

    def count(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text without special ones, counted up to ``max_length``."""
        counts: list[int] = []
        for start in range(0, len(texts), CHUNK):
            chunk = [clean(text) for text in texts[start : start + CHUNK]]
            counts += [len(found.ids) for found in self._backend.encode_batch(chunk, add_special_tokens=False)]
        return counts

    def _keeping_first(self, first: str, second: str) -> Tokens:
        """The tokens of a pair too long, all of its first text among them."""
        assert self.max_length is not None
        asked, read = self._backend.encode_batch([first, second], add_special_tokens=False)
        read.truncate(max(0, self.max_length - self.special - len(asked.ids)), direction=self._cut)
        return _tokens(self._backend.post_process(asked, read), True, _unread(read.offsets, second))


def _chunks(pairs: Sequence[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """The pairs in chunks of ``FIRST_CHUNK`` to ``CHUNK``, cleaned."""
    start, size = 0, FIRST_CHUNK
    while start < len(pairs):
        yield [(clean(first), clean(second)) for first, second in pairs[start : start + size]]
        start, size = start + size, min(2 * size, CHUNK)


def _tokens(encoding: Any, truncated: bool = False, unread: int = 0) -> Tokens:
    ids, types = np.array(encoding.ids, dtype=np.int32), np.array(encoding.type_ids, dtype=np.int32)
    return Tokens(ids, types, truncated, unread)


def _unread(read: Sequence[tuple[int, int]], text: str) -> int:
    """The characters of a text outside those that the tokens left of it, given as (begin, end), span."""
    return len(text) - (read[-1][1] - read[0][0] if read else 0)


def clean(text: str) -> str:
    """The text with "?" for halves of surrogate pairs, which JSON can hold but UTF-8 (and so the tokenizer) cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
