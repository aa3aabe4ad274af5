"""Writing a Lucene index: open a writer, add shards, keep the latest record of each PMID; and the manifest of the last commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.errors import IndexStateError
from bioqa.index.document import index_analyzer
from bioqa.index.java_errors import java_errors
from bioqa.index.jvm import cast, java
from bioqa.index.manifest import FORMAT, Manifest, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory
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
        commit = java("bioqa.CompleteCommits").latest(open_directory(path), complete)
        data = user_data(commit.getUserData()) if commit else {}
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
    stats = writer.getDocStats()
    return 1 - float(stats.numDocs) / float(stats.maxDoc) if stats.maxDoc else 0.0


@contextmanager
def open_writer(path: Path, *, create: bool, ram_mb: float) -> Iterator[Any]:
    """A Lucene IndexWriter that keeps the last complete commit; uncommitted changes are dropped at the end of the block.

    ``ram_mb`` is the size of Lucene's document buffer in MiB.

    Raises:
        IndexStateError: another program is writing, or the index is damaged.
        OutputError: the folder cannot be written.
    """
    directory = writer = None
    try:
        with output_errors(path), java_errors(path, writing=True):
            path.mkdir(parents=True, exist_ok=True)
            directory = open_directory(path)
            config = java("org.apache.lucene.index.IndexWriterConfig")(index_analyzer())
            mode = java("org.apache.lucene.index.IndexWriterConfig$OpenMode")
            config.setOpenMode(mode.CREATE if create else mode.APPEND)
            config.setRAMBufferSizeMB(ram_mb)
            config.setCommitOnClose(False)
            config.setIndexDeletionPolicy(java("bioqa.KeepCompleteCommit")())
            writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
            yield writer
    finally:
        if writer is not None:
            writer.rollback()
        if directory is not None:
            directory.close()


def remove_damaged(path: Path) -> None:
    """Remove the files of an index that Lucene cannot read, so that a new one can be built in its place.

    Raises:
        IndexStateError: another program is writing it.
    """
    with java_errors(path, writing=True):
        directory = open_directory(path)
        try:
            lock = directory.obtainLock("write.lock")
            try:
                for file in path.iterdir():
                    if file.name.startswith(OWN_FILES) and file.is_file():
                        file.unlink()
            finally:
                lock.close()
        finally:
            directory.close()


def is_readable(path: Path) -> bool:
    """Whether Lucene can read the commits of an index; what a writer needs to replace it in one step."""
    try:
        with java_errors(path):
            java("bioqa.CompleteCommits").latest(open_directory(path), False)
            reader = java("bioqa.CompleteCommits").open(open_directory(path))
            if reader is not None:
                reader.close()
    except IndexStateError:
        return False
    return True


def compact(writer: Any) -> None:
    """Merge deleted documents away, so that BM25's statistics count only the articles that are there."""
    config = writer.getConfig()
    merge_policy = config.getMergePolicy()
    complete = java("org.apache.lucene.index.TieredMergePolicy")()
    complete.setForceMergeDeletesPctAllowed(0.0)
    config.setMergePolicy(complete)
    writer.forceMergeDeletes(True)
    config.setMergePolicy(merge_policy)


def keep_latest_records(writer: Any, ids: Sequence[str] | None, deletions: Sequence[tuple[str, int]]) -> int:
    """Delete all but the latest document of each of ``ids`` (of every id if None), and return how many were deleted.

    ``deletions`` are (PMID, position); they delete the records before them. No segments are merged meanwhile.
    """
    config = writer.getConfig()
    merge_policy = config.getMergePolicy()
    config.setMergePolicy(java("org.apache.lucene.index.NoMergePolicy").INSTANCE)
    deleted, positions = [id for id, _ in deletions], [position for _, position in deletions]
    dropped = -1
    while dropped < 0:  # a merge that was already running has replaced segments: try again
        dropped = int(java("bioqa.Deduplicator").keepLatest(writer, ids, deleted, positions))
    config.setMergePolicy(merge_policy)
    return dropped


def add_shard(writer: Any, shard: Path) -> None:
    """Add the index at ``shard`` to the writer's."""
    directory = open_directory(shard)
    try:
        writer.addIndexes(cast("org.apache.lucene.store.Directory", directory))
    finally:
        directory.close()
