"""What every first stage offers, whichever way it finds its candidates."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from bioqa.retrieve.options import SearchOptions
from bioqa.types import Article, Candidate


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is searched: its name, its number of articles, the latest revision date in it ("" where not known) and when it was
    written (UTC, ISO 8601; "" in memory).
    """

    name: str
    documents: int
    date: str = ""
    created: str = ""


class MissingField(NamedTuple):
    """How many articles a filter on ``field`` excluded only because they lack the field."""

    field: str
    articles: int


class Retriever(Protocol):
    """A first stage: candidates for questions, and the articles behind them. Safe to use from several threads."""

    def search(self, question: str, k: int = 10, options: SearchOptions = ...) -> Sequence[Candidate]:
        """The ``k`` best articles, best first."""
        ...

    def search_many(
        self, questions: Sequence[str], k: int = 10, options: SearchOptions = ...
    ) -> Sequence[Sequence[Candidate]]:
        """What ``search`` gives for each question."""
        ...

    def check_options(self, options: SearchOptions) -> None:
        """Raise UsageError where this retriever does not support an option."""
        ...

    def check_question(self, question: str, options: SearchOptions = ...) -> None:
        """Raise QuestionError where the question cannot be searched under these options."""
        ...

    def explain(self, question: str, candidate: Candidate, options: SearchOptions = ...) -> str:
        """How a candidate's score is computed."""
        ...

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The articles of candidates that this retriever returned."""
        ...

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """The articles with these ids, None for each that is not there."""
        ...

    def missing_field_counts(self, question: str | None, options: SearchOptions = ...) -> list[MissingField]:
        """How many articles each filter excluded only because they lack its field, fields that none lacks left out.

        They are counted among the articles that match the question (among all where it is None) and pass the other filters.
        """
        ...

    def unknown_filter_values(self, options: SearchOptions = ...) -> list[tuple[str, str]]:
        """The (field, value) of filters that no article has, in lower case."""
        ...

    def snapshot(self) -> Snapshot:
        """What is searched."""
        ...
