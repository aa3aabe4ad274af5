"""Corpus files → Lucene index. One commit at the end holds the documents and, in its user data, what they were made from.

Until that commit a reader sees the index as it was before (or none), so a build that fails or is killed loses nothing stored.
"""

import datetime
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus import Source, expand_sources, read_source
from bioqa.errors import IndexStateError, OutputError, RecordError, SourceError
from bioqa.index.document import FORMAT, ID, LuceneDocument, analyzer
from bioqa.index.jvm import cast, java, java_exception
from bioqa.types import Article, Deletion

RAM_BUFFER_MB = 256.0
_PROGRESS_EVERY = 500


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One corpus file as the commit remembers it: ``size`` in bytes, ``md5`` in hex, records read from it."""

    path: str
    size: int
    md5: str
    articles: int
    deletions: int
    skipped: int


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: articles in the index now, articles read, deletions read, bad records skipped, wall seconds."""

    documents: int
    articles: int
    deletions: int
    skipped: int
    seconds: float


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is: sources done and in all, and articles read."""

    sources_done: int
    sources: int
    articles: int


def has_commit(path: Path) -> bool:
    """Whether the folder holds a Lucene commit."""
    return any(path.glob("segments_*"))


def _check_target(path: Path, overwrite: bool) -> None:
    if path.exists() and not path.is_dir():
        raise IndexStateError(f"{path} is a file. An index is a folder: give another path.")
    if not path.is_dir() or not any(path.iterdir()):
        return
    strangers = [
        p.name
        for p in path.iterdir()
        if not (p.name.startswith(("_", "segments", "pending_segments")) or p.name == "write.lock")
    ]
    if strangers:
        raise IndexStateError(
            f"{path} holds files that are not an index ({strangers[0]}). Give an empty or a new folder."
        )
    if has_commit(path) and not overwrite:
        raise IndexStateError(f"{path} already holds an index. Build elsewhere, or pass --overwrite to replace it.")


def _md5(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "md5").hexdigest()


@contextmanager
def _writer(path: Path) -> Iterator[Any]:
    """A Lucene IndexWriter that replaces what is there at its commit, and is rolled back when the block raises."""
    failure = java_exception()
    directory = writer = None
    try:
        try:
            path.mkdir(parents=True, exist_ok=True)
            directory = java("org.apache.lucene.store.FSDirectory").open(
                java("java.nio.file.Paths").get(str(path.absolute()))
            )
            config = java("org.apache.lucene.index.IndexWriterConfig")(analyzer())
            config.setOpenMode(java("org.apache.lucene.index.IndexWriterConfig$OpenMode").CREATE)
            config.setRAMBufferSizeMB(RAM_BUFFER_MB)
            config.setCommitOnClose(False)
            writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
            yield writer
        except failure as problem:
            raise _explain(problem, path) from problem
        except OSError as problem:
            if isinstance(problem, BrokenPipeError):
                raise
            raise OutputError(f"{path} cannot be written: {problem.strerror or problem}.") from problem
    except BaseException:
        if writer is not None:
            writer.rollback()
            writer = None
        raise
    finally:
        if writer is not None:
            writer.close()
        if directory is not None:
            directory.close()


def _explain(problem: Any, path: Path) -> Exception:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    if name == "LockObtainFailedException":
        return IndexStateError(f"Another program is writing to {path}. Wait until it has ended.")
    if name in ("AccessDeniedException", "FileSystemException", "ReadOnlyFileSystemException", "IOException"):
        return OutputError(f"{path} cannot be written ({name}: {getattr(problem, 'innermessage', '')}).")
    return IndexStateError(f"Lucene failed on {path} ({name}: {getattr(problem, 'innermessage', '')}).")


class _Build:
    """The state of one build: the writer, the counts, and the versions above 1 (few, so memory does not grow with the corpus)."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.document = LuceneDocument()
        self.term = java("org.apache.lucene.index.Term")
        self.query = java("org.apache.lucene.search.TermQuery")
        self.versions: dict[str, int] = {}
        self.snapshot = ""
        self.articles = self.deletions = 0

    def take(self, record: Article | Deletion) -> None:
        """Add, replace or delete: the highest version wins, then the later record."""
        if isinstance(record, Deletion):
            self.deletions += 1
            self.versions.pop(record.id, None)
            # As a query: between its two overloads for arrays the bridge picks that one.
            self.writer.deleteDocuments(cast("org.apache.lucene.search.Query", self.query(self.term(ID, record.id))))
            return
        self.articles += 1
        self.snapshot = max(self.snapshot, record.revised)
        if record.version < self.versions.get(record.id, 1):
            return
        if record.version > 1:
            self.versions[record.id] = record.version
        self.writer.updateDocument(self.term(ID, record.id), self.document.fill(record))


def _read(
    build: _Build,
    sources: Sequence[Source],
    on_bad: Callable[[RecordError], None] | None,
    progress: Callable[[BuildProgress], None] | None,
) -> list[SourceEntry]:
    entries = []
    for done, source in enumerate(sources):
        skipped = 0

        def skip(problem: RecordError) -> None:
            nonlocal skipped
            skipped += 1
            assert on_bad is not None
            on_bad(problem)

        articles, deletions = build.articles, build.deletions
        for record in read_source(source, on_bad=skip if on_bad else None):
            build.take(record)
            if progress and build.articles % _PROGRESS_EVERY == 0:
                progress(BuildProgress(done, len(sources), build.articles))
        size, md5 = _md5(source.file)
        entries.append(
            SourceEntry(str(source.path), size, md5, build.articles - articles, build.deletions - deletions, skipped)
        )
        if progress:
            progress(BuildProgress(done + 1, len(sources), build.articles))
    if not build.articles:
        names = ", ".join(str(source.path) for source in sources)
        raise SourceError(f"No article was found in {names}: nothing to index.")
    return entries


def _commit(writer: Any, entries: list[SourceEntry], snapshot: str) -> int:
    from bioqa import __version__

    data = java("java.util.HashMap")()
    data.put("bioqa.format", str(FORMAT))
    data.put("bioqa.version", __version__)
    data.put("bioqa.created", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
    data.put("bioqa.snapshot", snapshot)
    data.put("bioqa.sources", json.dumps([asdict(entry) for entry in entries], ensure_ascii=False))
    writer.setLiveCommitData(data.entrySet())
    writer.commit()
    return int(writer.getDocStats().numDocs)


def build_index(
    path: str | Path,
    sources: Sequence[str | Path],
    *,
    overwrite: bool = False,
    on_bad: Callable[[RecordError], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> BuildReport:
    """Build a Lucene index at ``path`` from corpus files, folders and globs, taken in the order given.

    ``on_bad`` is told of each malformed record, which is then skipped; without it the first one ends the build. An index
    already at ``path`` is replaced, in one step at the end, only under ``overwrite``.

    Raises:
        SourceError: a source is missing, unreadable or malformed, or holds no article.
        IndexStateError: there is an index already, or another program is writing it.
        OutputError: the folder cannot be written.
    """
    started = time.monotonic()
    path = Path(path)
    _check_target(path, overwrite)
    found = expand_sources(sources)
    fresh = not path.exists()
    try:
        with _writer(path) as writer:
            build = _Build(writer)
            entries = _read(build, found, on_bad, progress)
            documents = _commit(writer, entries, build.snapshot)
    finally:
        if fresh and path.is_dir() and not has_commit(path):
            _remove_empty(path)
    skipped = sum(entry.skipped for entry in entries)
    return BuildReport(documents, build.articles, build.deletions, skipped, time.monotonic() - started)


def _remove_empty(path: Path) -> None:
    (path / "write.lock").unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()
