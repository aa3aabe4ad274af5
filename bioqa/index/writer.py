"""Writing a Lucene index: open a writer, add shards, keep the latest record of each PMID; and the manifest of the last commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError
from bioqa.index.document import index_analyzer
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import java, java_lock
from bioqa.index.manifest import FORMAT, Manifest, read_format, read_manifest, user_data
from bioqa.io.output import output_errors

RAM_BUFFER_MB = 256.0
OWN_FILES = ("_", "segments", "pending_segments")
"""What the names of Lucene's files begin with."""


def has_commit(path: Path) -> bool:
    """Whether the folder contains a Lucene commit."""
    return any(path.glob("segments_*"))


def latest_manifest(path: Path, *, complete: bool = False) -> Manifest | None:
    """The manifest of the last commit, or of the last complete one; None if there is none that this version can read."""
    if not has_commit(path):
        return None
    with java_errors(path):
        data = user_data(java("bioqa.CompleteCommits").userData(str(path.absolute()), complete) or ())
    return read_manifest(data) if read_format(data) == FORMAT else None


def complete_manifest(path: Path) -> Manifest:
    """The manifest of the last commit, which must be complete; to be called while a writer is open.

    Raises:
        IndexStateError: the index is being rebuilt.
    """
    manifest = latest_manifest(path)
    if manifest is None or manifest.state != "complete":
        raise IndexStateError(f"{path} is being rebuilt. Finish that build first: run its command again.")
    return manifest


def deleted_share(writer: Any) -> float:
    """The share (0 to 1) of an index's documents that are deleted but not merged away."""
    live, all = java("bioqa.Writer").counts(writer)
    return 1 - live / all if all else 0.0


def document_count(writer: Any) -> int:
    """The number of articles in an index, without deleted ones."""
    return int(java("bioqa.Writer").counts(writer)[0])


def commit(writer: Any, manifest: Manifest) -> None:
    """Commit the documents in a writer together with a manifest."""
    java("bioqa.Writer").commit(writer, manifest.to_user_data())


@contextmanager
def open_writer(path: Path, *, create: bool, ram_mb: float) -> Iterator[Any]:
    """A Lucene IndexWriter that keeps the last complete commit; uncommitted changes are dropped at the end of the block.

    ``ram_mb`` is the size of Lucene's document buffer in MiB.

    Raises:
        IndexStateError: another program is writing, or the index is damaged.
        OutputError: the folder cannot be written.
    """
    writer = None
    try:
        with output_errors(path), java_errors(path, writing=True):
            path.mkdir(parents=True, exist_ok=True)
            with java_lock:
                writer = java("bioqa.Writer").open(str(path.absolute()), index_analyzer(), create, ram_mb)
            yield writer
    finally:
        if writer is not None:
            close_writer(writer)


def close_writer(writer: Any) -> None:
    """Drop what is not committed, and close a writer, which may be closed already."""
    java("bioqa.Writer").close(writer)


@contextmanager
def write_lock(path: Path) -> Iterator[None]:
    """Hold the lock of the index at ``path`` as a writer does.

    Raises:
        IndexStateError: another program is writing it.
    """
    with java_errors(path, writing=True):
        with java_lock:
            lock = java("bioqa.Writer").lock(str(path.absolute()))
        try:
            yield
        finally:
            java("bioqa.Writer").unlock(lock)


def remove_damaged(path: Path) -> None:
    """Remove the files of an index that Lucene cannot read, so that a new one can be built in its place.

    Raises:
        IndexStateError: another program is writing it.
    """
    with write_lock(path):
        for file in path.iterdir():
            if file.name.startswith(OWN_FILES) and file.is_file():
                file.unlink()


def is_readable(path: Path) -> bool:
    """Whether Lucene can read the commits of an index; what a writer needs to replace it in one step."""
    try:
        with java_errors(path):
            commits, folder = java("bioqa.CompleteCommits"), str(path.absolute())
            commits.userData(folder, False)
            with java_lock:
                reader = commits.open(folder)
            if reader is not None:
                commits.close(reader)
    except IndexStateError:
        return False
    return True


def compact(writer: Any) -> None:
    """Merge deleted documents away, so that BM25's statistics count only the articles that are there."""
    java("bioqa.Writer").compact(writer)


def keep_latest_records(writer: Any, ids: Sequence[str] | None, deletions: Sequence[tuple[str, int]]) -> int:
    """Delete all but the latest document of each of ``ids`` (of every id if None), and return how many were deleted.

    ``deletions`` are (PMID, position); they delete the records before them. No segments are merged meanwhile.
    """
    deleted, positions = [id for id, _ in deletions], [position for _, position in deletions]
    return int(java("bioqa.Deduplicator").keepLatest(writer, ids, deleted, positions))


def add_shard(writer: Any, shard: Path) -> None:
    """Add the index at ``shard`` to the writer's."""
    java("bioqa.Writer").addShard(writer, str(shard.absolute()))
