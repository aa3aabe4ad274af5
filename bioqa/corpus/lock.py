"""Folders that one process at a time writes into."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bioqa.errors import OutputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Tell of a failure to write ``path`` as an OutputError."""
    try:
        yield
    except OSError as problem:
        remedy = "Make room or name another folder; the same command goes on where it stopped."
        raise OutputError(f"{path} cannot be written: {problem.strerror or problem}. {remedy}") from problem


@contextmanager
def locked(folder: Path, task: str = "fetch") -> Iterator[None]:
    """Keep others with the same task out of the folder; the lock goes with the process, however that ends."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / f".{task}.lock").open("ab")
    with lock:
        if not try_lock(lock):
            raise OutputError(f"Another {task} is at work in {folder}. Wait until it ends, or name another folder.")
        yield


def try_lock(file: IO[bytes]) -> bool:
    """Lock a file for this process; False where another has. The lock goes when the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks, as some clusters have: there the checksums alone guard
    return True
