"""Results of a suite's systems question by question, kept between runs.

A collection's folder in the cache has one file for each first stage, reranker and set of relevance judgements, named by a
fingerprint of everything that goes into it: the content of the corpus files, the questions, the settings, the content of the
model, the versions, and the machine, since the files contain times. They grow question by question, so that interrupted runs
resume and unchanged results are reused.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bioqa.bench.environment import environment
from bioqa.io.checkpoint import Checkpoint
from bioqa.types import Question

_Record = TypeVar("_Record")

StartProgress = Callable[[str, int], AbstractContextManager[Callable[[], object]]]
"""(label, total) → a context whose value is called after each question."""


def fingerprint(*parts: Any) -> str:
    """16 hex digits that identify values; JSON must be able to express them."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class CachedRecords(Generic[_Record]):
    """Records by question id, and the header of their file: the environment and settings that they were made with."""

    header: dict[str, Any]
    records: dict[str, _Record]

    @property
    def made(self) -> str:
        """The day on which the first of them was made."""
        return str(self.header["environment"]["date"])


@dataclass(frozen=True, slots=True)
class RunCache:
    """The files of one collection, one checkpoint per key."""

    folder: Path
    progress: StartProgress

    def get(
        self,
        key: str,
        kind: Callable[..., _Record],
        questions: Sequence[Question],
        compute: Callable[[list[Question]], Iterator[_Record]],
        *,
        label: str,
        settings: Callable[[], Mapping[str, Any]],
    ) -> CachedRecords[_Record]:
        """The records of all ``questions``: those cached under ``key``, and the missing ones from ``compute``.

        ``kind`` is their dataclass, which has a field ``id``; ``settings`` gives what the header contains besides the environment.
        """
        with Checkpoint(self.folder / f"{key}.jsonl") as checkpoint:
            records = {record["id"]: kind(**record) for record in checkpoint}
            missing = [one for one in questions if one.id not in records]
            if missing:
                if checkpoint.header is None:
                    checkpoint.start({"environment": environment(), **settings()})
                with self.progress(label, len(missing)) as advance:
                    for record in compute(missing):
                        values = asdict(record)  # type: ignore[call-overload]
                        checkpoint.append(values)
                        records[values["id"]] = record
                        advance()
            assert checkpoint.header is not None
            return CachedRecords(checkpoint.header, {one.id: records[one.id] for one in questions})
