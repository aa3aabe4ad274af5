"""What the templates of the web page show, made from answers and articles: plain values, which the templates escape."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple
from urllib.parse import quote

from bioqa import __version__
from bioqa.pipeline.answer import Answer
from bioqa.serve.page_query import DATES, FLAGS, VALUES, PageQuery
from bioqa.types import Article, Hit, Snippet

VERDICTS = (
    (0.8, "Very likely an answer"),
    (0.5, "Likely an answer"),
    (0.2, "Possibly an answer"),
    (0.0, "Unlikely to answer"),
)
"""From which calibrated probability on → what it is in words."""
MAX_BARS = 12
"""Bars of the histogram: more would be too narrow to hit with a finger."""
WIDTH, HEIGHT = 288, 56
FACET_NAMES = {
    "type": "Publication type",
    "journal": "Journal",
    "mesh": "MeSH heading",
    "major_topic": "Major topic",
    "author": "Author",
    "language": "Language",
}
FLAG_NAMES = {"exclude_retracted": "Not retracted", "has_abstract": "With an abstract"}
LANGUAGES = {
    "chi": "Chinese", "cze": "Czech", "dan": "Danish", "dut": "Dutch", "eng": "English", "fin": "Finnish", "fre": "French",
    "ger": "German", "gre": "Greek", "heb": "Hebrew", "hun": "Hungarian", "ita": "Italian", "jpn": "Japanese", "kor": "Korean",
    "mul": "several", "nor": "Norwegian", "pol": "Polish", "por": "Portuguese", "rum": "Romanian", "rus": "Russian",
    "spa": "Spanish", "swe": "Swedish", "tur": "Turkish", "ukr": "Ukrainian", "und": "unknown",
}  # fmt: skip
"""NLM's codes of the more frequent languages; others are shown as they are."""


class Piece(NamedTuple):
    """A part of an abstract; ``rank`` is that of the answer sentence it is part of, from 1, or 0 if it is part of none."""

    text: str
    rank: int = 0
    begin: int = 0
    end: int = 0


class Paragraph(NamedTuple):
    """A labelled part of an abstract, or all of one that has no parts."""

    label: str
    pieces: list[Piece]


def paragraphs(article: Article, snippets: Sequence[Snippet] = ()) -> list[Paragraph]:
    """The abstract in its parts, with the answer sentences at their offsets.

    The labels with their ": " and the texts of all pieces, joined, are the abstract.
    """
    marked = [(one, rank) for rank, one in enumerate(snippets, start=1) if one.section == "abstract"]
    spans = [(section.begin, section.text_begin, section.end) for section in article.sections]
    found = []
    for begin, text_begin, end in spans or [(0, 0, len(article.abstract))]:
        label = article.abstract[begin:text_begin].rstrip().removesuffix(":")
        borders = {text_begin, end}
        for one, _ in marked:
            borders |= {at for at in (one.begin, one.end) if text_begin < at < end}
        edges = sorted(borders)
        pieces = []
        for first, last in pairwise(edges):
            rank = next((rank for one, rank in marked if one.begin <= first and last <= one.end), 0)
            pieces.append(Piece(article.abstract[first:last], rank, first, last))
        found.append(Paragraph(label, pieces))
    return [one for one in found if one.label or one.pieces]


class Bar(NamedTuple):
    """A bar of the histogram: its years, the articles in them, and its place and size in a box of ``WIDTH`` by ``HEIGHT``."""

    first: int
    last: int
    articles: int
    x: float
    width: float
    height: int

    @property
    def years(self) -> str:
        """The years in words, such as "2015–2019"."""
        return str(self.first) if self.first == self.last else f"{self.first}–{self.last}"


def histogram(counts: Sequence[tuple[str, int]]) -> list[Bar]:
    """Years and their numbers of articles as at most ``MAX_BARS`` bars of 1, 2, 5, 10, … years each."""
    by_year = {int(year): count for year, count in counts if year.isdecimal()}
    if not by_year:
        return []
    first, last = min(by_year), max(by_year)
    step = next(
        size * 10**power
        for power in range(4)
        for size in (1, 2, 5)
        if last // (size * 10**power) - first // (size * 10**power) < MAX_BARS
    )
    sums = dict.fromkeys(range(first // step, last // step + 1), 0)
    for year, count in by_year.items():
        sums[year // step] += count
    highest, width = max(sums.values()), WIDTH / max(len(sums), MAX_BARS // 3)
    return [
        Bar(
            max(at * step, first),
            min(at * step + step - 1, last),
            count,
            round(number * width, 2),
            round(width, 2),
            -(-count * HEIGHT // highest),
        )
        for number, (at, count) in enumerate(sums.items())
    ]


def verdict(probability: float) -> str:
    """A calibrated probability in words."""
    return next(words for least, words in VERDICTS if probability >= least)


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in force, in words, and the address of the search without it."""

    text: str
    without: str


def chips(query: PageQuery) -> list[Chip]:
    """The filters in force."""
    filters = query.filters
    found = []
    if filters.since or filters.until:
        dates = [f"from {filters.since}"] * bool(filters.since) + [f"to {filters.until}"] * bool(filters.until)
        text = filters.since if filters.since == filters.until else " ".join(dates)
        found.append(Chip(f"Published: {text}", query.filtered(since="", until="")))
    for name in VALUES:
        for value in getattr(filters, name):
            found.append(Chip(f"{FACET_NAMES[name]}: {shown_value(name, value)}", query.removed(name, value)))
    if filters.as_of:
        found.append(Chip(f"In PubMed by {filters.as_of}", query.filtered(as_of="")))
    found += [Chip(FLAG_NAMES[name], query.filtered(**{name: False})) for name in FLAGS if getattr(filters, name)]
    return found


def shown_value(name: str, value: str) -> str:
    """A filter value as people read it."""
    return LANGUAGES.get(value, value) if name == "language" else value


def doi_address(article: Article) -> str:
    """The address of the article at doi.org, "" if it has no DOI."""
    return f"https://doi.org/{quote(article.doi, safe='/')}" if article.doi else ""


def pmc_address(article: Article) -> str:
    """The address of the full text in PubMed Central, "" if it is not there."""
    return f"https://pmc.ncbi.nlm.nih.gov/articles/{quote(article.pmcid, safe='')}/" if article.pmcid else ""


def article_path(id: str, *rest: str) -> str:
    """The path of the page of an article."""
    return "/".join(("/article", quote(id, safe=""), *rest))


def sorted_hits(hits: Sequence[Hit], sort: str) -> list[Hit]:
    """The hits of a page in the order chosen; those of one date by rank."""
    return sorted(hits, key=lambda hit: hit.article.date, reverse=True) if sort == "date" else list(hits)


def search_record(query: PageQuery, answer: Answer, total: int, address: str) -> str:
    """All that makes a search reproducible, as lines of text."""
    options, index, search = answer.options, answer.index, answer.options.search
    filters = [" ".join(one) for one in _filters(query)]
    bm25 = f"BM25, k1 {search.k1:g}, b {search.b:g}"
    bm25 += f", title weight {search.title_weight:g}" if search.title_weight else ""
    bm25 += ", RM3" if search.rm3 else ""
    reranker = "none"
    if answer.reranker:
        reranker = (
            f"{answer.reranker}, {options.rerank_depth} candidates, logit + {options.first_stage_weight:g} × BM25"
        )
        reranker += f", {options.aggregation}" + (f", overlap {options.overlap}" if options.overlap else "")
    first, last = options.offset + 1, options.offset + len(answer.hits)
    lines = {
        "Question": query.question,
        "Filters": "; ".join(filters) or "none",
        "Index": f"{index.name}, {index.documents:,} articles, generation {index.generation}",
        "Snapshot": index.date or "unknown",
        "Index built": index.created or "unknown",
        "First stage": f"{bm25}, question read as {search.syntax}",
        "Reranker": reranker,
        "Matching": f"{total:,} articles",
        "Shown": f"{first}–{last} by {query.sort}" if answer.hits else "none",
        "Searched": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Software": f"bioqa {__version__}",
        "Address": address,
        "Command": command(query, answer),
    }
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name + ':':<{width}}{value}" for name, value in lines.items())


def _filters(query: PageQuery) -> list[tuple[str, ...]]:
    """The filters in force as the command line has them: (option, value), or (option,) alone."""
    filters = query.filters
    found: list[tuple[str, ...]] = [(name, getattr(filters, name)) for name in DATES if getattr(filters, name)]
    found += [(name, value) for name in VALUES for value in getattr(filters, name)]
    found += [(name,) for name in FLAGS if getattr(filters, name)]
    return [(name.replace("_", "-"), *value) for name, *value in found]


def command(query: PageQuery, answer: Answer) -> str:
    """The command line that repeats a search."""
    options, search = answer.options, answer.options.search
    words = ["bioqa", "search", answer.index.name, query.question, "--top", str(options.offset + options.top)]
    for name, *value in _filters(query):
        words += [f"--{name}", *value]
    words += ["--syntax", search.syntax] if search.syntax != "words" else []
    words += ["--k1", f"{search.k1:g}", "--b", f"{search.b:g}"]
    words += ["--title-weight", f"{search.title_weight:g}"] if search.title_weight else []
    words += ["--rm3"] if search.rm3 else []
    words += [] if answer.reranker else ["--no-rerank"]
    if answer.reranker:
        words += ["--reranker", answer.reranker, "--rerank-depth", str(options.rerank_depth)]
    return shlex.join(words)
