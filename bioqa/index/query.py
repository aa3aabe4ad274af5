"""A question → a Lucene query: a bag of words as Anserini makes it, or Lucene's own syntax; title weight, filters and RM3."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bioqa.errors import QuestionError
from bioqa.index.document import CONTENTS, TITLE, analyzer
from bioqa.index.filters import Filters, combine
from bioqa.index.jvm import java, java_exception

RM3_DOCUMENTS, RM3_TERMS, RM3_ORIGINAL_WEIGHT = 10, 10, 0.5
"""Anserini's defaults: feedback documents, feedback terms, weight of the question's own words."""
_HINT = "Close every quotation mark and bracket, and write \\ before a character such as ( : / that is meant as it is."


@dataclass(slots=True)
class QueryBuilder:
    """Makes the queries of one index. With no option set they are Anserini's bag-of-words queries and nothing else.

    ``title_weight`` times the BM25 score of the title is added to that of title and abstract.
    """

    filters: Filters = field(default_factory=Filters)
    title_weight: float = 0.0
    syntax: str = "words"
    _analyzer: Any = None
    _words: Any = None
    _filters: dict[str, Any] = field(default_factory=dict)

    def _load(self) -> None:
        if self._analyzer is None:
            self._analyzer = analyzer()
            self._words = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
            self._filters = self.filters.queries()

    def build(self, question: str, *, skip: str = "") -> Any:
        """The query for a question, without the filter on the field ``skip``.

        Raises:
            QuestionError: the question is no query in Lucene's syntax; the message gives the column of the fault.
        """
        self._load()
        if self.syntax == "lucene":
            return self._filtered(self._parse(question), skip)
        return self._filtered(self._titled(self._bag(CONTENTS, question), question), skip)

    def expanded(self, question: str, reader: Any, texts: Sequence[str], scores: Sequence[float]) -> Any:
        """The RM3 query for a question, from the texts and scores of the best articles that ``build``'s query finds."""
        self._load()
        contents = java("bioqa.Bulk").expand(
            reader, self._analyzer, CONTENTS, question, list(texts), list(scores), RM3_TERMS, RM3_ORIGINAL_WEIGHT
        )
        return self._filtered(self._titled(contents, question))

    def passing(self, *, skip: str = "") -> Any:
        """The query of all articles that pass the filters."""
        self._load()
        return self._filtered(java("org.apache.lucene.search.MatchAllDocsQuery")(), skip)

    def _bag(self, name: str, question: str) -> Any:
        return self._words.buildQuery(name, self._analyzer, question)

    def _titled(self, contents: Any, question: str) -> Any:
        if not self.title_weight:
            return contents
        title = java("org.apache.lucene.search.BoostQuery")(self._bag(TITLE, question), self.title_weight)
        return combine((contents, "MUST"), (title, "SHOULD"))

    def _filtered(self, query: Any, skip: str = "") -> Any:
        filters = [(one, "FILTER") for name, one in self._filters.items() if name != skip]
        return combine((query, "MUST"), *filters) if filters else query

    def _parse(self, text: str) -> Any:
        failure = java_exception()
        try:
            return java("bioqa.Bulk").parse(text, self._analyzer, self.title_weight)
        except failure as problem:
            place, _, reason = str(getattr(problem, "innermessage", "") or problem).partition(" ")
            if not place.isdecimal():
                raise
            at = int(place)
            near = text[max(0, at - 20) : at + 20]
            raise QuestionError(
                f"The query is broken at column {at + 1} (near {near!r}): {reason}. {_HINT}"
            ) from problem
