"""File locks between processes, released when the process ends, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bioqa.errors import OutputError
from bioqa.io.output import RESUME_HINT, open_no_follow, output_errors


@contextmanager
def locked(folder: Path, task: str) -> Iterator[None]:
    """Create ``folder`` if missing and keep other processes with the same ``task`` (a noun, such as "fetch") out of it.

    Raises:
        OutputError: another process has the lock, or the folder cannot be written.
    """
    with output_errors(folder, RESUME_HINT):
        folder.mkdir(parents=True, exist_ok=True)
    busy = f"Another {task} is running in {folder}. Wait until it ends, or name another folder."
    with open_locked(folder / f".{task}.lock", busy):
        yield


def open_locked(path: Path, busy: str) -> IO[bytes]:
    """A file opened for reading and appending, created if missing, and locked until it is closed.

    A symbolic link is not followed. On file systems without locks, as on some clusters, the file is opened all the same.

    Raises:
        OutputError: another process has the lock (the message is ``busy``), or the file cannot be written.
    """
    from filelock import lock_descriptor

    with output_errors(path, RESUME_HINT):
        if path.is_symlink():  # the error for O_NOFOLLOW speaks of "too many levels"
            raise OSError(None, "it is a symbolic link")
        file = open(path, "a+b", opener=open_no_follow)  # noqa: SIM115 - Path.open has no opener
    try:
        free = lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        free = True
    if not free:
        file.close()
        raise OutputError(busy)
    return file
