"""A question → a Lucene query: Anserini's bag of words or Lucene's query syntax; title weight, filters and RM3."""

from collections.abc import Sequence
from typing import Any

from bioqa.errors import QuestionError
from bioqa.index.document import CONTENTS, TITLE, query_analyzer
from bioqa.index.filters import Filters, combine, missing_query
from bioqa.index.jvm import java, java_exception, java_lock
from bioqa.types import Article

RM3_DOCUMENTS, RM3_TERMS, RM3_ORIGINAL_WEIGHT = 10, 10, 0.5
"""Anserini's defaults: feedback documents, feedback terms, weight of the question's own terms."""
SIMILAR_TERMS, SIMILAR_TITLE_WEIGHT = 50, 0.5
"""Terms of an article that find similar ones, and the weight of its title beside title and abstract; see
``benchmarks/similar.py``."""
NO_FILTERS = Filters()
_HINT = "Close every quotation mark and parenthesis, and escape a literal ( : or / with \\."


class QueryBuilder:
    """Makes the queries of one index under one set of options. By default they are Anserini's bags of words, with folded words.

    ``title_weight`` × the BM25 score of the title is added to that of title and abstract. ``retracted`` is the query for
    what ``filters.exclude_retracted`` excludes. Safe to use from several threads.
    """

    def __init__(
        self,
        filters: Filters = NO_FILTERS,
        title_weight: float = 0.0,
        syntax: str = "words",
        retracted: Any = None,
    ) -> None:
        self.title_weight = title_weight
        self.syntax = syntax
        with java_lock:
            self._analyzer = query_analyzer()
            self._words = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
            self._filters = filters.queries()
            self._excluded = [missing_query("abstract")] if filters.has_abstract else []
            self._excluded += [retracted] if filters.exclude_retracted else []

    def build(self, question: str, *, skip: str = "") -> Any:
        """The query for a question, without the filter on the field ``skip``.

        Raises:
            QuestionError: the question is not valid in Lucene's syntax; the message gives the column.
        """
        with java_lock:
            if self.syntax == "lucene":
                return self._filtered(self._parse(question), skip)
            return self._filtered(self._titled(self._bag(CONTENTS, question), question), skip)

    def expanded(self, question: str, reader: Any, texts: Sequence[str], scores: Sequence[float]) -> Any:
        """The RM3 query for a question, from the texts and scores of the best articles that ``build``'s query finds."""
        with java_lock:
            contents = java("bioqa.Rm3").expand(
                reader, self._analyzer, CONTENTS, question, list(texts), list(scores), RM3_TERMS, RM3_ORIGINAL_WEIGHT
            )
            return self._filtered(self._titled(contents, question))

    def similar(self, article: Article, reader: Any) -> Any:
        """The query for articles with the strongest terms of the article's title and contents and its MeSH descriptors."""
        headings = [heading.lower() for heading in article.mesh if "/" not in heading]
        with java_lock:
            query = java("bioqa.Similar").query(
                reader,
                self._analyzer,
                article.id,
                article.titles(),
                article.searchable_text(),
                headings,
                SIMILAR_TERMS,
                SIMILAR_TITLE_WEIGHT,
            )
            return self._filtered(query)

    def passing(self, *, skip: str = "") -> Any:
        """The query for all articles that pass the filters."""
        with java_lock:
            return self._filtered(java("org.apache.lucene.search.MatchAllDocsQuery")(), skip)

    def _bag(self, name: str, question: str) -> Any:
        return self._words.buildQuery(name, self._analyzer, question)

    def _titled(self, contents: Any, question: str) -> Any:
        if not self.title_weight:
            return contents
        title = java("org.apache.lucene.search.BoostQuery")(self._bag(TITLE, question), self.title_weight)
        return combine((contents, "MUST"), (title, "SHOULD"))

    def _filtered(self, query: Any, skip: str = "") -> Any:
        filters = [(passing, "FILTER") for name, passing in self._filters.items() if name != skip]
        filters += [(excluded, "MUST_NOT") for excluded in self._excluded]
        return combine((query, "MUST"), *filters) if filters else query

    def _parse(self, text: str) -> Any:
        failure = java_exception()
        try:
            return java("bioqa.QuerySyntax").parse(text, self._analyzer, self.title_weight)
        except failure as problem:
            position, _, reason = str(getattr(problem, "innermessage", "") or problem).partition(" ")
            if not position.isdecimal():
                raise
            at = int(position)
            near = text[max(0, at - 20) : at + 20]
            raise QuestionError(f"Invalid query at column {at + 1} (near {near!r}): {reason}. {_HINT}") from problem
