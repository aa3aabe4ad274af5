"""What the MCP tools return: typed results, cut to a number of characters as JSON."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from bioqa import types
from bioqa.corpus.citation_formats import byline, source_line
from bioqa.corpus.quotes import CheckedQuote
from bioqa.corpus.sentences import sentences
from bioqa.pipeline.answer import Answer
from bioqa.retrieve.retriever import Snapshot
from bioqa.serve.errors import InvalidError
from bioqa.serve.problems import to_json
from bioqa.serve.service import warnings
from bioqa.types import Article, Snippet

MAX_CHARS, LEAST_CHARS, MOST_CHARS = 8_000, 500, 200_000
"""The default, the least and the most of ``max_chars``."""
AUTHORS = 3
"""Authors named in ``source``."""


class Sentence(BaseModel):
    """``text`` is ``section[begin:end]`` of the article, in characters."""

    pmid: str
    section: Literal["title", "abstract"]
    begin: int
    end: int
    text: str


class Hit(BaseModel):
    """An article that was found. ``source`` says by whom and where it appeared; ``marks``: "retracted", "expression of concern" or
    "corrected" → the PMIDs of the notices; ``probability`` is None without a reranker.
    """

    pmid: str
    title: str
    source: str
    types: list[str]
    marks: dict[str, list[str]]
    probability: float | None = None
    sentences: list[Sentence]


class FullArticle(BaseModel):
    """An article with all sentences of its abstract, except the last ``cut`` ones, which did not fit."""

    pmid: str
    title: str
    source: str
    doi: str
    types: list[str]
    mesh: list[str]
    marks: dict[str, list[str]]
    sentences: list[Sentence]
    cut: int


class Searched(BaseModel):
    """The index that was searched, its number of articles, its generation, and the date of the latest revision in it."""

    index: str
    documents: int
    generation: int
    snapshot: str


class SearchResult(Searched):
    """The question, filters and options in force; the hits, best first; the PMIDs of those that did not fit."""

    question: str
    filters: dict[str, Any]
    options: dict[str, Any]
    warnings: list[str]
    hits: list[Hit]
    deferred: list[str]


class ArticlesResult(Searched):
    """The articles; the identifiers that name none; the PMIDs of those that did not fit."""

    articles: list[FullArticle]
    not_found: list[str]
    deferred: list[str]


class Difference(BaseModel):
    """Words of a quotation, and those of the article in their place."""

    quoted: str
    article: str


class QuoteResult(Searched):
    """Where an article has a text, or what is nearest, as ``CheckedQuote`` has it."""

    match: Literal["exact", "variant", "none"]
    occurrences: int
    variations: list[str]
    similarity: float
    differences: list[Difference]
    marks: dict[str, list[str]]
    sentence: Sentence | None = None


def search_result(answer: Answer, max_chars: int, *told: str) -> CallToolResult:
    """The answer with the hits that fit, and ``told`` before its warnings.

    Raises InvalidError if not even an answer without hits fits.
    """
    options = answer.options.to_dict()
    search = options.pop("search")
    filters = _in_force(search.pop("filters"))
    in_force = _in_force({"reranker": answer.reranker, **options, **search})
    hits = [_hit(hit) for hit in answer.hits]

    def result(kept: Sequence[Hit]) -> SearchResult:
        return SearchResult(
            **searched(answer.index),
            question=answer.question.body,
            filters=filters,
            options=in_force,
            warnings=[*told, *warnings(answer)],
            hits=list(kept),
            deferred=[hit.pmid for hit in hits[len(kept) :]],
        )

    fewer = (hits[:count] for count in range(len(hits), -1, -1))
    return _fitting(map(result, fewer), max_chars)


def articles_result(
    found: Sequence[Article], not_found: Sequence[str], snapshot: Snapshot, max_chars: int
) -> CallToolResult:
    """The articles that fit; if the first does not, those of its sentences that do.

    Raises InvalidError if not even a result without articles fits.
    """
    articles = [_full(article) for article in found]

    def result(kept: Sequence[FullArticle]) -> ArticlesResult:
        deferred = [article.pmid for article in articles[len(kept) :]]
        return ArticlesResult(**searched(snapshot), articles=list(kept), not_found=list(not_found), deferred=deferred)

    fewer = (articles[:count] for count in range(len(articles), 0, -1))
    cut = ([shorter] for first in articles[:1] for shorter in _shortened(first))
    return _fitting(map(result, chain(fewer, cut, [[]])), max_chars)


def quote_result(article: Article, checked: CheckedQuote, snapshot: Snapshot) -> CallToolResult:
    """What ``check_quote`` found. Raises InvalidError if it has more than ``MOST_CHARS`` characters."""
    result = QuoteResult(
        **searched(snapshot),
        match=checked.match,
        occurrences=checked.occurrences,
        variations=list(checked.variations),
        similarity=checked.similarity,
        differences=[Difference(quoted=one.quoted, article=one.article) for one in checked.differences],
        marks=_marks(article),
        sentence=_sentence(checked.place) if checked.place else None,
    )
    return _fitting([result], MOST_CHARS)


def searched(snapshot: Snapshot) -> dict[str, Any]:
    """The values of ``Searched``."""
    return {
        "index": snapshot.name,
        "documents": snapshot.documents,
        "generation": snapshot.generation,
        "snapshot": snapshot.date,
    }


def _sentence(snippet: Snippet) -> Sentence:
    section: Literal["title", "abstract"] = "title" if snippet.section == "title" else "abstract"
    return Sentence(pmid=snippet.document, section=section, begin=snippet.begin, end=snippet.end, text=snippet.text)


def _marks(article: Article) -> dict[str, list[str]]:
    return {mark: list(notices) for mark, notices in article.marks.items()}


def _head(article: Article) -> dict[str, Any]:
    """The values that ``Hit`` and ``FullArticle`` share."""
    return {
        "pmid": article.id,
        "title": article.title or article.vernacular_title,
        "source": ". ".join(filter(None, (byline(article, AUTHORS).rstrip("."), source_line(article)))),
        "types": list(article.publication_types),
        "marks": _marks(article),
    }


def _hit(hit: types.Hit) -> Hit:
    return Hit(
        **_head(hit.article),
        probability=None if hit.probability is None else round(hit.probability, 4),
        sentences=[_sentence(snippet) for snippet in hit.snippets],
    )


def _full(article: Article) -> FullArticle:
    found = [_sentence(snippet) for snippet in sentences(article) if snippet.section == "abstract"]
    return FullArticle(**_head(article), doi=article.doi, mesh=list(article.mesh), sentences=found, cut=0)


def _shortened(article: FullArticle) -> Iterator[FullArticle]:
    """The article with ever fewer sentences, at least one."""
    for count in range(len(article.sentences) - 1, 0, -1):
        cut = len(article.sentences) - count
        yield article.model_copy(update={"sentences": article.sentences[:count], "cut": cut})


def _in_force(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are not empty, 0 or off."""
    return {name: value for name, value in values.items() if value}


def _fitting(results: Iterable[Searched], max_chars: int) -> CallToolResult:
    """The first of the results that has at most ``max_chars`` characters as JSON. Raises InvalidError if none has."""
    text = ""
    for result in results:
        content = result.model_dump(mode="json", exclude_none=True)
        text = to_json(content).decode()
        if len(text) <= max_chars:
            return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=content)
    raise InvalidError(
        f"max_chars is {max_chars:,}, but even the answer without articles has {len(text):,} characters. Allow more.",
        field="max_chars",
    )
