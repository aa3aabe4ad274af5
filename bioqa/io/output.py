"""Files that appear whole or not at all."""

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from bioqa.errors import OutputError


@contextmanager
def output_errors(path: str | Path, remedy: str = "") -> Iterator[None]:
    """Report a failure to write ``path`` as an OutputError that ends with ``remedy``; a broken pipe stays one."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(f"{path} cannot be written: {problem.strerror or problem}. {remedy}".rstrip()) from problem


def check_not_input(target: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise OutputError where the file to write is one of those that are read: writing would replace it."""
    if not os.path.exists(target):  # noqa: PTH110 - what was named need not be a possible path
        return
    for one in inputs:
        if os.path.exists(one) and os.path.samefile(one, target):  # noqa: PTH110, PTH121
            raise OutputError(f"{target} is an input and would be overwritten. Name another file for the result.")


def is_stream(target: str | Path) -> bool:
    """Whether ``target`` is written to directly and must not be replaced: "-", a device such as /dev/null, a pipe."""
    if str(target) == "-":
        return True
    there = os.path.exists(target)  # noqa: PTH110 - as above
    return there and not os.path.isfile(target) and not os.path.isdir(target)  # noqa: PTH112, PTH113


@contextmanager
def replacing(target: str | Path) -> Iterator[Path]:
    """An empty new file beside ``target`` that takes its place at the end of the block, or is removed if the block fails.

    Its name is not predictable and no link is followed.

    Raises:
        OutputError: the file cannot be created, written or moved, or ``target`` is a folder.
    """
    target = Path(target)
    part = target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.part")
    with output_errors(target):
        if target.is_dir():
            raise IsADirectoryError(None, "is a folder", str(target))
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
    try:
        with output_errors(target):
            yield part
            part.replace(target)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def open_output(path: str | Path, inputs: Iterable[str | Path] = ()) -> Iterator[TextIO]:
    """A text file that appears at ``path`` whole at the end of the block, or not at all; "-" is standard output.

    A device or a pipe is written to directly.

    Raises:
        OutputError: the file cannot be written, or is one of ``inputs``; known before the block runs.
    """
    if str(path) == "-":
        yield sys.stdout
        return
    check_not_input(path, inputs)
    if is_stream(path):
        with output_errors(path), Path(path).open("w", encoding="utf-8") as file:
            yield file
        return
    with replacing(path) as part, part.open("w", encoding="utf-8") as file:
        yield file
        file.close()
