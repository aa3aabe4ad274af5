"""Reading corpus files as bytes, gzipped or not, with every failure told as a SourceError."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from bioqa.errors import SourceError

GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 18
LONGEST_FIELD = 1 << 24
"""Characters of a field of CSV; Python's own limit of 131,072 is less than a long article has."""


def read_chunks(path: Path, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Yield the content of ``path`` in pieces of ``size`` bytes; gzip is known by its first bytes, not by the name.

    Raises:
        SourceError: missing, empty, a folder, not readable, or gzip data that is broken or breaks off.
    """
    done = 0
    with source_errors(path) as progress, _open(path) as file:
        while chunk := file.read(size):
            done += len(chunk)
            progress.place = f"after {done:,} bytes of text"
            yield chunk
    if not done:
        raise empty_error(path)


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its line end) for every line of ``path``, gzipped or not.

    Raises:
        SourceError: as for read_chunks.
    """
    number = 0
    with source_errors(path) as progress, _open(path) as file:
        for number, line in enumerate(file, start=1):
            progress.place = f"after line {number:,}"
            yield number, line.rstrip(b"\r\n")
    if not number:
        raise empty_error(path)


def read_head(path: Path, size: int = 1 << 16) -> bytes:
    """Return the first ``size`` bytes of the content of ``path``, unzipped where it is gzip."""
    return next(read_chunks(path, size))


def empty_error(path: Path) -> SourceError:
    """Return the error for a file without content."""
    return SourceError(f"{path} is empty. Fetch or write the file again.")


class Progress:
    """How far a file has been read, for the message of a failure."""

    place = "at its start"


@contextmanager
def source_errors(path: Path) -> Iterator[Progress]:
    """Turn what reading ``path`` can raise into SourceError; the caller keeps ``Progress.place`` up to date."""
    progress = Progress()
    try:
        yield progress
    except EOFError:
        message = f"{path}: the gzip data breaks off {progress.place}; the file is truncated. Fetch it again."
        raise SourceError(message) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path}: broken gzip data {progress.place} ({error}). Fetch it again.") from None
    except FileNotFoundError:
        raise SourceError(f"{path} does not exist. Check the path.") from None
    except IsADirectoryError:
        raise SourceError(f"{path} is a folder where a file is needed. Name a file in it.") from None
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror or error}.") from None


def _open(path: Path) -> BinaryIO:
    file = path.open("rb")
    try:
        zipped = file.peek(2)[:2] == GZIP_MAGIC
    except BaseException:
        file.close()
        raise
    if not zipped:
        return file
    file.close()
    return cast(BinaryIO, io.BufferedReader(gzip.GzipFile(path), CHUNK_BYTES))
