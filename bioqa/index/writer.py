"""Writing a Lucene index: open a writer, add shards, keep the latest record of each PMID; and the manifest of the last commit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.errors import BioqaError, IndexStateError, OutputError
from bioqa.index.document import analyzer
from bioqa.index.jvm import cast, java, java_exception
from bioqa.index.manifest import FORMAT, Manifest, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory
from bioqa.io.output import output_errors

RAM_BUFFER_MB = 256.0


def has_commit(path: Path) -> bool:
    """Whether the folder contains a Lucene commit."""
    return any(path.glob("segments_*"))


def latest_manifest(path: Path, *, complete: bool = False) -> Manifest | None:
    """The manifest of the last commit, or of the last complete one; None if there is none that this version can read."""
    if not has_commit(path):
        return None
    commit = java("bioqa.CompleteCommits").latest(open_directory(path), complete)
    data = user_data(commit.getUserData()) if commit else {}
    return read_manifest(data) if read_format(data) == FORMAT else None


@contextmanager
def open_writer(path: Path, *, create: bool, ram_mb: float) -> Iterator[Any]:
    """A Lucene IndexWriter that keeps the last complete commit; uncommitted changes are dropped at the end of the block.

    ``ram_mb`` is the size of Lucene's document buffer in MiB.

    Raises:
        IndexStateError: another program is writing, or the index is damaged.
        OutputError: the folder cannot be written.
    """
    failure = java_exception()
    directory = writer = None
    try:
        with output_errors(path):
            path.mkdir(parents=True, exist_ok=True)
            directory = open_directory(path)
            config = java("org.apache.lucene.index.IndexWriterConfig")(analyzer())
            mode = java("org.apache.lucene.index.IndexWriterConfig$OpenMode")
            config.setOpenMode(mode.CREATE if create else mode.APPEND)
            config.setRAMBufferSizeMB(ram_mb)
            config.setCommitOnClose(False)
            config.setIndexDeletionPolicy(java("bioqa.KeepCompleteCommit")())
            writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
            yield writer
    except failure as problem:
        raise _explain(problem, path) from problem
    finally:
        if writer is not None:
            writer.rollback()
        if directory is not None:
            directory.close()


def _explain(problem: Any, path: Path) -> BioqaError:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    message = getattr(problem, "innermessage", "") or problem
    if name == "LockObtainFailedException":
        return IndexStateError(f"Another program is writing to {path}. Wait until it has finished.")
    if name in ("AccessDeniedException", "FileSystemException", "ReadOnlyFileSystemException", "IOException"):
        return OutputError(f"{path} cannot be written ({name}: {message}).")
    return IndexStateError(f"Lucene failed on {path} ({name}: {message}).")


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
