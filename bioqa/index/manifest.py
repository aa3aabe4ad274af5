"""What a Lucene commit says of itself in its user data: format, state, and the sources taken in."""

import datetime
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from bioqa.index.jvm import java

FORMAT = 2
BUILDING, COMPLETE = "building", "complete"


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One corpus file as the commit remembers it.

    ``size`` in bytes, ``md5`` in hex; ``articles``, ``deletions`` and ``skipped`` count its records; ``order`` is its place among
    the sources, by which the later of two records of one PMID is told.
    """

    path: str
    size: int
    md5: str
    articles: int
    deletions: int
    skipped: int
    order: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The user data of a commit.

    ``documents`` is how many articles a complete index holds. ``plan`` holds the paths that a build was asked for, so that a
    killed one is only gone on with by the same command; ``deletions`` are the (PMID, place) of DeleteCitation records not applied
    yet, while ``state`` is "building".
    """

    format: int = FORMAT
    version: str = ""
    created: str = ""
    snapshot: str = ""
    documents: int = 0
    state: str = BUILDING
    sources: tuple[SourceEntry, ...] = ()
    plan: tuple[str, ...] = ()
    deletions: tuple[tuple[str, int], ...] = field(default=())

    def to_user_data(self) -> Any:
        """The java.util.Map entries for ``IndexWriter.setLiveCommitData``."""
        data = java("java.util.HashMap")()
        data.put("bioqa.format", str(self.format))
        data.put("bioqa.documents", str(self.documents))
        for name in ("version", "created", "snapshot", "state"):
            data.put(f"bioqa.{name}", getattr(self, name))
        data.put("bioqa.sources", json.dumps([asdict(entry) for entry in self.sources], ensure_ascii=False))
        data.put("bioqa.plan", json.dumps(self.plan, ensure_ascii=False))
        data.put("bioqa.deletions", json.dumps(self.deletions))
        return data.entrySet()

    def with_source(self, entry: SourceEntry, snapshot: str, deletions: list[tuple[str, int]]) -> "Manifest":
        """The manifest with one more source taken in."""
        return replace(
            self,
            sources=tuple(sorted((*self.sources, entry), key=lambda one: one.order)),
            snapshot=max(self.snapshot, snapshot),
            deletions=(*self.deletions, *deletions),
        )

    def completed(self, documents: int) -> "Manifest":
        """The manifest of a finished build or update, with the articles then in the index."""
        return replace(self, documents=documents, state=COMPLETE, created=now(), deletions=(), plan=())


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_format(data: dict[str, str]) -> int | None:
    """The index format that a commit's user data names; None where bioqa did not write it."""
    return int(data["bioqa.format"]) if data.get("bioqa.format", "").isdecimal() else None


def read_manifest(data: dict[str, str]) -> Manifest:
    """The manifest in a commit's user data of the current format."""
    return Manifest(
        format=int(data["bioqa.format"]),
        version=data["bioqa.version"],
        created=data["bioqa.created"],
        snapshot=data["bioqa.snapshot"],
        documents=int(data["bioqa.documents"]),
        state=data["bioqa.state"],
        sources=tuple(SourceEntry(**entry) for entry in json.loads(data["bioqa.sources"])),
        plan=tuple(json.loads(data["bioqa.plan"])),
        deletions=tuple((id, place) for id, place in json.loads(data["bioqa.deletions"])),
    )


def user_data(java_map: Any) -> dict[str, str]:
    """A java.util.Map of strings as a dictionary."""
    return {str(entry.getKey()): str(entry.getValue()) for entry in java_map.entrySet().toArray()}
