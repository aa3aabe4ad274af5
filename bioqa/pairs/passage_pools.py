"""Where negatives come from: a collection of passages, or the abstracts of an index, each searched with BM25."""

import json
import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from bioqa.index.build import build_index
from bioqa.index.reader import Index
from bioqa.pairs.duplicates import normalised
from bioqa.pairs.question_groups import Group, Passage
from bioqa.retrieve.bm25 import BM25Retriever
from bioqa.types import Article, Candidate

QUERY_WORDS = 300
"""Words of a question that are searched for; Lucene takes 1,024 clauses a query."""


class Pool(Protocol):
    """Passages that negatives are drawn from."""

    def search(self, questions: Sequence[str], depth: int) -> Sequence[Sequence[Candidate]]:
        """For each question the ``depth`` best passages by BM25, best first."""
        ...

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The passages of candidates that this pool returned."""
        ...

    def gold_ids(self, group: Group) -> set[str]:
        """The ids of the candidates that are gold for the group."""
        ...

    def gold_documents(self, group: Group) -> set[str]:
        """The ids of documents whose passages cannot be negatives of the group."""
        ...

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """So many passages at random, all of them where there are fewer."""
        ...


class Collection:
    """Passages in memory, distinct in normal form, with a BM25 index of them in a temporary folder; see ``indexed``.

    ``places`` gives every place in a document that has a passage's text.
    """

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._passages: list[Passage] = []
        self._number: dict[str, int] = {}
        self._places: dict[str, list[Passage]] = {}
        for passage in passages:
            key = normalised(passage.text)
            if key not in self._number:
                self._number[key] = len(self._passages)
                self._passages.append(passage)
            self._places.setdefault(key, []).append(passage)
        self._retriever: BM25Retriever | None = None

    def __len__(self) -> int:
        return len(self._passages)

    @contextmanager
    def indexed(self) -> Iterator["Collection"]:
        """Build the index that ``search`` needs; it is gone at the end of the block."""
        with tempfile.TemporaryDirectory(prefix="bioqa-pairs-") as folder:
            corpus = Path(folder) / "passages.jsonl"
            with corpus.open("w", encoding="utf-8") as file:
                for number, passage in enumerate(self._passages):
                    file.write(json.dumps({"id": str(number), "text": passage.text}) + "\n")
            build_index(Path(folder) / "index", [corpus], workers=1)
            with Index(Path(folder) / "index") as index:
                self._retriever = BM25Retriever(index)
                yield self

    def search(self, questions: Sequence[str], depth: int) -> Sequence[Sequence[Candidate]]:
        """For each question the ``depth`` best passages by BM25, best first."""
        if self._retriever is None:
            raise RuntimeError("the collection is not indexed")
        return self._retriever.search_many(_queries(questions), depth)

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The passages of candidates that this collection returned."""
        return [self._passages[int(candidate.id)] for candidate in candidates]

    def gold_ids(self, group: Group) -> set[str]:
        """The ids of the group's gold passages."""
        keys = (normalised(passage.text) for passage in (*group.gold, *group.related))
        return {str(self._number[key]) for key in keys if key in self._number}

    def gold_documents(self, group: Group) -> set[str]:
        """None: other passages of a gold document can be negatives."""
        return set()

    def places(self, passage: Passage) -> Iterable[Passage]:
        """Every passage that this collection was given with the same text, and the passage itself."""
        return [passage, *self._places.get(normalised(passage.text), ())]

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """So many passages at random, all of them where there are fewer."""
        return rng.sample(self._passages, min(count, len(self._passages)))


class Articles:
    """The articles of an index as passages: abstracts, with the title before them where ``titles`` is set."""

    def __init__(self, index: Index, *, titles: bool) -> None:
        self.index = index
        self.titles = titles
        self._retriever = BM25Retriever(index)

    def text(self, article: Article) -> str:
        """The article as a passage, "" where it has no abstract."""
        if not article.abstract.strip():
            return ""
        return article.default_text().strip() if self.titles else abstract_text(article)

    def passage(self, article: Article) -> Passage:
        """The article as a passage."""
        return Passage(self.text(article), article.id)

    def search(self, questions: Sequence[str], depth: int) -> Sequence[Sequence[Candidate]]:
        """For each question the ``depth`` best articles by BM25, best first."""
        return self._retriever.search_many(_queries(questions), depth)

    def passages(self, candidates: Sequence[Candidate]) -> list[Passage]:
        """The articles of candidates as passages; those without abstract have no text."""
        return [self.passage(article) for article in self._retriever.articles(candidates)]

    def gold_ids(self, group: Group) -> set[str]:
        """The group's gold documents."""
        return self.gold_documents(group)

    def gold_documents(self, group: Group) -> set[str]:
        """The group's gold documents: what is left of one of them is no negative."""
        return {*group.documents, *(passage.document_id for passage in (*group.gold, *group.related))}

    def sample(self, count: int, rng: random.Random) -> list[Passage]:
        """So many articles at random, fewer where some lack an abstract."""
        return [passage for passage in map(self.passage, self.index.sample(count, rng)) if passage.text]


def _queries(questions: Sequence[str]) -> list[str]:
    return [" ".join(question.split()[:QUERY_WORDS]) for question in questions]


def abstract_text(article: Article) -> str:
    """The abstract, its labelled parts on lines of their own."""
    parts = [article.abstract[section.begin : section.end] for section in article.sections] or [article.abstract]
    return "\n".join(part for part in parts if part).strip()


def sentences_outside(index: Index, group: Group) -> list[Passage]:
    """The sentences of the documents of the group's gold passages that no gold passage overlaps, wherever its text stands."""
    from bioqa.corpus.sentences import sentences

    gold = (*group.gold, *group.related)
    found = []
    for id in dict.fromkeys(passage.document_id for passage in group.gold if passage.document_id):
        article = index.get(id)
        if article is None:
            continue
        spans = [(section, *span) for section, text in _texts(article) for span in _spans(text, gold)]
        found += [
            Passage(one.text, id, one.section, one.begin, one.end)
            for one in sentences(article)
            if not any(one.section == section and one.begin < end and begin < one.end for section, begin, end in spans)
        ]
    return found


def _texts(article: Article) -> list[tuple[str, str]]:
    return [("title", article.title), ("abstract", article.abstract)]


def _spans(text: str, gold: Iterable[Passage]) -> Iterator[tuple[int, int]]:
    """Where the gold texts stand in ``text``: offsets of a file may count in another version of it."""
    for passage in gold:
        begin = text.find(passage.text)
        if begin >= 0:
            yield begin, begin + len(passage.text)
