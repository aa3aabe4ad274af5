"""Check quotations: where in an article a text is, or what comes nearest to it."""

import re
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

from bioqa.corpus.sentences import sentences
from bioqa.errors import UsageError
from bioqa.types import Article, Snippet

MAX_QUOTE = 5_000
"""Characters of a quotation."""
MAX_DIFFERENCES = 20

WHITE_SPACE, QUOTATION_MARKS, DASHES, FORMS, CAPITALS, PUNCTUATION = (
    "white space",
    "quotation marks",
    "hyphens and dashes",
    "character forms",
    "capital letters",
    "punctuation",
)
_TYPOGRAPHIC = (WHITE_SPACE, QUOTATION_MARKS, DASHES, FORMS)
_QUOTATION_MARKS = dict.fromkeys("“”„‟«»″＂", '"') | dict.fromkeys("‘’‚‛‹›′`´＇", "'")
_DASHES = dict.fromkeys("‐‑‒–—―−﹘﹣－", "-")
_INVISIBLE = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")
_TOKEN = re.compile(r"(?<!\w)-?\d+(?:[.,]\d+)*(?!\w)|[^\W_][\w\u0300-\u036f]*|[<>=≤≥±~%×*/+^]")
"""A number with its sign, a word, or a sign that changes what numbers mean. Other punctuation is between the tokens."""


class Difference(NamedTuple):
    """Words of the quotation, and those of the article in their place; either can be "": words added or left out."""

    quoted: str
    article: str


@dataclass(frozen=True, slots=True)
class CheckedQuote:
    """Whether an article has a text.

    ``match``: "exact", "variant" (the same words; ``variations`` are what differs: "white space", "quotation marks", "hyphens and
    dashes", "character forms", "capital letters", "punctuation") or "none". ``place`` is the text as the article has it, where it
    is first; without a match, the sentence or sentences that come nearest, None if the article has no text. ``occurrences`` is the
    number of its places in title and abstract. ``similarity``, from 0 to 1, is 1 - the edit distance in words / the number of
    words of the longer text; ``differences`` are the words that differ, the first ``MAX_DIFFERENCES`` of them.
    """

    match: Literal["exact", "variant", "none"]
    place: Snippet | None
    occurrences: int = 0
    variations: tuple[str, ...] = ()
    similarity: float = 1.0
    differences: tuple[Difference, ...] = ()


def check_quote(article: Article, text: str) -> CheckedQuote:
    """Find a text in the title or the abstract: as it stands, in other typography, in other capitals, or what is nearest.

    A match is of whole words and numbers: "5 mg" is not in "0.5 mg".

    Raises:
        UsageError: the text has no word, or more than ``MAX_QUOTE`` characters.
    """
    quote = text.strip()
    if len(quote) > MAX_QUOTE:
        raise UsageError(f"The quotation has {len(quote):,} characters; the limit is {MAX_QUOTE:,}. Check it in parts.")
    if not _tokens(_normalized(quote)):
        raise UsageError("The quotation has no word.")
    sections = _sections(article)
    for kinds in (frozenset[str](), frozenset(_TYPOGRAPHIC), frozenset((*_TYPOGRAPHIC, CAPITALS))):
        wanted = _normalized(quote, kinds=kinds).text.strip()
        found = [
            (name, *span) for name, source, breaks in sections for span in _spans(source, breaks, wanted, kinds=kinds)
        ]
        if found:
            name, begin, end = found[0]
            place = _snippet(article, name, begin, end)
            match: Literal["exact", "variant"] = "variant" if kinds else "exact"
            return CheckedQuote(match, place, len(found), _variations(quote, place.text, _inner_breaks(article, place)))
    return _nearest(article, quote, sections)


def _sections(article: Article) -> list[tuple[str, str, frozenset[int]]]:
    """The (name, text, breaks) of title and abstract; before a break, white space is understood: parts are joined without any."""
    breaks = frozenset(part.begin for part in article.sections)
    return [("title", article.title, frozenset()), ("abstract", article.abstract, breaks)]


def _inner_breaks(article: Article, place: Snippet) -> frozenset[int]:
    if place.section == "title":
        return frozenset()
    return frozenset(part.begin - place.begin for part in article.sections)


def _snippet(article: Article, section: str, begin: int, end: int) -> Snippet:
    source = article.title if section == "title" else article.abstract
    return Snippet(article.id, section, begin, end, source[begin:end])


class _Normalized(NamedTuple):
    """A text with its variants removed, and for each of its characters where that is in the original."""

    text: str
    begins: list[int]
    ends: list[int]


_ALL = frozenset((*_TYPOGRAPHIC, CAPITALS))


def _normalized(text: str, breaks: Set[int] = frozenset(), kinds: Set[str] = _ALL) -> _Normalized:
    """The text without variants of these kinds."""
    out: list[str] = []
    begins: list[int] = []
    ends: list[int] = []

    def put(characters: str, begin: int, end: int) -> None:
        out.extend(characters)
        begins.extend([begin] * len(characters))
        ends.extend([end] * len(characters))

    for at, original in enumerate(text):
        character = original
        if WHITE_SPACE in kinds:
            if at in breaks and out and out[-1] != " ":
                put(" ", at, at)
            if character.isspace():
                if out and out[-1] != " ":
                    put(" ", at, at + 1)
                continue
        if FORMS in kinds:
            if character in _INVISIBLE:
                continue
            character = _plain(character, out[-1] if out else "")
        if QUOTATION_MARKS in kinds:
            character = _QUOTATION_MARKS.get(original, character)
        if DASHES in kinds:
            character = _DASHES.get(original, character)
        put(character.casefold() if CAPITALS in kinds else character, at, at + 1)
    return _Normalized("".join(out), begins, ends)


def _plain(character: str, before: str) -> str:
    """The compatibility decomposition: "ﬁ" is "fi". A raised digit after a digit stays: "10⁵" is not "105"."""
    if character.isascii():
        return character
    plain = unicodedata.normalize("NFKD", character)
    return character if plain[:1].isdigit() and before.isdigit() else plain


def _spans(text: str, breaks: Set[int], wanted: str, *, kinds: Set[str]) -> Iterator[tuple[int, int]]:
    """Where in the text the normalized words are."""
    plain = _normalized(text, breaks, kinds)
    at = plain.text.find(wanted)
    while at >= 0:
        if _is_whole(plain.text, at, at + len(wanted)):
            yield plain.begins[at], plain.ends[at + len(wanted) - 1]
        at = plain.text.find(wanted, at + 1)


_INSIDE_NUMBER = re.compile(r"\d[.,]$|(?:^|[^\w)])[-−]$")


def _is_whole(text: str, begin: int, end: int) -> bool:
    """Whether a passage begins and ends between words and numbers."""
    before, first, last, after = text[:begin][-2:], text[begin], text[end - 1], text[end : end + 2]
    if before and _is_word(before[-1]) and _is_word(first):
        return False
    if after and _is_word(last) and _is_word(after[0]):
        return False
    if first.isdigit() and _INSIDE_NUMBER.search(before):
        return False
    return not (last.isdigit() and re.match(r"[.,]\d", after))


def _is_word(character: str) -> bool:
    return character.isalnum() or unicodedata.combining(character) > 0


def _variations(quote: str, found: str, breaks: Set[int]) -> tuple[str, ...]:
    """The kinds of variants without which the two texts would not be the same."""
    kinds = (*_TYPOGRAPHIC, CAPITALS)

    def same(without: str) -> bool:
        rest = frozenset(kinds) - {without}
        return _normalized(quote, kinds=rest).text == _normalized(found, breaks, rest).text

    return () if quote == found else tuple(kind for kind in kinds if not same(kind))


class _Token(NamedTuple):
    text: str
    begin: int
    end: int


def _tokens(plain: _Normalized) -> list[_Token]:
    """The tokens of a normalized text, with their places in the original."""
    return [
        _Token(found.group(), plain.begins[found.start()], plain.ends[found.end() - 1])
        for found in _TOKEN.finditer(plain.text)
    ]


def _nearest(article: Article, quote: str, sections: Sequence[tuple[str, str, frozenset[int]]]) -> CheckedQuote:
    """The passage with the least edit distance in words."""
    wanted = _tokens(_normalized(quote))
    best: tuple[float, int, int, int, str, str, list[_Token]] | None = None
    for name, source, breaks in sections:
        tokens = _tokens(_normalized(source, breaks))
        if not tokens:
            continue
        distance, begin, end = _align([one.text for one in wanted], [one.text for one in tokens])
        similarity = 1 - distance / max(len(wanted), end - begin)
        if best is None or similarity > best[0]:
            best = (similarity, distance, begin, end, name, source, tokens)
    if best is None:
        return CheckedQuote("none", None, similarity=0.0)
    similarity, distance, begin, end, name, source, tokens = best
    span = tokens[begin:end]
    if not span:
        return CheckedQuote("none", sentences(article)[0], similarity=0.0, differences=(Difference(quote, ""),))
    if not distance:
        place = _snippet(article, name, span[0].begin, span[-1].end)
        variations = _variations_beside_punctuation(wanted, quote, span, source)
        return CheckedQuote("variant", place, 1, (*variations, PUNCTUATION))
    differences = tuple(_differences(wanted, quote, span, source))
    place = _sentences_around(article, name, span[0].begin, span[-1].end)
    return CheckedQuote("none", place, 0, (), round(similarity, 3), differences[:MAX_DIFFERENCES])


def _variations_beside_punctuation(
    wanted: Sequence[_Token], quote: str, span: Sequence[_Token], source: str
) -> tuple[str, ...]:
    """The kinds of variants within the words of two texts that have the same words."""

    def words(tokens: Sequence[_Token], text: str) -> str:
        return " ".join(text[one.begin : one.end] for one in tokens)

    return _variations(words(wanted, quote), words(span, source), frozenset())


def _align(wanted: Sequence[str], tokens: Sequence[str]) -> tuple[int, int, int]:
    """The least edit distance between ``wanted`` and any run of ``tokens``, and that run's (begin, end).

    Sellers' algorithm (J. Algorithms 1, 1980): one row of costs for each wanted token. A cost and the begin of its run are one
    number, so that a minimum of costs takes its begin along.
    """
    import numpy as np

    numbers = {text: number for number, text in enumerate(dict.fromkeys((*wanted, *tokens)))}
    row_tokens = np.array([numbers[text] for text in tokens])
    places = np.arange(len(tokens) + 1, dtype=np.int64)
    unit = len(tokens) + 1
    row = places.copy()
    for text in wanted:
        replaced = row[:-1] + unit * (row_tokens != numbers[text])
        left_out = row + unit
        best = left_out
        best[1:] = np.minimum(left_out[1:], replaced)
        row = np.minimum.accumulate(best - places * unit) + places * unit
    costs = row // unit
    end = len(tokens) - int(costs[::-1].argmin())
    return int(costs[end]), int(row[end] % unit), end


def _differences(wanted: Sequence[_Token], quote: str, span: Sequence[_Token], source: str) -> Iterator[Difference]:
    """The words that differ, as they stand in the two texts."""

    def words(tokens: Sequence[_Token], text: str) -> str:
        return text[tokens[0].begin : tokens[-1].end] if tokens else ""

    matcher = SequenceMatcher(None, [one.text for one in wanted], [one.text for one in span], autojunk=False)
    for kind, i, j, k, m in matcher.get_opcodes():
        if kind != "equal":
            yield Difference(words(wanted[i:j], quote), words(span[k:m], source))


def _sentences_around(article: Article, section: str, begin: int, end: int) -> Snippet:
    """The sentence or sentences that a passage is in."""
    around = [one for one in sentences(article) if one.section == section and one.begin < end and begin < one.end]
    if not around:
        return _snippet(article, section, begin, end)
    return _snippet(article, section, min(begin, around[0].begin), max(end, around[-1].end))
