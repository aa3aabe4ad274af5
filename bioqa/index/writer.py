"""A Lucene IndexWriter over an index of ours: opening it, what is committed, taking shards in, leaving one record of each PMID."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.errors import BioqaError, IndexStateError, OutputError
from bioqa.index.document import analyzer
from bioqa.index.jvm import cast, java, java_exception
from bioqa.index.manifest import FORMAT, Manifest, read_format, read_manifest, user_data
from bioqa.index.shard import open_directory

RAM_BUFFER_MB = 256.0


def has_commit(path: Path) -> bool:
    """Whether the folder holds a Lucene commit."""
    return any(path.glob("segments_*"))


def latest_manifest(path: Path, *, complete: bool = False) -> Manifest | None:
    """The manifest of the last commit (the last complete one), None where there is none that this version reads."""
    if not has_commit(path):
        return None
    commit = java("bioqa.Bulk").latest(open_directory(path), complete)
    data = user_data(commit.getUserData()) if commit else {}
    return read_manifest(data) if read_format(data) == FORMAT else None


@contextmanager
def open_writer(path: Path, *, create: bool, ram_mb: float) -> Iterator[Any]:
    """A Lucene IndexWriter that keeps the last complete commit; what is not committed when the block ends is dropped.

    Raises:
        IndexStateError: another program is writing, or the index is damaged.
        OutputError: the folder cannot be written.
    """
    failure = java_exception()
    directory = writer = None
    try:
        path.mkdir(parents=True, exist_ok=True)
        directory = open_directory(path)
        config = java("org.apache.lucene.index.IndexWriterConfig")(analyzer())
        mode = java("org.apache.lucene.index.IndexWriterConfig$OpenMode")
        config.setOpenMode(mode.CREATE if create else mode.APPEND)
        config.setRAMBufferSizeMB(ram_mb)
        config.setCommitOnClose(False)
        config.setIndexDeletionPolicy(java("bioqa.Bulk$KeepComplete")())
        writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
        yield writer
    except failure as problem:
        raise _explain(problem, path) from problem
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(f"{path} cannot be written: {problem.strerror or problem}.") from problem
    finally:
        if writer is not None:
            writer.rollback()
        if directory is not None:
            directory.close()


def _explain(problem: Any, path: Path) -> BioqaError:
    name = str(getattr(problem, "classname", "")).rpartition(".")[2]
    message = getattr(problem, "innermessage", "") or problem
    if name == "LockObtainFailedException":
        return IndexStateError(f"Another program is writing to {path}. Wait until it has ended.")
    if name in ("AccessDeniedException", "FileSystemException", "ReadOnlyFileSystemException", "IOException"):
        return OutputError(f"{path} cannot be written ({name}: {message}).")
    return IndexStateError(f"Lucene failed on {path} ({name}: {message}).")


def resolve(writer: Any, ids: Sequence[str] | None, deletions: Sequence[tuple[str, int]]) -> int:
    """Leave the winning document of each of ``ids`` (of all where None), without merges meanwhile; documents dropped."""
    config = writer.getConfig()
    usual = config.getMergePolicy()
    config.setMergePolicy(java("org.apache.lucene.index.NoMergePolicy").INSTANCE)
    gone, places = [id for id, _ in deletions], [place for _, place in deletions]
    dropped = -1
    while dropped < 0:  # a merge that was under way has replaced segments: look again
        dropped = int(java("bioqa.Bulk").resolve(writer, ids, gone, places))
    config.setMergePolicy(usual)
    return dropped


def add_shard(writer: Any, shard: Path) -> None:
    """Take the index at ``shard`` into the writer's."""
    directory = open_directory(shard)
    try:
        writer.addIndexes(cast("org.apache.lucene.store.Directory", directory))
    finally:
        directory.close()
