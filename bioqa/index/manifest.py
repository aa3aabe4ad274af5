"""What a Lucene commit's user data says about the index: format, state and indexed sources."""

import datetime
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby

FORMAT = 3
BUILDING, COMPLETE = "building", "complete"


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """One indexed corpus file.

    ``size`` in bytes, ``md5`` in hex; ``articles``, ``deletions`` and ``skipped`` count its records; ``order`` is its position
    among the sources, which decides which of two records of one PMID is the later.
    """

    path: str
    size: int
    md5: str
    articles: int
    deletions: int
    skipped: int
    order: int


@dataclass(frozen=True, slots=True)
class VectorInfo:
    """How the vectors of an index were made, and so how questions must be encoded.

    ``model`` is the encoder's name or folder, ``digest`` identifies its files and settings, ``dimension`` is that of its vectors.
    ``pooling`` and ``max_length`` were requested instead of the model's own. ``similarity`` is "cosine", of vectors at length 1, or
    "dot". ``source`` is the folder that the articles' vectors were read from, "" if the model made them. ``fusion_weight`` is the
    share (0 to 1) of the vectors in fused scores, None if none was chosen for this index.
    """

    model: str
    digest: str
    dimension: int
    similarity: str
    pooling: str | None = None
    max_length: int | None = None
    source: str = ""
    fusion_weight: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The user data of a commit.

    ``documents`` is the number of articles in a complete index. ``plan`` lists the source paths of a build, so that only the same
    command resumes it; ``deletions`` are (PMID, position) of DeleteCitation records not yet applied. Both are empty unless
    ``state`` is "building". ``vectors`` is None if the index has none.
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
    vectors: VectorInfo | None = None

    def to_user_data(self) -> list[str]:
        """What Java's ``Writer.commit`` takes: name, value, name, value, …"""
        data = {
            "format": str(self.format),
            "documents": str(self.documents),
            "version": self.version,
            "created": self.created,
            "snapshot": self.snapshot,
            "state": self.state,
            "sources": json.dumps([asdict(entry) for entry in self.sources], ensure_ascii=False),
            "plan": json.dumps(self.plan, ensure_ascii=False),
            "deletions": json.dumps(self.deletions),
        }
        if self.vectors is not None:
            data["vectors"] = json.dumps(asdict(self.vectors), ensure_ascii=False)
        return [text for name, value in data.items() for text in (f"bioqa.{name}", value)]

    def with_source(self, entry: SourceEntry, snapshot: str, deletions: list[tuple[str, int]]) -> "Manifest":
        """The manifest with one more indexed source."""
        return replace(
            self,
            sources=tuple(sorted((*self.sources, entry), key=lambda source: source.order)),
            snapshot=max(self.snapshot, snapshot),
            deletions=(*self.deletions, *deletions),
        )

    def completed(self, documents: int) -> "Manifest":
        """The manifest of a finished build or update, with the number of articles in the index."""
        sources = tuple(_merged(list(parts)) for _, parts in groupby(self.sources, key=lambda one: (one.path, one.md5)))
        return replace(self, documents=documents, state=COMPLETE, created=now(), sources=sources, deletions=(), plan=())


def _merged(parts: list[SourceEntry]) -> SourceEntry:
    """The entry of a file that was indexed in parts."""
    return replace(
        parts[-1],
        articles=sum(part.articles for part in parts),
        deletions=sum(part.deletions for part in parts),
        skipped=sum(part.skipped for part in parts),
    )


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def read_format(data: dict[str, str]) -> int | None:
    """The index format in a commit's user data; None if bioqa did not write it."""
    return int(data["bioqa.format"]) if data.get("bioqa.format", "").isdecimal() else None


def read_manifest(data: dict[str, str]) -> Manifest:
    """The manifest in a commit's user data, which must be of the current format."""
    return Manifest(
        format=int(data["bioqa.format"]),
        version=data["bioqa.version"],
        created=data["bioqa.created"],
        snapshot=data["bioqa.snapshot"],
        documents=int(data["bioqa.documents"]),
        state=data["bioqa.state"],
        sources=tuple(SourceEntry(**entry) for entry in json.loads(data["bioqa.sources"])),
        plan=tuple(json.loads(data["bioqa.plan"])),
        deletions=tuple((id, position) for id, position in json.loads(data["bioqa.deletions"])),
        vectors=VectorInfo(**json.loads(data["bioqa.vectors"])) if "bioqa.vectors" in data else None,
    )


def user_data(pairs: Sequence[str]) -> dict[str, str]:
    """The user data of a commit, from name, value, name, value, … as Java's ``CompleteCommits`` gives it."""
    return dict(zip(pairs[::2], pairs[1::2], strict=True))
