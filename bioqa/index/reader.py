"""A Lucene index opened for reading: its articles, terms and metadata."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import ID, RAW, from_json
from bioqa.index.filters import any_of, term_query
from bioqa.index.jvm import cast, java, java_exception, java_lock
from bioqa.index.manifest import FORMAT, Manifest, SourceEntry, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory
from bioqa.index.writer import has_commit
from bioqa.types import Article

BATCH_IDS = 1000
"""Articles looked up by id at a time; a Lucene query may have 1,024 clauses."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Metadata of an index: ``size`` in bytes, ``snapshot`` the latest revision date in it, ``created`` in UTC (both ISO 8601)."""

    path: str
    documents: int
    fields: tuple[str, ...]
    sources: tuple[SourceEntry, ...]
    snapshot: str
    created: str
    size: int
    format: int
    version: str


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Index:
    """A Lucene index opened for reading, at its last complete commit.

    Search it with a ``BM25Retriever``, which uses up to ``threads`` threads (all cores by default): over the segments of a large
    index for one question, and over the questions of ``search_many``. Safe to use from several threads.

    Raises:
        IndexStateError: ``path`` is missing, not an index, unfinished, damaged or of another format.
        UsageError: ``threads`` is less than 1.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"The number of threads must be at least 1, not {threads}.")
        self.path = Path(path)
        self.threads = threads or cores()
        with java_lock:
            self.reader, self.manifest = _open(self.path)
            self._pool = java("bioqa.Searcher").pool(self.threads) if self.threads > 1 else None
            self._searcher = self.searcher(1.0, 0.0)

    def searcher(self, k1: float, b: float, *, one_thread: bool = False) -> Any:
        """A Lucene IndexSearcher that scores by BM25, on all of the index's threads or only on the calling one."""
        pool = None if one_thread else self._pool
        with java_lock:
            searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", self.reader), pool)
            searcher.setSimilarity(java("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
            return searcher

    def __len__(self) -> int:
        with java_lock:
            return int(self.reader.numDocs())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; it cannot be read afterwards."""
        with java_lock:
            if self._pool is not None:
                self._pool.shutdown()
            self.reader.close()

    def has_term(self, field: str, value: str) -> bool:
        """Whether any article, including deleted ones, has that exact value in the field."""
        with java_lock:
            return bool(self.reader.docFreq(java("org.apache.lucene.index.Term")(field, value)))

    def articles(self, keys: Sequence[int]) -> list[Article]:
        """The stored articles with these Lucene document numbers."""
        return [from_json(text) for text in java("bioqa.StoredArticles").raw(self._searcher, list(keys))]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        return self.get_many([id])[0]

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """What ``get`` returns for each id."""
        found: dict[str, Article] = {}
        for start in range(0, len(ids), BATCH_IDS):
            wanted = ids[start : start + BATCH_IDS]
            with java_lock:
                hits = self._searcher.search(any_of([term_query(ID, id) for id in wanted]), len(wanted)).scoreDocs
                keys = [int(hit.doc) for hit in hits]
            found.update((article.id, article) for article in self.articles(keys))
        return [found.get(id) for id in ids]

    def sample(self, count: int, rng: random.Random) -> list[Article]:
        """``count`` distinct articles at random, or all of them if there are fewer."""
        keys: list[int] = []
        tried: set[int] = set()
        with java_lock:
            live = java("org.apache.lucene.index.MultiBits").getLiveDocs(self.reader)  # None if nothing was deleted
            while len(keys) < min(count, len(self)):
                key = rng.randrange(int(self.reader.maxDoc()))
                if key not in tried and (live is None or live.get(key)):
                    keys.append(key)
                tried.add(key)
        return self.articles(keys)

    def info(self) -> IndexInfo:
        """Metadata of this commit: documents, fields, sources, dates and size."""
        with java_lock:
            fields = java("org.apache.lucene.index.FieldInfos").getIndexedFields(self.reader)
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


def _open(path: Path) -> tuple[Any, Manifest]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not has_commit(path):
        if path.is_dir() and (any(path.glob("_*")) or (path / "write.lock").exists()):
            raise _unfinished(path)
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    failure = java_exception()
    try:
        commit = java("bioqa.CompleteCommits").latest(open_directory(path), False)
        data = user_data(commit.getUserData())
        _check_format(path, data)
        complete = java("bioqa.CompleteCommits").latest(open_directory(path), True)
        if complete is None:
            raise _unfinished(path)
        reader = java("org.apache.lucene.index.DirectoryReader").open(complete)
        return reader, read_manifest(user_data(complete.getUserData()))
    except failure as problem:
        raise _explain(path, problem) from problem


def _unfinished(path: Path) -> IndexStateError:
    return IndexStateError(
        f"{path} contains an unfinished build. Run the same `bioqa index build {path} …` again to resume it."
    )


def _check_format(path: Path, data: dict[str, str]) -> None:
    found, writer = read_format(data), data.get("bioqa.version", "?")
    if found is None:
        raise IndexStateError(f"{path} is a Lucene index that bioqa did not build. Build one with `bioqa index build`.")
    if found > FORMAT:
        raise IndexStateError(
            f"{path} has index format {found} (written by bioqa {writer}), but this bioqa reads format {FORMAT}. Upgrade bioqa."
        )
    if found < FORMAT:
        raise IndexStateError(
            f"{path} has the older index format {found} (written by bioqa {writer}). Rebuild it with --overwrite."
        )


def _explain(path: Path, problem: Any) -> IndexStateError:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    if name == "IndexFormatTooNewException":
        return IndexStateError(f"{path} was written by a newer Lucene. Upgrade bioqa and pyserini.")
    message = str(getattr(problem, "innermessage", "") or problem)
    return IndexStateError(f"{path} is damaged and cannot be opened ({name}: {message}). Rebuild it with --overwrite.")
