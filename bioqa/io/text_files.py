"""Read text files as bytes, gzipped or not; every failure is a SourceError."""

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from bioqa.errors import SourceError

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 18
MAX_BYTES = 1 << 30
"""Of a file that is in memory as a whole, decompressed."""
MAX_LINE_BYTES = 1 << 25
MAX_EXPANSION = 200
"""How many times its size a gzip file may expand to, if that is more than ``FREE_EXPANSION_BYTES``; text has 3 to 20."""
FREE_EXPANSION_BYTES = 1 << 26


def read_chunks(path: Path, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the content of ``path`` in chunks of at most ``size`` bytes; gzip is detected by its first bytes, not by the name.

    Raises:
        SourceError: the file is missing, empty, a folder or unreadable, or its gzip data is corrupt or truncated or expands to
            more than ``MAX_EXPANSION`` times its size.
    """
    done = 0
    with source_errors(path) as position, _open(path) as file:
        limit = _expansion_limit(path, file)
        while chunk := file.read(size):
            done += len(chunk)
            if done > limit:
                raise _expansion_error(path)
            position.text = f"after {done:,} bytes of text"
            yield chunk
    if not done:
        raise empty_error(path)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its line end) for every line of ``path``, gzipped or not.

    Raises:
        SourceError: as for ``read_chunks``, or a line has more than ``MAX_LINE_BYTES``.
    """
    number = done = 0
    with source_errors(path) as position, _open(path) as file:
        limit = _expansion_limit(path, file)
        try:
            while line := _read_line(file, path, "line", number + 1):
                number += 1
                done += len(line)
                if done > limit:
                    raise _expansion_error(path)
                yield number, line.rstrip(b"\r\n")
        finally:
            if number:
                position.text = f"after line {number:,}"
    if not number:
        raise empty_error(path)


def _read_line(file: BinaryIO, path: Path, unit: str, number: int) -> bytes:
    """The next line with its line end, b"" at the end of the file; ``unit`` and ``number`` tell its place."""
    line = file.readline(MAX_LINE_BYTES + 2)
    if len(line) > MAX_LINE_BYTES and len(line.rstrip(b"\r\n")) > MAX_LINE_BYTES:
        size = f"{MAX_LINE_BYTES >> 20} MiB"
        raise SourceError(f"{path}, {unit} {number}: longer than {size}, the limit. Write a record on each line.")
    return line


def read_line_span(path: Path, begin: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield (first byte, line without its line end) for every line of ``path`` that begins in bytes ``begin`` to ``end``.

    The file must not be gzipped.

    Raises:
        SourceError: missing, a folder, or not readable, or a line has more than ``MAX_LINE_BYTES``.
    """
    with source_errors(path) as position, path.open("rb") as file:
        if begin:  # a line that begins before belongs to the span before
            file.seek(begin - 1)
            begin += len(_read_line(file, path, "line at byte", begin)) - 1
        while begin < end and (line := _read_line(file, path, "line at byte", begin)):
            position.text = f"after {begin:,} bytes"
            yield begin, line.rstrip(b"\r\n")
            begin += len(line)


def read_start(path: Path, size: int) -> bytes:
    """Return the first ``size`` bytes of ``path`` as they are, gzipped or not.

    Raises:
        SourceError: missing, a folder, or not readable.
    """
    with source_errors(path), path.open("rb") as file:
        return file.read(size)


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """The first ``size`` bytes of the content of ``path``, decompressed if it is gzip; errors as for ``read_chunks``."""
    return next(read_chunks(path, size))


def read_whole(path: Path, limit: int = MAX_BYTES) -> bytes:
    """The content of ``path``, decompressed if it is gzip.

    Raises:
        SourceError: as for ``read_chunks``, or the content has more than ``limit`` bytes.
    """
    content = bytearray()
    for chunk in read_chunks(path):
        content += chunk
        if len(content) > limit:
            raise SourceError(
                f"{path} has more than {limit:,} bytes of text. Check that it is the right file, or split it."
            )
    return bytes(content)


def empty_error(path: Path) -> SourceError:
    """The error for a file without content."""
    return SourceError(f"{path} is empty. Fetch or write the file again.")


def missing_error(path: Path) -> SourceError:
    """The error for a file that does not exist, or for a link to one."""
    if path.is_symlink():
        return SourceError(
            f"{path} is a link to {path.readlink()}, which does not exist. Restore that file, or remove the link."
        )
    return SourceError(f"{path} does not exist. Check the path.")


class ReadPosition:
    """How far a file has been read, as ``text`` for error messages."""

    text = "at its start"


@contextmanager
def source_errors(path: Path) -> Iterator[ReadPosition]:
    """Raise what can go wrong in reading ``path`` as a SourceError; the caller keeps the position up to date."""
    position = ReadPosition()
    try:
        yield position
    except EOFError:
        end = f"the gzip data ends {position.text}; the file is truncated and cannot be read to its end"
        raise SourceError(f"{path}: {end}. Fetch it again.") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path}: corrupt gzip data {position.text} ({error}). Fetch it again.") from None
    except FileNotFoundError:
        raise missing_error(path) from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder, not a file. Name a file in it.") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from None


def _expansion_limit(path: Path, file: BinaryIO) -> float:
    """The largest number of bytes that may be read from a file of ``_open``: no limit unless it is gzip."""
    zipped = not isinstance(getattr(file, "raw", None), io.FileIO)
    return max(FREE_EXPANSION_BYTES, MAX_EXPANSION * path.stat().st_size) if zipped else math.inf


def _expansion_error(path: Path) -> SourceError:
    return SourceError(f"{path} expands to more than {MAX_EXPANSION} times its size: it is not a data file. Check it.")


def _open(path: Path) -> BinaryIO:
    try:
        file = path.open("rb")
    except ValueError:
        raise OSError(None, "its name has a null character") from None
    try:
        zipped = file.peek(2)[:2] == GZIP_MAGIC
    except BaseException:
        file.close()
        raise
    if not zipped:
        return file
    file.close()
    return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(path), CHUNK_BYTES))
