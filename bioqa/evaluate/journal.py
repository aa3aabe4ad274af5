"""What is found out question by question and kept: a file of JSON lines that grows as they are done, and outlives a kill."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from bioqa.corpus.lock import writing

_Record = TypeVar("_Record")


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The object in a line of JSON; None where it is another value, or is not whole."""
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class Journal(Generic[_Record]):
    """The records of a file, by question id; ``kind`` is their dataclass, which has a field ``id``.

    ``header`` is the first line: under which circumstances they were made; None where there is none yet. What a kill left half
    written at the end of the file is cut off when it is gone on with.
    """

    def __init__(self, path: Path, kind: Callable[..., _Record]) -> None:
        self.path = path
        self.header: dict[str, Any] | None = None
        self.records: dict[str, _Record] = {}
        self._sound = 0
        for line in path.read_bytes().splitlines(keepends=True) if path.is_file() else []:
            record = parse_line(line)
            if record is None:
                break
            if self.header is None:
                self.header = record
            else:
                self.records[record["id"]] = kind(**record)
            self._sound += len(line)

    def extend(self, header: Mapping[str, Any], records: Iterable[_Record]) -> None:
        """Write records as they come; ``header`` before the first ones.

        Raises:
            OutputError: the file cannot be written.
        """
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = self.path.open("ab")
        with file:
            file.truncate(self._sound)
            if self.header is None:
                self.header = dict(header)
                self._write(file, self.header)
            for record in records:
                values = asdict(record)  # type: ignore[call-overload]
                self._write(file, values)
                self.records[values["id"]] = record

    def _write(self, file: Any, values: Mapping[str, Any]) -> None:
        line = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with writing(self.path):
            file.write(line)
            file.flush()
        self._sound += len(line)
