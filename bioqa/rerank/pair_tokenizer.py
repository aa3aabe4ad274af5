"""Turn texts, or pairs of texts, into token ids, as the model's own tokenizer would."""

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
"""Pairs tokenized at a time: the tokenizer's own output takes about 100 times the memory of the ids kept from it."""

FIRST_CHUNK = 128
"""Pairs in the first chunk, so that the first batches are ready soon; each later chunk is twice as large, up to ``CHUNK``."""


Text = str | tuple[str, str]
"""A single text, or a pair."""


@dataclass(frozen=True, slots=True)
class TokenizedPair:
    """``ids`` and ``segment_ids`` are int32 of shape (length,), special tokens included. ``truncated`` is whether text was cut
    off, ``unread`` how many characters of the second text were.
    """

    ids: NDArray[np.int32]
    segment_ids: NDArray[np.int32]
    truncated: bool
    unread: int = 0


@dataclass(frozen=True, slots=True)
class Padding:
    """The token id and segment id that pad short rows of a batch, and whether they go on the left."""

    id: int
    segment_id: int
    left: bool


class PairTokenizer:
    """A ``tokenizers.Tokenizer`` with a fixed maximum length, used read-only and so safe to use from any thread.

    ``max_length`` is in tokens, special tokens included; None for no limit. Longer pairs lose tokens of whichever text is
    longer ("longest_first", as in sentence-transformers), on the ``truncation_side``.
    """

    def __init__(
        self, backend: "Tokenizer", max_length: int | None, padding: Padding, truncation_side: str = "right"
    ) -> None:
        if max_length is None:
            backend.no_truncation()
        else:
            backend.enable_truncation(max_length, strategy="longest_first", direction=truncation_side)
        backend.no_padding()
        self._backend = backend
        self._truncation_side = truncation_side
        self.max_length = max_length
        self.padding = padding
        self.special_tokens: int = backend.num_special_tokens_to_add(True)

    def encode(self, pairs: Sequence[Text], *, only_second: bool = False) -> Iterator[TokenizedPair]:
        """Yield the tokens of each (first text, second text), or of each single text, in order.

        With ``only_second`` only the second text is truncated; the first must leave room for it.
        """
        return chain.from_iterable(self.encode_chunks(pairs, only_second=only_second))

    def encode_chunks(self, pairs: Sequence[Text], *, only_second: bool = False) -> Iterator[list[TokenizedPair]]:
        """Yield what ``encode`` does, in lists; a thread tokenizes the next chunk meanwhile."""
        chunks = _chunks(pairs)
        chunk = next(chunks, [])
        encodings = self._backend.encode_batch(chunk)
        with ThreadPoolExecutor(1) as pool:
            while chunk:
                next_chunk = next(chunks, [])
                next_encodings = pool.submit(self._backend.encode_batch, next_chunk)
                yield [
                    self._tokenized(pair, encoding, only_second)
                    for pair, encoding in zip(chunk, encodings, strict=True)
                ]
                chunk, encodings = next_chunk, next_encodings.result()

    def _tokenized(self, pair: Text, encoding: Any, only_second: bool) -> TokenizedPair:
        """One pair or text, from the tokenizer's ``Encoding`` of it."""
        if self.max_length is None or len(encoding) < self.max_length or not encoding.overflowing:
            return _from_encoding(encoding)
        if isinstance(pair, str):
            return _from_encoding(encoding, True)
        first, second = pair
        if only_second:
            return self._truncate_second(first, second)
        of_second = [
            offsets for offsets, text in zip(encoding.offsets, encoding.sequence_ids, strict=True) if text == 1
        ]
        return _from_encoding(encoding, True, _unread(of_second, second))

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text without special tokens, at most ``max_length``."""
        counts: list[int] = []
        for start in range(0, len(texts), CHUNK):
            chunk = [replace_surrogates(text) for text in texts[start : start + CHUNK]]
            counts += [len(found.ids) for found in self._backend.encode_batch(chunk, add_special_tokens=False)]
        return counts

    def _truncate_second(self, first: str, second: str) -> TokenizedPair:
        """A pair that is too long, with its first text whole."""
        assert self.max_length is not None
        whole, cut = self._backend.encode_batch([first, second], add_special_tokens=False)
        cut.truncate(max(0, self.max_length - self.special_tokens - len(whole.ids)), direction=self._truncation_side)
        return _from_encoding(self._backend.post_process(whole, cut), True, _unread(cut.offsets, second))


@dataclass(frozen=True, slots=True)
class LoadedTokenizer:
    """A model folder's tokenizer. ``model_max_length`` is in tokens as its files say (1e30 if they do not), ``has_segment_ids``
    whether the model is to get segment ids, ``truncation_side`` "right" or "left".
    """

    backend: "Tokenizer"
    model_max_length: float
    padding: Padding
    has_segment_ids: bool
    truncation_side: str

    def for_pairs(self, max_length: int | None) -> PairTokenizer:
        """The tokenizer with this maximum length; it is set on the ``backend`` itself, so there can be only one at a time."""
        return PairTokenizer(self.backend, max_length, self.padding, self.truncation_side)


def _chunks(pairs: Sequence[Text]) -> Iterator[list[Text]]:
    """The pairs in chunks of ``FIRST_CHUNK`` to ``CHUNK``, without surrogates."""
    start, size = 0, FIRST_CHUNK
    while start < len(pairs):
        yield [
            replace_surrogates(pair)
            if isinstance(pair, str)
            else (replace_surrogates(pair[0]), replace_surrogates(pair[1]))
            for pair in pairs[start : start + size]
        ]
        start, size = start + size, min(2 * size, CHUNK)


def _from_encoding(encoding: Any, truncated: bool = False, unread: int = 0) -> TokenizedPair:
    ids, segment_ids = np.array(encoding.ids, dtype=np.int32), np.array(encoding.type_ids, dtype=np.int32)
    return TokenizedPair(ids, segment_ids, truncated, unread)


def _unread(offsets: Sequence[tuple[int, int]], text: str) -> int:
    """The number of characters of a text outside the span of its remaining tokens, whose (begin, end) are given."""
    return len(text) - (offsets[-1][1] - offsets[0][0] if offsets else 0)


def replace_surrogates(text: str) -> str:
    """The text with "?" for lone surrogates, which JSON can contain but UTF-8 (and so the tokenizer) cannot."""
    return text.encode("utf-8", "replace").decode("utf-8")
