"""Output files that appear complete or not at all."""

import io
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO, cast

from bioqa.errors import OutputError
from bioqa.io.terminal import printable

STANDARD_OUTPUT = "Standard output"
"""What messages call it."""

RESUME_HINT = "Free some space or choose another folder; the same command then resumes where it stopped."

# Open files of this process by name, such as /dev/stdout: links, but never to be replaced.
_OPEN_FILES = ("/dev", "/dev/fd", "/proc/self/fd")


@contextmanager
def output_errors(path: str | Path, hint: str = "") -> Iterator[None]:
    """Raise a failure to write ``path`` as an OutputError that ends with ``hint``; BrokenPipeError passes unchanged."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(f"{path} cannot be written: {problem.strerror or problem}. {hint}".rstrip()) from problem


# In the two functions below, os.path.exists returns False for impossible names, for which Path.exists raises an error.


def check_not_input(target: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise OutputError if the file to write is one of the inputs, which would be overwritten."""
    if not os.path.exists(target):  # noqa: PTH110
        return
    for path in inputs:
        if os.path.exists(path) and os.path.samefile(path, target):  # noqa: PTH110, PTH121
            raise OutputError(f"{target} is an input and would be overwritten. Name another file for the result.")


def is_stream(target: str | Path) -> bool:
    """Whether ``target`` is written to directly, not replaced: "-", a device, a pipe, or /dev/stdout and the like."""
    if str(target) == "-":
        return True
    if not os.path.exists(target) or os.path.isdir(target):  # noqa: PTH110, PTH112
        return False
    return not os.path.isfile(target) or os.path.dirname(os.path.abspath(target)) in _OPEN_FILES  # noqa: PTH100, PTH113, PTH120


def open_no_follow(path: str, flags: int) -> int:
    """An ``opener`` for ``open`` that fails on symbolic links."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """An empty new folder beside ``target`` with an unpredictable name, to be moved to it; what is left of it is removed.

    Those that killed processes left are removed too.

    Raises:
        OutputError: the folder cannot be created.
    """
    for old in target.parent.glob(f".{target.name}.*.part"):
        shutil.rmtree(old, ignore_errors=True)  # does not follow links
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    with output_errors(part):
        part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """An empty new file in the folder of ``target``: moved to ``target`` at the end of the block, removed if the block fails.

    Its name is unpredictable and its permissions are those of any new file. If ``target`` is a symbolic link, the link is replaced
    and the file that it points to is left alone.

    Raises:
        OutputError: the file cannot be created, written or moved, or ``target`` is a folder.
    """
    target = Path(target)
    part = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}.part")  # 40 characters: at most 160 bytes
    with output_errors(target):
        if target.is_dir():
            raise IsADirectoryError(None, "it is a folder", str(target))
        part.open("xb").close()  # "x" fails on a file or link of that name
    try:
        with output_errors(target):
            yield part
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


class _Terminal(io.TextIOBase):
    """Writes text to the terminal that standard output is."""

    def write(self, text: str, /) -> int:
        return sys.stdout.write(printable(text))


def _standard_output() -> TextIO:
    if sys.stdout.isatty():
        return cast(TextIO, _Terminal())
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return sys.stdout


@contextmanager
def open_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[TextIO]:
    """A text file that appears at ``path`` at the end of the block, complete, or not at all; "-" is standard output.

    Devices and pipes are written to directly. Standard output gets the same UTF-8 as a file, unless it is a terminal.

    Raises:
        OutputError: the file cannot be written, or is one of ``inputs``; both are checked before the block runs.
    """
    if str(path) == "-":
        with output_errors(STANDARD_OUTPUT):
            yield _standard_output()
            sys.stdout.flush()
        return
    check_not_input(path, inputs)
    if is_stream(path):
        with output_errors(path), Path(path).open("w", encoding="utf-8") as file:
            yield file
        return
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        yield file
        file.close()
