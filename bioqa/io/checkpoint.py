"""Checkpoints of resumable work: a file of JSON lines that grows as the work proceeds."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Any

from bioqa.io.json_text import parse_json
from bioqa.io.locks import open_locked
from bioqa.io.output import RESUME_HINT, output_errors


def stamp(path: Path) -> str:
    """A digest of the name, size and modification time of a file, or of each file in a folder, to tell whether it changed."""
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [path]
    stats = [(str(file.resolve()), file.stat()) for file in files if file.suffix != ".lock"]
    return sha256(json.dumps([(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]).encode()).hexdigest()


class Checkpoint:
    """A header and records, one JSON object a line. A line that an interruption left incomplete is dropped, with all after it.

    ``header`` is None if there is none yet. The first write creates and locks the file. With ``path`` None, the records are in a
    temporary file and nothing can be resumed.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.header: dict[str, Any] | None = None
        self._end = 0
        self._file: IO[bytes] | None = None
        if path is not None and path.is_file():
            with output_errors(path, RESUME_HINT), path.open("rb") as file:
                self.header = _parse(file.readline())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The records, in the order in which they were written."""
        if self._file is not None:
            yield from self._records(self._file)
        elif self.path is not None and self.header is not None:
            with self.path.open("rb") as file:
                yield from self._records(file)

    def _records(self, file: IO[bytes]) -> Iterator[dict[str, Any]]:
        for number, (record, _) in enumerate(_lines(file)):
            if number:
                yield record

    def resume(self, header: Mapping[str, Any]) -> list[str]:
        """Go on with the records of a file that has this header, or else start anew; the names of what in the header differs.

        Raises:
            OutputError: as for ``start``.
        """
        self.lock()
        found = self.header
        if found == header:
            return []
        self.start(header)
        return [name for name, value in header.items() if found.get(name) != value] if found is not None else []

    def start(self, header: Mapping[str, Any]) -> None:
        """Drop all records and begin with a new header.

        Raises:
            OutputError: the file cannot be written, or another process has locked it.
        """
        self.lock()
        self._end = 0
        self.header = dict(header)
        self._write(self.header)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write a record. There must be a header: one found in the file, or that of ``start``.

        Raises:
            OutputError: as for ``start``.
        """
        self.lock()
        assert self.header is not None
        self._write(record)

    def lock(self) -> None:
        """Create the file if missing, keep other processes from writing it, and read the header again.

        Raises:
            OutputError: as for ``start``.
        """
        if self._file is not None:
            return
        if self.path is None:
            with output_errors("A temporary file"):
                self._file = TemporaryFile()  # noqa: SIM115 - open until close()
            return
        with output_errors(self.path, RESUME_HINT):
            self.path.parent.mkdir(parents=True, exist_ok=True)
        busy = f"Another process is writing {self.path}. Wait until it ends, or name another output."
        self._file = open_locked(self.path, busy)
        self.header = None
        self._end = 0
        for record, end in _lines(self._file):
            self.header = record if self.header is None else self.header
            self._end = end

    def _write(self, record: Mapping[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        assert self._file is not None
        with output_errors(self.path or "A temporary file", RESUME_HINT):
            self._file.truncate(self._end)
            self._file.seek(self._end)
            self._file.write(line)
            self._file.flush()
        self._end += len(line)

    def discard(self) -> None:
        """Remove the file, when the work is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Close the file and release the lock; the records stay."""
        if self._file is not None:
            with suppress(OSError):  # what could not be written was reported by the write
                self._file.close()
            self._file = None

    def __enter__(self) -> "Checkpoint":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lines(file: IO[bytes]) -> Iterator[tuple[dict[str, Any], int]]:
    """(JSON object, byte offset of its line's end) for each line up to the first invalid one; writes in between do no harm."""
    end = 0
    while True:
        file.seek(end)
        line = file.readline()
        record = _parse(line)
        if record is None:
            return
        end += len(line)
        yield record, end


def _parse(line: bytes) -> dict[str, Any] | None:
    """The object in a line of JSON; None if it is another value or incomplete."""
    try:
        record = parse_json(line.decode()) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
