"""The interface of every first stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from bioqa.arguments import check_count, check_items, check_type
from bioqa.errors import QuestionError, UsageError
from bioqa.index.document import FACETS
from bioqa.index.filters import FIELD_NAMES
from bioqa.retrieve.options import SearchOptions
from bioqa.types import Article, Candidate

MAX_INT = 2**31 - 1
"""Java's largest int: of results of a search, and of keys of articles."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The collection that was searched: its name, number of articles, latest revision date ("" if unknown), and when it was
    written (UTC, ISO 8601; "" in memory). ``generation`` is the number of the index's commit, higher after each update (0 in
    memory).
    """

    name: str
    documents: int
    date: str = ""
    created: str = ""
    generation: int = 0


Facets = dict[str, list[tuple[str, int]]]
"""Field → (value, number of articles with it): years in their order; else the highest counts first, equal ones by value."""


class UnknownValue(NamedTuple):
    """A filter value in lower case that no article has, and the nearest that one has ("" if none is near)."""

    field: str
    value: str
    nearest: str = ""

    def __str__(self) -> str:
        """What to tell the user."""
        advice = f"Did you mean {self.nearest!r}?" if self.nearest else "A value must match as a whole, ignoring case."
        return f"No article in the index has the {FIELD_NAMES[self.field]} {self.value!r}. {advice}"


class MissingField(NamedTuple):
    """The number of articles that a filter on ``field`` excluded only because they lack the field."""

    field: str
    articles: int


@runtime_checkable
class Retriever(Protocol):
    """A first stage: finds candidates for questions, and returns their articles. Safe to use from several threads.

    ``scale`` is the kind of its scores, on which the factor depends by which they are added to a reranker's logit: "bm25", "dense"
    or the name of a fusion. Every method raises UsageError for an argument of the wrong type.
    """

    @property
    def scale(self) -> str:
        """The kind of its scores."""
        ...

    def search(self, question: str, k: int = 10, options: SearchOptions = ...) -> Sequence[Candidate]:
        """The ``k`` best articles, best first."""
        ...

    def search_many(
        self, questions: Sequence[str], k: int = 10, options: SearchOptions = ...
    ) -> Sequence[Sequence[Candidate]]:
        """What ``search`` returns for each question."""
        ...

    def similar(self, article: Article, k: int = 10, options: SearchOptions = ...) -> Sequence[Candidate]:
        """The ``k`` articles most similar to one, best first, without itself.

        Raises:
            UsageError: ``options`` has a syntax, a title weight or RM3, which are for questions.
        """
        ...

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError if this retriever does not support an option."""
        ...

    def check_question(self, question: str, options: SearchOptions = ...) -> None:
        """Raise QuestionError if the question cannot be searched with these options."""
        ...

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = ...) -> str:
        """An explanation of a candidate's score.

        Raises:
            UsageError: this retriever cannot explain scores.
        """
        ...

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The articles of candidates that this retriever returned."""
        ...

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not found."""
        ...

    def missing_field_counts(self, question: str | None, options: SearchOptions = ...) -> list[MissingField]:
        """The number of articles that each filter excluded only because they lack its field; fields with none are omitted.

        Only articles that match the question (all if it is None) and pass the other filters are counted.
        """
        ...

    def unknown_filter_values(self, options: SearchOptions = ...) -> list[UnknownValue]:
        """The filter values that no article has."""
        ...

    def facets(self, question: str, fields: Sequence[str], options: SearchOptions = ..., values: int = 10) -> Facets:
        """How many of all the articles that match the question and pass the filters have each value of the fields.

        ``fields`` are names in ``FACETS``; of each but the year, the ``values`` most frequent values are returned. Terms that RM3
        adds to the question find no further articles.

        Raises:
            QuestionError: the question cannot be searched with these options.
            UsageError: a field is unknown, or ``values`` is less than 1.
        """
        ...

    def snapshot(self) -> Snapshot:
        """A description of the collection."""
        ...


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate, which neither UTF-8 nor Java could encode."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def check_text(question: str) -> None:
    """Raise UsageError if the question is no text, and QuestionError if it cannot be encoded as UTF-8."""
    check_type("question", question, str)
    if not _is_unicode(question):
        raise QuestionError("The question has half a character (a lone surrogate). Remove it.")


def check_search(k: int, options: SearchOptions) -> None:
    """Raise UsageError if an argument of a search is of the wrong type, or ``k`` is not 1 to ``MAX_INT``."""
    check_count("k", k)
    if k > MAX_INT:
        raise UsageError(f"k must be at most {MAX_INT:,}, not {k:,}.")
    check_type("options", options, SearchOptions)


def check_similar(article: Article, k: int, options: SearchOptions) -> None:
    """Raise UsageError if an argument of a search for similar articles is of the wrong type or out of range."""
    check_type("article", article, Article)
    check_search(k, options)
    if options.rm3 or options.title_weight or options.syntax != "words":
        raise UsageError("The query syntax, the title weight and RM3 are for questions, not for similar articles.")


def check_facets(fields: Sequence[str], values: int) -> list[str]:
    """The distinct fields; raises UsageError for one that is unknown, or for ``values`` less than 1."""
    check_count("The number of values of a facet", values)
    names = list(dict.fromkeys(check_items("facets", fields, str)))
    unknown = [name for name in names if name not in FACETS]
    if unknown:
        raise UsageError(f"Unknown facet {unknown[0]!r}. Choose from {', '.join(FACETS)}.")
    return names


def check_candidates(candidates: Sequence[Candidate], articles: int | None = None) -> None:
    """Raise UsageError unless they are candidates whose keys are numbers of articles, of which there are ``articles``."""
    for candidate in check_items("candidates", candidates, Candidate):
        check_type("candidate.id", candidate.id, str)
        check_type("candidate.key", candidate.key, int)
        if not 0 <= candidate.key <= MAX_INT or not _is_unicode(candidate.id):
            raise UsageError(f"{candidate} is not a candidate that a retriever returned.")
        if articles is not None and candidate.key >= articles:
            raise UsageError(
                f"{candidate} is not a candidate that this retriever returned: it has {articles:,} articles."
            )
