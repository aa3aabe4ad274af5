"""A Lucene index opened for reading: its articles, terms and metadata."""

import os
import random
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import ID, RAW, from_json
from bioqa.index.filters import any_of, term_query
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java
from bioqa.index.manifest import FORMAT, Manifest, SourceEntry, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory
from bioqa.index.writer import has_commit
from bioqa.types import Article

BATCH_IDS = 1000
"""Articles looked up by id at a time; a Lucene query may have 1,024 clauses."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Metadata of an index: ``size`` in bytes, ``snapshot`` the latest revision date in it, ``created`` in UTC (both ISO 8601).

    ``deleted`` documents still count in BM25's statistics, until a merge drops them.
    """

    path: str
    documents: int
    deleted: int
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


class _Opened:
    """One commit, open: it is closed when nothing refers to it any more, so that a search that is under way can end."""

    def __init__(self, path: Path) -> None:
        self.reader, self.manifest = _open(path)
        self.searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", self.reader), None)
        self.close = weakref.finalize(self, self.reader.close)
        self.close.atexit = False


class Index:
    """A Lucene index opened for reading, at its last complete commit.

    Search it with a ``BM25Retriever``, which uses up to ``threads`` threads (all cores by default): over the segments of a large
    index for one question, and over the questions of ``search_many``. ``refresh`` moves on to a newer commit. Safe to use from
    several threads, and beside a process that builds or updates the index. A pickled index is opened anew where it arrives.

    Raises:
        IndexStateError: ``path`` is missing, not an index, unfinished, damaged or of another format.
        UsageError: ``threads`` is less than 1.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        if not isinstance(path, str | Path):
            raise UsageError(f"An index is opened by the path of its folder, not by {type(path).__name__}.")
        if threads is not None and threads < 1:
            raise UsageError(f"The number of threads must be at least 1, not {threads}.")
        self.path = Path(path)
        self.threads = threads or cores()
        self._pool = java("bioqa.Searcher").pool(self.threads) if self.threads > 1 else None
        self._opened: _Opened | None = _Opened(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.threads)

    @property
    def opened(self) -> _Opened:
        """The commit that is open. Whoever keeps it keeps it open, also after a refresh.

        Raises:
            UsageError: the index was closed.
        """
        opened = self._opened
        if opened is None:
            raise UsageError(f"{self.path} was closed, so it cannot be read. Open it again.")
        return opened

    @property
    def manifest(self) -> Manifest:
        """What the open commit says of itself."""
        return self.opened.manifest

    def refresh(self) -> bool:
        """Move on to the latest complete commit; whether there is a newer one. Searches that are under way end on the old one.

        Raises:
            IndexStateError: the newer commit cannot be opened; the index stays at the old one.
        """
        if latest_generation(self.path) == self.opened.reader.getIndexCommit().getGeneration():
            return False
        self._opened = _Opened(self.path)
        return True

    def searcher(self, opened: _Opened, k1: float, b: float, *, one_thread: bool = False) -> Any:
        """A Lucene IndexSearcher that scores by BM25, on all of the index's threads or only on the calling one."""
        pool = None if one_thread else self._pool
        searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", opened.reader), pool)
        searcher.setSimilarity(java("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
        return searcher

    def __len__(self) -> int:
        return int(self.opened.reader.numDocs())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; it cannot be read afterwards."""
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if self._pool is not None:
            self._pool.shutdown()
        opened.close()

    def has_term(self, field: str, value: str) -> bool:
        """Whether any article, including deleted ones, has that exact value in the field."""
        return bool(self.opened.reader.docFreq(java("org.apache.lucene.index.Term")(field, value)))

    def articles(self, keys: Sequence[int]) -> list[Article]:
        """The stored articles with these Lucene document numbers."""
        return self.articles_of(self.opened, keys)

    def articles_of(self, opened: _Opened, keys: Sequence[int]) -> list[Article]:
        """The stored articles of a commit with these Lucene document numbers."""
        with java_errors(self.path):
            stored = opened.searcher.storedFields()
            return [from_json(stored.document(key).get(RAW)) for key in keys]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        return self.get_many([id])[0]

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """What ``get`` returns for each id."""
        opened = self.opened
        found: dict[str, Article] = {}
        for start in range(0, len(ids), BATCH_IDS):
            wanted = ids[start : start + BATCH_IDS]
            with java_errors(self.path):
                hits = opened.searcher.search(any_of([term_query(ID, id) for id in wanted]), len(wanted)).scoreDocs
            found.update((article.id, article) for article in self.articles_of(opened, [hit.doc for hit in hits]))
        return [found.get(id) for id in ids]

    def sample(self, count: int, rng: random.Random) -> list[Article]:
        """``count`` distinct articles at random, or all of them if there are fewer."""
        opened = self.opened
        live = java("org.apache.lucene.index.MultiBits").getLiveDocs(opened.reader)  # None if nothing was deleted
        chosen: list[int] = []
        tried: set[int] = set()
        while len(chosen) < min(count, int(opened.reader.numDocs())):
            number = rng.randrange(int(opened.reader.maxDoc()))
            if number not in tried and (live is None or live.get(number)):
                chosen.append(number)
            tried.add(number)
        return self.articles_of(opened, chosen)

    def info(self) -> IndexInfo:
        """Metadata of this commit: documents, fields, sources, dates and size."""
        opened = self.opened
        fields = java("org.apache.lucene.index.FieldInfos").getIndexedFields(opened.reader)
        names = {str(name) for name in fields.toArray()}
        manifest = opened.manifest
        return IndexInfo(
            path=str(self.path),
            documents=int(opened.reader.numDocs()),
            deleted=int(opened.reader.numDeletedDocs()),
            fields=tuple(sorted(names | {RAW})),
            sources=manifest.sources,
            snapshot=manifest.snapshot,
            created=manifest.created,
            size=_size(self.path),
            format=manifest.format,
            version=manifest.version,
        )


def _reopen(path: Path, threads: int) -> Index:
    return Index(path, threads=threads)


def _size(path: Path) -> int:
    """The bytes of the files in a folder; a writer may delete some meanwhile."""
    total = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def latest_generation(path: Path) -> int:
    """The generation of the latest complete commit; -1 if there is none."""
    with java_errors(path):
        commit = java("bioqa.CompleteCommits").latest(open_directory(path), True)
        return int(commit.getGeneration()) if commit else -1


def _open(path: Path) -> tuple[Any, Manifest]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not has_commit(path):
        if path.is_dir() and (any(path.glob("_*")) or (path / "write.lock").exists()):
            raise _unfinished(path)
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    with java_errors(path):
        directory = open_directory(path)
        _check_format(path, user_data(java("bioqa.CompleteCommits").latest(directory, False).getUserData()))
        reader = java("bioqa.CompleteCommits").open(directory)
        if reader is None:
            raise _unfinished(path)
        return reader, read_manifest(user_data(reader.getIndexCommit().getUserData()))


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
