"""BM25 over a Lucene index on disk, with Anserini's analyzer and bag-of-words query: the scores are Pyserini's."""

import os
import random
import sys
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import ID, RAW, from_json
from bioqa.index.filters import Filters, LeftOut, any_of, combine, lacks_query, term_query
from bioqa.index.jvm import cast, java, java_exception
from bioqa.index.manifest import FORMAT, Manifest, SourceEntry, read_format, read_manifest, user_data
from bioqa.index.query import RM3_DOCUMENTS, QueryBuilder
from bioqa.index.shard import open_directory
from bioqa.index.writer import has_commit
from bioqa.types import Article, Candidate, Candidates

K1, B = 0.9, 0.4
BATCH_IDS = 1000
"""Articles looked up by id at a time; Lucene takes 1,024 clauses a query."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """What an index holds: ``size`` in bytes, ``snapshot`` the latest revision date in it, ``created`` in UTC (both ISO 8601)."""

    path: str
    documents: int
    fields: tuple[str, ...]
    sources: tuple[SourceEntry, ...]
    snapshot: str
    created: str
    size: int
    format: int
    version: str


def check_bm25(k1: float, b: float) -> None:
    """Raise UsageError unless 0 ≤ k1 < ∞ and 0 ≤ b ≤ 1."""
    if not 0 <= k1 < float("inf"):
        raise UsageError(f"BM25's k1 must be 0 or more and finite, not {k1}.")
    if not 0 <= b <= 1:
        raise UsageError(f"BM25's b must lie between 0 and 1, not {b}.")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Index:
    """A Lucene index opened for searching, at the commit that was the latest when it was opened.

    ``filters`` say which articles may be found. ``title_weight`` times the BM25 score of the title is added to that of title and
    abstract. A question is a bag of words, or with ``syntax`` "lucene" a query of Lucene's classic parser: phrases, AND, OR, NOT,
    brackets, wildcards, ``field:value``, ``date:[2019 TO 2021-06]``. ``rm3`` adds words of the first articles found to the
    question's. ``threads`` (None: as many as cores) search the segments of a large index for one question, and the questions of
    ``search_many``.

    Raises:
        IndexStateError: ``path`` is missing, no index, half built, damaged or of a newer format.
        UsageError: an option has no such value, or excludes another.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        k1: float = K1,
        b: float = B,
        filters: Filters | None = None,
        title_weight: float = 0.0,
        syntax: str = "words",
        rm3: bool = False,
        threads: int | None = None,
    ) -> None:
        check_bm25(k1, b)
        if threads is not None and threads < 1:
            raise UsageError(f"The number of threads must be 1 or more, not {threads}.")
        self.path = Path(path)
        self.filters = filters or Filters()
        self.threads = threads or cores()
        self._queries = QueryBuilder(self.filters, title_weight, syntax, rm3)
        self._reader, self.manifest = _open(self.path)
        self._pool = java("bioqa.Bulk").pool(self.threads) if self.threads > 1 else None
        similarity = java("org.apache.lucene.search.similarities.BM25Similarity")(k1, b)
        self._searcher = self._open_searcher(self._pool, similarity)
        self._one_thread = self._open_searcher(None, similarity)

    def _open_searcher(self, pool: Any, similarity: Any) -> Any:
        searcher = java("bioqa.Bulk").searcher(cast("org.apache.lucene.index.IndexReader", self._reader), pool)
        searcher.setSimilarity(similarity)
        return searcher

    def __len__(self) -> int:
        return int(self._reader.numDocs())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the Lucene reader; the index cannot be searched afterwards."""
        if self._pool is not None:
            self._pool.shutdown()
        self._reader.close()

    def search(self, question: str, k: int = 10) -> Candidates:
        """The ``k`` articles with the highest BM25 score for the question, best first; equal scores in index order.

        Raises:
            QuestionError: the question is no query in Lucene's syntax, where that was chosen.
        """
        return unpack(java("bioqa.Bulk").search(self._searcher, self._query(question), k))

    def search_many(self, questions: Sequence[str], k: int = 10) -> list[Candidates]:
        """What ``search`` gives for each question, several questions at a time."""
        first = [self._queries.build(question) for question in questions]
        if not self._queries.rm3:
            return self._search_all(first, k)
        feedback = self._search_all(first, RM3_DOCUMENTS)
        return self._search_all([self._expand(*one) for one in zip(questions, first, feedback, strict=True)], k)

    def check_query(self, question: str) -> None:
        """Raise QuestionError where the question is no query in Lucene's syntax, and that was chosen."""
        self._queries.build(question)

    def _search_all(self, queries: Sequence[Any], k: int) -> list[Candidates]:
        if not queries:
            return []
        found = java("bioqa.Bulk").searchAll(self._one_thread, list(queries), k, min(self.threads, len(queries)))
        return [unpack(hits) for hits in found]

    def _query(self, question: str) -> Any:
        query = self._queries.build(question)
        if not self._queries.rm3:
            return query
        return self._expand(question, query, unpack(java("bioqa.Bulk").search(self._searcher, query, RM3_DOCUMENTS)))

    def _expand(self, question: str, query: Any, feedback: Sequence[Candidate]) -> Any:
        """The RM3 query from what ``query`` found; ``query`` itself where that is nothing."""
        if not feedback:
            return query
        texts = [article.default_text() for article in self.articles(feedback)]
        return self._queries.expanded(question, self._reader, texts, [candidate.score for candidate in feedback])

    def explain(self, question: str, candidate: Candidate) -> str:
        """How the first-stage score of a candidate for the question came about, as Lucene explains it, over several lines."""
        query = cast("org.apache.lucene.search.Query", self._query(question))
        return str(self._searcher.explain(query, candidate.key).toString()).rstrip()

    def left_out(self, question: str | None = None) -> list[LeftOut]:
        """How many articles each filter left out merely because they lack its field (new ones have no MeSH headings, say).

        They are counted among those that match the question, or among all where it is None, and that pass the other filters.
        Fields that no article lacks are not listed.
        """
        counts = []
        for name in self.filters.fields:
            matching = (
                self._queries.passing(skip=name) if question is None else self._queries.build(question, skip=name)
            )
            count = int(self._searcher.count(combine((matching, "FILTER"), (lacks_query(name), "FILTER"))))
            if count:
                counts.append(LeftOut(name, count))
        return counts

    def unknown_values(self) -> list[tuple[str, str]]:
        """The (field, value) of filters that no article of the index has, in lower case."""
        term = java("org.apache.lucene.index.Term")
        return [(name, value) for name, value in self.filters.values() if not self._reader.docFreq(term(name, value))]

    def articles(self, candidates: Sequence[Candidate]) -> list[Article]:
        """The stored articles of candidates that this index returned."""
        stored = self._searcher.storedFields()
        return [from_json(stored.document(candidate.key).get(RAW)) for candidate in candidates]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        hits = self._searcher.search(term_query(ID, id), 1).scoreDocs
        return from_json(self._searcher.storedFields().document(hits[0].doc).get(RAW)) if hits else None

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """What ``get`` gives for each id."""
        found: dict[str, Article] = {}
        for start in range(0, len(ids), BATCH_IDS):
            wanted = ids[start : start + BATCH_IDS]
            hits = self._searcher.search(any_of([term_query(ID, id) for id in wanted]), len(wanted)).scoreDocs
            stored = self._searcher.storedFields()
            articles = (from_json(stored.document(hit.doc).get(RAW)) for hit in hits)
            found.update((article.id, article) for article in articles)
        return [found.get(id) for id in ids]

    def sample(self, count: int, rng: random.Random) -> list[Article]:
        """So many different articles at random, all of them where there are fewer."""
        live = java("org.apache.lucene.index.MultiBits").getLiveDocs(self._reader)  # None where nothing was deleted
        found: list[Article] = []
        stored = self._searcher.storedFields()
        tried: set[int] = set()
        while len(found) < min(count, len(self)):
            number = rng.randrange(int(self._reader.maxDoc()))
            if number not in tried and (live is None or live.get(number)):
                found.append(from_json(stored.document(number).get(RAW)))
            tried.add(number)
        return found

    def info(self) -> IndexInfo:
        """Documents, fields, sources, dates and size of this commit."""
        fields = java("org.apache.lucene.index.FieldInfos").getIndexedFields(self._reader)
        names = {str(name) for name in fields.toArray()}
        manifest = self.manifest
        return IndexInfo(
            path=str(self.path),
            documents=len(self),
            fields=tuple(sorted(names | {RAW})),
            sources=manifest.sources,
            snapshot=manifest.snapshot,
            created=manifest.created,
            size=sum(file.stat().st_size for file in self.path.iterdir() if file.is_file()),
            format=manifest.format,
            version=manifest.version,
        )


def unpack(packed: Any) -> Candidates:
    """The candidates in the bytes that ``Bulk.search`` returned."""
    data = packed.tostring()
    count = int.from_bytes(data[:4], sys.byteorder)
    scores, ids = 4 + 4 * count, 4 + 8 * count
    return Candidates(data[ids:].decode().split("\n")[:count], array("f", data[scores:ids]), array("i", data[4:scores]))


def _open(path: Path) -> tuple[Any, Manifest]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not has_commit(path):
        if path.is_dir() and (any(path.glob("_*")) or (path / "write.lock").exists()):
            raise _half_built(path)
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    failure = java_exception()
    try:
        commit = java("bioqa.Bulk").latest(open_directory(path), False)
        data = user_data(commit.getUserData())
        _check_format(path, data)
        complete = java("bioqa.Bulk").latest(open_directory(path), True)
        if complete is None:
            raise _half_built(path)
        reader = java("org.apache.lucene.index.DirectoryReader").open(complete)
        return reader, read_manifest(user_data(complete.getUserData()))
    except failure as problem:
        raise _explain(path, problem) from problem


def _half_built(path: Path) -> IndexStateError:
    return IndexStateError(
        f"{path} is half built: its build has not finished. Run the same `bioqa index build {path} …` again; it goes on "
        "where it was."
    )


def _check_format(path: Path, data: dict[str, str]) -> None:
    found, writer = read_format(data), data.get("bioqa.version", "?")
    if found is None:
        raise IndexStateError(f"{path} is a Lucene index that bioqa did not build. Build one with `bioqa index build`.")
    if found > FORMAT:
        raise IndexStateError(
            f"{path} has index format {found} (written by bioqa {writer}); this bioqa reads format {FORMAT}. Upgrade bioqa."
        )
    if found < FORMAT:
        raise IndexStateError(
            f"{path} has the older index format {found} (written by bioqa {writer}). Build it again with --overwrite."
        )


def _explain(path: Path, problem: Any) -> IndexStateError:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    if name == "IndexFormatTooNewException":
        return IndexStateError(f"{path} was written by a newer Lucene. Upgrade bioqa and pyserini.")
    message = str(getattr(problem, "innermessage", "") or problem)
    return IndexStateError(
        f"{path} is damaged and cannot be opened ({name}: {message}). Build it again with --overwrite."
    )
