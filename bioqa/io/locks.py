"""Locks that keep two processes from writing the same thing; they end with the process, however that ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bioqa.errors import OutputError
from bioqa.io.output import output_errors

RESUME = "Make room or name another folder; the same command resumes where it stopped."


@contextmanager
def locked(folder: Path, task: str = "fetch") -> Iterator[None]:
    """Keep other processes with the same task out of the folder.

    Raises:
        OutputError: another process is at work there, or the folder cannot be written.
    """
    with output_errors(folder, RESUME):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{task}.lock").open("ab")
    with lock:
        if not try_lock(lock):
            raise OutputError(f"Another {task} is running in {folder}. Wait until it ends, or name another folder.")
        yield


def try_lock(file: IO[bytes]) -> bool:
    """Lock an open file for this process until it is closed; False where another process holds the lock.

    Always succeeds on a file system without locks, as some clusters have.
    """
    from filelock import lock_descriptor

    try:
        return lock_descriptor(file.fileno(), blocking=False)
    except OSError:
        return True
