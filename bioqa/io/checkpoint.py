"""Checkpoints of resumable work: a file of JSON lines that grows as the work is done and survives a kill."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any

from bioqa.errors import OutputError
from bioqa.io.locks import RESUME, try_lock
from bioqa.io.output import output_errors


class Checkpoint:
    """A header, then one record a line. A half-written line at the end, as a kill leaves it, is dropped.

    ``header`` is the first line, None where there is none yet. The file is created and locked by the first write. Without a
    ``path`` the records live in a temporary file, and nothing is resumed.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.header: dict[str, Any] | None = None
        self._end = 0
        self._file: IO[bytes] | None = None
        self._read_header()

    def _read_header(self) -> None:
        if self.path is None or not self.path.is_file():
            return
        with self.path.open("rb") as file:
            line = file.readline()
        self.header = _parse(line)
        self._end = len(line) if self.header is not None else 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records, in the order in which they were written."""
        if self.header is None:
            return
        if self.path is None:
            assert self._file is not None
            self._file.seek(0)
            yield from self._records(self._file)
            return
        with self.path.open("rb") as file:
            yield from self._records(file)

    def _records(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        end = len(file.readline())
        for line in file:
            record = _parse(line)
            if record is None:
                break
            end += len(line)
            yield record
        self._end = end

    def start(self, header: Mapping[str, Any]) -> None:
        """Drop all records and begin with a new header.

        Raises:
            OutputError: the file cannot be written, or another process writes it.
        """
        self.lock()
        self._end = 0
        self.header = dict(header)
        self._write(self.header)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one more record; ``start`` must have been called, or there is a header already.

        Raises:
            OutputError: as ``start``.
        """
        self.lock()
        assert self.header is not None
        self._write(record)

    def lock(self) -> None:
        """Create the file where there is none, and keep other processes from writing it.

        Raises:
            OutputError: as ``start``.
        """
        if self._file is not None:
            return
        if self.path is None:
            self._file = TemporaryFile()  # noqa: SIM115 - open until close()
            return
        with output_errors(self.path, RESUME):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("a+b")
        if not try_lock(file):
            file.close()
            raise OutputError(f"Another process is writing {self.path}. Wait until it ends, or name another output.")
        self._file = file
        self._read_header()
        for _ in self:  # finds the end of the sound records
            pass

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        assert self._file is not None
        with output_errors(self.path or "A temporary file", RESUME):
            self._file.truncate(self._end)
            self._file.seek(self._end)
            self._file.write(line)
            self._file.flush()
        self._end += len(line)

    def discard(self) -> None:
        """Remove the file: the work is done."""
        self.close()
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file and release the lock; the records stay."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object in a line of JSON; None where it is another value, or is not whole."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
