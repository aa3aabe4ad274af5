"""Find a quotation in an article: word for word, or else the sentence nearest to it."""

import unicodedata
from difflib import SequenceMatcher
from typing import NamedTuple

from bioqa.corpus.sentences import sentences
from bioqa.errors import UsageError
from bioqa.types import Article

_ALIKE = str.maketrans({**dict.fromkeys("‘’‚‛′`", "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒–—―−", "-")})
MAX_DIFFERENCES = 10
"""Differences that are told."""


class Place(NamedTuple):
    """Where a quotation stands.

    ``match`` is "exact"; "normalized" if only spaces, case, compatibility forms, quotation marks or dashes differ; or "nearest" for
    the sentence nearest to it. ``begin`` and ``end`` are offsets in the ``section`` ("title" or "abstract"), and ``text`` is what
    stands there. ``similarity`` is from 0 to 1, in words; ``differences`` are the first places where words differ.
    """

    match: str
    section: str
    begin: int
    end: int
    text: str
    similarity: float
    differences: list[str]


def locate(article: Article, quotation: str) -> Place:
    """The place of a quotation in the title or the abstract.

    Raises:
        UsageError: the quotation is empty, or the article has no text.
    """
    quotation = quotation.strip()
    if not quotation:
        raise UsageError("The quotation is empty.")
    texts = {name: text for name, text in (("abstract", article.abstract), ("title", article.title)) if text}
    for name, text in texts.items():
        at = text.find(quotation)
        if at >= 0:
            return Place("exact", name, at, at + len(quotation), quotation, 1.0, [])
    wanted, _ = _normalized(quotation)
    for name, text in texts.items():
        normal, places = _normalized(text)
        at = normal.find(wanted)
        if wanted and at >= 0:
            begin, end = places[at], places[at + len(wanted) - 1] + 1
            return Place("normalized", name, begin, end, text[begin:end], 1.0, [])
    return _nearest(article, quotation)


def _normalized(text: str) -> tuple[str, list[int]]:
    """The text without differences of form, and where in the text each of its characters comes from."""
    letters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        for one in unicodedata.normalize("NFKC", character).translate(_ALIKE).casefold():
            letter = " " if one.isspace() else one
            if letter != " " or (letters and letters[-1] != " "):
                letters.append(letter)
                places.append(place)
    while letters and letters[-1] == " ":
        letters.pop()
        places.pop()
    return "".join(letters), places


def _nearest(article: Article, quotation: str) -> Place:
    words = _normalized(quotation)[0].split()
    best, best_matcher = None, None
    for sentence in sentences(article):
        matcher = SequenceMatcher(None, words, _normalized(sentence.text)[0].split(), autojunk=False)
        if best_matcher is None or matcher.ratio() > best_matcher.ratio():
            best, best_matcher = sentence, matcher
    if best is None or best_matcher is None:
        raise UsageError(f"The article {article.id} has no text to compare with.")
    found = _normalized(best.text)[0].split()
    differences = [
        f"{' '.join(words[a:b]) or '(nothing)'} → {' '.join(found[c:d]) or '(nothing)'}"
        for kind, a, b, c, d in best_matcher.get_opcodes()
        if kind != "equal"
    ]
    similarity = round(best_matcher.ratio(), 3)
    return Place("nearest", best.section, best.begin, best.end, best.text, similarity, differences[:MAX_DIFFERENCES])
