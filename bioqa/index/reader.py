"""A Lucene index opened for reading: its articles, terms and metadata."""

import os
import random
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.arguments import check_count, check_type
from bioqa.errors import IndexStateError, UsageError
from bioqa.index.document import ENTERED, FACET_FIELDS, FILTER_FIELDS, ID, RAW, VECTOR, from_json
from bioqa.index.filters import any_of, term_query
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java, java_lock
from bioqa.index.manifest import FORMAT, Manifest, SourceEntry, VectorInfo, read_format, read_manifest, user_data
from bioqa.index.writer import has_commit
from bioqa.types import MARKS, NOTICES, RETRACTED, Article

BATCH_IDS = 1000
"""Articles looked up by id at a time; a Lucene query may have 1,024 clauses."""


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """Metadata of an index: ``size`` in bytes, ``snapshot`` the latest revision date in it, ``created`` in UTC (both ISO 8601).

    ``first_entered`` and ``last_entered`` are the first and the last day on which one of its citations entered PubMed, "" if none
    says so. ``deleted`` documents count in them and in BM25's statistics until a merge drops them. ``vectors`` says how the vectors
    of ``with_vector`` articles were made; None if there are none.
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
    first_entered: str = ""
    last_entered: str = ""
    vectors: VectorInfo | None = None
    with_vector: int = 0


def cores() -> int:
    """The number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class OpenCommit:
    """One commit, open until nothing refers to it any more, so that searches that are running can finish."""

    def __init__(self, path: Path) -> None:
        with java_lock:
            self.reader, self.manifest = _open(path)
            self.generation = int(self.reader.getIndexCommit().getGeneration())
            self.searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", self.reader), None)
        self.close = weakref.finalize(self, java("bioqa.CompleteCommits").close, self.reader)
        self.close.atexit = False
        self._retracted: Any = None
        self._computing = threading.Lock()

    def retracted(self) -> Any:
        """The Lucene query for retracted articles, by their own record or by a notice; computed once.

        Not to be called with ``java_lock`` held: other searches go on while the index is read through.
        """
        with self._computing:
            if self._retracted is None:
                kinds = [kind for kind, mark in MARKS.items() if mark == RETRACTED]
                with java_lock:
                    reader = cast("org.apache.lucene.index.IndexReader", self.reader)
                self._retracted = java("bioqa.Notices").marked(reader, RETRACTED, kinds)
            return self._retracted


class Index:
    """A Lucene index opened for reading, at its last complete commit.

    Search it with a ``BM25Retriever``, which uses up to ``threads`` threads (all cores by default): over the segments of a large
    index for one question, and over the questions of ``search_many``. ``refresh`` moves on to a newer commit. Safe to use from
    several threads, and beside a process that builds or updates the index. Unpickling opens the index anew.

    Raises:
        IndexStateError: ``path`` is missing, not an index, unfinished, damaged or of another format.
        UsageError: ``threads`` is less than 1, or ``path`` is not a path.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        if not isinstance(path, str | Path):
            raise UsageError(f"An index is opened by the path of its folder, not by a {type(path).__name__}.")
        if threads is not None and threads < 1:
            raise UsageError(f"The number of threads must be at least 1, not {threads}.")
        self.path = Path(path)
        self.threads = threads or cores()
        self._commit: OpenCommit | None = OpenCommit(self.path)
        with java_lock:
            self._pool = java("bioqa.Searcher").pool(self.threads) if self.threads > 1 else None

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.path, self.threads)

    @property
    def commit(self) -> OpenCommit:
        """The commit that is open; whoever keeps a reference to it keeps it open, also after a refresh.

        Raises:
            UsageError: the index was closed.
        """
        commit = self._commit
        if commit is None:
            raise UsageError(f"{self.path} was closed, so it cannot be read. Open it again.")
        return commit

    @property
    def pool(self) -> Any:
        """The threads that one question is searched on, a Java ExecutorService; None for the calling thread only."""
        return self._pool

    @property
    def manifest(self) -> Manifest:
        """The manifest of the open commit."""
        return self.commit.manifest

    def refresh(self) -> bool:
        """Move on to the latest complete commit, and return whether it is a newer one. Running searches finish on the old one.

        Raises:
            IndexStateError: the newer commit cannot be opened; the index stays at the old one.
        """
        if latest_generation(self.path) == self.commit.generation:
            return False
        self._commit = OpenCommit(self.path)
        return True

    def searcher(self, commit: OpenCommit, k1: float, b: float, *, one_thread: bool = False) -> Any:
        """A Lucene IndexSearcher that scores by BM25, on all of the index's threads or only on the calling one."""
        pool = None if one_thread else self._pool
        with java_lock:
            searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", commit.reader), pool)
            searcher.setSimilarity(java("org.apache.lucene.search.similarities.BM25Similarity")(k1, b))
            return searcher

    def __len__(self) -> int:
        with java_lock:
            return int(self.commit.reader.numDocs())

    def __enter__(self) -> "Index":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the index; it cannot be read afterwards."""
        commit, self._commit = self._commit, None
        if commit is None:
            return
        if self._pool is not None:
            with java_lock:
                self._pool.shutdown()
        commit.close()

    def has_term(self, field: str, value: str) -> bool:
        """Whether any article, including deleted ones, has that exact value in the field."""
        with java_lock:
            return bool(self.commit.reader.docFreq(java("org.apache.lucene.index.Term")(field, value)))

    def nearest_term(self, field: str, value: str) -> str:
        """A value of the field near to one that no article has, "" if none is.

        It differs in one or two characters, or begins with the value; of several the one that most articles have.
        """
        with java_errors(self.path):
            return str(java("bioqa.ExactValues").nearest(self.commit.reader, field, value))

    def values(self, field: str, prefix: str = "", top: int = 20) -> list[tuple[str, int]]:
        """The ``top`` values of a field for filters that most articles have, with how many do; equal counts by value.

        Only values that begin with ``prefix``, ignoring case. Values are as shown; those of ``major_topic`` are in lower case.

        Raises:
            UsageError: there is no such field for filters, or ``top`` is less than 1.
        """
        check_type("prefix", prefix, str)
        check_count("top", top)
        if field not in FILTER_FIELDS:
            raise UsageError(f"Unknown field {field!r}. Choose from {', '.join(FILTER_FIELDS)}.")
        commit, prefix = self.commit, prefix.lower().encode("utf-8", "replace").decode()
        with java_errors(self.path):
            if field not in FACET_FIELDS:
                return unpack_counts(java("bioqa.ExactValues").list(commit.reader, field, prefix, top))
            with java_lock:
                every = java("org.apache.lucene.search.MatchAllDocsQuery")()
            return unpack_counts(java("bioqa.FacetCounter").values(commit.searcher, every, field, prefix, top))

    def articles(self, keys: Sequence[int]) -> list[Article]:
        """The stored articles with these Lucene document numbers."""
        return self.articles_of(self.commit, keys)

    def articles_of(self, commit: OpenCommit, keys: Sequence[int]) -> list[Article]:
        """The stored articles of a commit with these Lucene document numbers.

        Their links include those to notices that their own records lack, such as a retraction that came later.
        """
        articles = [from_json(text) for text in self.stored(commit, keys)]
        if not articles:
            return []
        with java_errors(self.path):
            ids = [article.id for article in articles]
            notices = java("bioqa.Notices").about(commit.searcher, list(NOTICES.values()), ids)
        if not notices:
            return articles
        from bioqa.corpus.notices import with_notices

        return with_notices(articles, map(from_json, notices))

    def stored(self, commit: OpenCommit, keys: Sequence[int]) -> list[str]:
        """The articles of a commit with these Lucene document numbers, as JSON, as they are stored."""
        with java_errors(self.path):
            return [str(text) for text in java("bioqa.StoredArticles").raw(commit.searcher, list(keys))]

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        return self.get_many([id])[0]

    def get_many(self, ids: Sequence[str]) -> list[Article | None]:
        """What ``get`` returns for each id."""
        return [next(iter(articles), None) for articles in self.with_values(ID, ids)]

    def with_values(self, field: str, values: Sequence[str]) -> list[list[Article]]:
        """For each value, the articles that have it in an exact field: "id", "pmcid" or "doi", the latter in lower case."""
        commit = self.commit
        found: dict[str, list[Article]] = {}
        for start in range(0, len(values), BATCH_IDS):
            wanted = [value for value in values[start : start + BATCH_IDS] if _is_unicode(value)]
            if not wanted:
                continue
            with java_lock, java_errors(self.path):
                query = any_of([term_query(field, value) for value in wanted])
                most = len(wanted) if field == ID else max(1, int(java("bioqa.Searcher").count(commit.searcher, query)))
                keys = sorted(int(hit.doc) for hit in commit.searcher.search(query, most).scoreDocs)
            for article in self.articles_of(commit, keys):
                value = article.id if field == ID else getattr(article, field).lower()
                found.setdefault(value, []).append(article)
        return [found.get(value, []) for value in values]

    def sample(self, count: int, rng: random.Random) -> list[Article]:
        """``count`` distinct articles at random, or all of them if there are fewer."""
        commit = self.commit
        keys: list[int] = []
        tried: set[int] = set()
        with java_lock:
            live = java("org.apache.lucene.index.MultiBits").getLiveDocs(commit.reader)  # None if nothing was deleted
            while len(keys) < min(count, int(commit.reader.numDocs())):
                key = rng.randrange(int(commit.reader.maxDoc()))
                if key not in tried and (live is None or live.get(key)):
                    keys.append(key)
                tried.add(key)
        return self.articles_of(commit, keys)

    def info(self) -> IndexInfo:
        """Metadata of this commit: documents, fields, sources, dates and size."""
        commit = self.commit
        with java_lock:
            fields = java("org.apache.lucene.index.FieldInfos").getIndexedFields(commit.reader)
            names = {str(name) for name in fields.toArray()}
            documents, deleted = int(commit.reader.numDocs()), int(commit.reader.numDeletedDocs())
            first, last = _range(commit.reader, ENTERED)
        manifest = commit.manifest
        return IndexInfo(
            path=str(self.path),
            documents=documents,
            deleted=deleted,
            fields=tuple(sorted(names | {RAW})),
            sources=manifest.sources,
            snapshot=manifest.snapshot,
            created=manifest.created,
            size=_size(self.path),
            format=manifest.format,
            version=manifest.version,
            first_entered=first,
            last_entered=last,
            vectors=manifest.vectors,
            with_vector=self._with_vector(commit) if manifest.vectors else 0,
        )

    def _with_vector(self, commit: OpenCommit) -> int:
        """The number of articles with a vector."""
        with java_lock, java_errors(self.path):
            query = java("org.apache.lucene.search.FieldExistsQuery")(VECTOR)
            return int(java("bioqa.Searcher").count(commit.searcher, cast("org.apache.lucene.search.Query", query)))


def _range(reader: Any, field: str) -> tuple[str, str]:
    """The first and the last day (YYYY-MM-DD) in a field of days, "" if there are none."""
    points = java("org.apache.lucene.index.PointValues")
    reader = cast("org.apache.lucene.index.IndexReader", reader)
    found = [points.getMinPackedValue(reader, field), points.getMaxPackedValue(reader, field)]
    # an IntPoint is four bytes, the highest first, with the sign bit flipped
    days = [str(int.from_bytes(bytes(b % 256 for b in one), "big") - (1 << 31)) if one else "" for one in found]
    first, last = (f"{day[:-4]}-{day[-4:-2]}-{day[-2:]}" if day else "" for day in days)
    return first, last


def _is_unicode(text: str) -> bool:
    """Whether the text has no lone surrogate, which no article in an index has."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def unpack_counts(flat: Sequence[str]) -> list[tuple[str, int]]:
    """The (value, count) pairs that Java returned as value, count, value, count, and so on."""
    return [(value, int(count)) for value, count in zip(flat[::2], flat[1::2], strict=True)]


def _reopen(path: Path, threads: int) -> Index:
    return Index(path, threads=threads)


def _size(path: Path) -> int:
    """The bytes of the files in a folder, some of which a writer may delete meanwhile."""
    total = 0
    for file in path.iterdir():
        with suppress(FileNotFoundError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def latest_generation(path: Path) -> int:
    """The generation of the latest complete commit; -1 if there is none."""
    with java_errors(path):
        return int(java("bioqa.CompleteCommits").generation(str(path.absolute())))


def _open(path: Path) -> tuple[Any, Manifest]:
    if not path.exists():
        raise IndexStateError(f"There is no index at {path}. Build one with `bioqa index build {path} SOURCE…`.")
    if not has_commit(path):
        if path.is_dir() and (any(path.glob("_*")) or (path / "write.lock").exists()):
            raise _unfinished(path)
        raise IndexStateError(f"{path} is not an index. Build one with `bioqa index build INDEX SOURCE…`.")
    commits, folder = java("bioqa.CompleteCommits"), str(path.absolute())
    with java_lock, java_errors(path):
        _check_format(path, user_data(commits.userData(folder, False)))
        reader = commits.open(folder)
        if reader is None:
            raise _unfinished(path)
        return reader, read_manifest(user_data(commits.userDataOf(reader)))


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
