"""Pools of passages to sample negatives from: passages in memory, or the articles of an index, both searchable with BM25."""

import json
import random
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Protocol

from bioqa.index.build import build_index
from bioqa.index.reader import Index
from bioqa.pairs.duplicates import normalize
from bioqa.pairs.question_groups import Passage, QuestionGroup
from bioqa.retrieve.bm25 import BM25Retriever
from bioqa.types import Article, Candidate

QUERY_WORDS = 300
"""Words of a question that are searched for; Lucene allows 1,024 clauses per query."""


class Pool(Protocol):
    """Passages to sample negatives from."""

    def search(self, questions: Sequence[str], k: int) -> Sequence[Sequence[Candidate]]:
        """The top ``k`` passages by BM25 for each question, best first."""
        ...

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The passages of candidates that this pool returned; they may have no text."""
        ...

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """At most ``count`` different passages at random."""
        ...

    def gold_ids(self, group: QuestionGroup) -> set[str]:
        """The ids of the candidates that are gold for the group."""
        ...

    def gold_documents(self, group: QuestionGroup) -> set[str]:
        """The ids of documents none of whose passages can be a negative of the group."""
        ...

    def places(self, passage: Passage) -> list[Passage]:
        """The passage itself and those of the pool with the same text: every known place of the text in a document."""
        ...


class PassagePool:
    """Passages in memory, distinct in normal form; a context manager that removes the temporary index of ``search``."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._passages: list[Passage] = []
        self._number: dict[str, int] = {}
        self._places: dict[str, list[Passage]] = {}
        for passage in passages:
            key = normalize(passage.text)
            if key not in self._number:
                self._number[key] = len(self._passages)
                self._passages.append(passage)
            self._places.setdefault(key, []).append(passage)
        self._retriever: BM25Retriever | None = None
        self._resources = ExitStack()

    def __len__(self) -> int:
        return len(self._passages)

    def __enter__(self) -> "PassagePool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._retriever = None
        self._resources.close()

    def search(self, questions: Sequence[str], k: int) -> Sequence[Sequence[Candidate]]:
        """The top ``k`` passages by BM25 for each question, best first. The first call builds the index."""
        if self._retriever is None:
            self._retriever = self._build_index()
        return self._retriever.search_many(_queries(questions), k)

    def _build_index(self) -> BM25Retriever:
        folder = Path(self._resources.enter_context(tempfile.TemporaryDirectory(prefix="bioqa-pairs-")))
        corpus = folder / "passages.jsonl"
        with corpus.open("w", encoding="utf-8") as file:
            for number, passage in enumerate(self._passages):
                file.write(json.dumps({"id": str(number), "text": passage.text}) + "\n")
        build_index(folder / "index", [corpus], workers=1)
        return BM25Retriever(self._resources.enter_context(Index(folder / "index")))

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The passages of candidates that this pool returned."""
        return [self._passages[int(candidate.id)] for candidate in candidates]

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """``count`` different passages at random, or all if there are fewer."""
        return rng.sample(self._passages, min(count, len(self._passages)))

    def gold_ids(self, group: QuestionGroup) -> set[str]:
        """The ids of the group's gold passages."""
        keys = (normalize(passage.text) for passage in (*group.gold, *group.related))
        return {str(self._number[key]) for key in keys if key in self._number}

    def gold_documents(self, group: QuestionGroup) -> set[str]:
        """An empty set: other passages of a gold document can be negatives."""
        return set()

    def places(self, passage: Passage) -> list[Passage]:
        """The passage itself and those of the pool with the same text."""
        return [passage, *self._places.get(normalize(passage.text), ())]


class ArticlePool:
    """The articles of an index as passages: their abstracts, preceded by the title if ``titles`` is set."""

    def __init__(self, index: Index, *, titles: bool) -> None:
        self._index = index
        self._titles = titles
        self._retriever = BM25Retriever(index)

    def get(self, id: str) -> Passage | None:
        """An article as a passage, None if it is not in the index or has no abstract."""
        article = self._index.get(id)
        passage = self._passage(article) if article else None
        return passage if passage and passage.text else None

    def _passage(self, article: Article) -> Passage:
        """The article as a passage, without text if it has no abstract."""
        if not article.abstract.strip():
            return Passage("", article.id)
        return Passage(article.default_text().strip() if self._titles else abstract_text(article), article.id)

    def search(self, questions: Sequence[str], k: int) -> Sequence[Sequence[Candidate]]:
        """The top ``k`` articles by BM25 for each question, best first."""
        return self._retriever.search_many(_queries(questions), k)

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The articles of candidates as passages; those without an abstract have no text."""
        return [self._passage(article) for article in self._retriever.articles(candidates)]

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """``count`` different articles at random, less those without an abstract."""
        return [passage for passage in map(self._passage, self._index.sample(count, rng)) if passage.text]

    def gold_ids(self, group: QuestionGroup) -> set[str]:
        """The ids of the group's gold documents."""
        return self.gold_documents(group)

    def gold_documents(self, group: QuestionGroup) -> set[str]:
        """The ids of the group's gold documents: no other part of them can be a negative."""
        return {*group.documents, *(passage.document_id for passage in (*group.gold, *group.related))}

    def places(self, passage: Passage) -> list[Passage]:
        """The passage alone: offsets are not compared, as gold documents are excluded as a whole."""
        return [passage]


def _queries(questions: Sequence[str]) -> list[str]:
    return [" ".join(question.split()[:QUERY_WORDS]) for question in questions]


def abstract_text(article: Article) -> str:
    """The abstract with each labeled section on its own line."""
    parts = [article.abstract[section.begin : section.end] for section in article.sections] or [article.abstract]
    return "\n".join(part for part in parts if part).strip()
