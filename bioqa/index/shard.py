"""One corpus file → documents in a Lucene writer: in this process, or in a worker process that builds a shard of its own."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import Source
from bioqa.errors import RecordError, SourceError
from bioqa.index.article_encoder import ArticleEncoder, encoded
from bioqa.index.document import index_analyzer, to_row
from bioqa.index.jvm import java, java_lock
from bioqa.index.manifest import SourceEntry
from bioqa.types import Article, Deletion

BATCH = 512
"""Articles passed to Java at a time."""
SOURCE_POSITIONS = 1 << 32
"""Maximum number of records per source: a record's position in the corpus is its source's number times this, plus its own."""
MAX_MESSAGES = 20
"""Skipped records that are described; the rest are only counted."""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """The result of indexing one source: its manifest entry, latest revision date, deletions as (PMID, position), and messages
    about the first skipped records.
    """

    entry: SourceEntry
    snapshot: str
    deletions: tuple[tuple[str, int], ...]
    messages: tuple[str, ...]


class _SkippedRecords:
    """Counts malformed records and keeps the messages of the first ones."""

    def __init__(self) -> None:
        self.count = 0
        self.messages: list[str] = []

    def add(self, problem: RecordError) -> None:
        self.count += 1
        if self.count <= MAX_MESSAGES:
            self.messages.append(str(problem))


def checksum(path: Path) -> tuple[int, str]:
    """Size in bytes and md5 in hex of a file."""
    stat = path.stat()
    return stat.st_size, _md5(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _md5(path: Path, size: int, time_ns: int) -> str:
    """The md5 of a file, computed once for all parts of one that has not changed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def _verified_checksum(path: Path) -> tuple[int, str]:
    """``checksum``, compared with the .md5 file beside the file if there is one, as NLM provides it."""
    size, md5 = checksum(path)
    beside = path.with_name(f"{path.name}.md5")
    if beside.is_file():
        found = re.search(r"\b[0-9a-fA-F]{32}\b", beside.read_text(encoding="utf-8", errors="replace"))
        if not found:
            raise SourceError(f"{beside} contains no md5 checksum. Fetch it again, or remove it.")
        if found.group().lower() != md5:
            raise SourceError(f"{path} does not match the checksum in {beside.name}: it is damaged. Fetch it again.")
    return size, md5


def _batches(
    records: Iterable[Article | Deletion], first_position: int
) -> Iterator[tuple[int, list[Article] | Deletion]]:
    """Yield runs of up to ``BATCH`` consecutive articles and single deletions, each with the position of its (first) record."""
    batch: list[Article] = []
    position = first_position
    for record in records:
        if isinstance(record, Deletion):
            if batch:
                yield position - len(batch), batch
                batch = []
            yield position, record
        else:
            batch.append(record)
        position += 1
        if len(batch) == BATCH:
            yield position - BATCH, batch
            batch = []
    if batch:
        yield position - len(batch), batch


def index_source(
    writer: Any,
    source: Source,
    order: int,
    *,
    skip_bad: bool,
    progress: Callable[[int], None] | None = None,
    ids: list[str] | None = None,
    encoder: ArticleEncoder | None = None,
) -> ShardReport:
    """Add the articles of a source, number ``order`` of the corpus, to a Lucene writer, without committing.

    ``encoder`` adds vectors to the articles. ``progress`` is called with the number of articles in each batch; the id of each
    record is appended to ``ids``.

    Raises:
        SourceError: the source cannot be read, or contains a malformed record and ``skip_bad`` is not set.
    """
    add = java("bioqa.DocumentWriter").add
    size, md5 = _verified_checksum(source.file)
    skipped = _SkippedRecords()
    records = read_source(source, on_bad=skipped.add if skip_bad else None)
    articles, deletions, snapshot = 0, [], ""
    for position, batch in _batches(records, order * SOURCE_POSITIONS):
        if ids is not None:
            ids.extend([batch.id] if isinstance(batch, Deletion) else [article.id for article in batch])
        if isinstance(batch, Deletion):
            deletions.append((batch.id, position))
            continue
        rows = [value for article in batch for value in to_row(article)]
        if encoder is None:
            add(writer, rows, position, pass_by_reference=False)
        else:
            vectors, info = encoded(encoder, batch), encoder.info
            of_vectors = vectors.tobytes(), info.dimension, info.similarity
            add(writer, rows, position, *of_vectors, pass_by_reference=False)
        articles += len(batch)
        snapshot = max(snapshot, *(article.revised for article in batch))
        if progress:
            progress(len(batch))
    entry = SourceEntry(str(source.path), size, md5, articles, len(deletions), skipped.count, order)
    return ShardReport(entry, snapshot, tuple(deletions), tuple(skipped.messages))


def build_shard(source: Source, order: int, folder: Path, ram_mb: float, skip_bad: bool) -> ShardReport:
    """Build a Lucene index of one source at ``folder``; this is what a worker process runs."""
    with open_shard(folder, ram_mb) as writer:
        report = index_source(writer, source, order, skip_bad=skip_bad)
        java("bioqa.Writer").commit(writer, [])
    return report


@contextmanager
def open_shard(folder: Path, ram_mb: float) -> Iterator[Any]:
    """A writer of a new shard that never merges segments: the index that it is added to does."""
    folder.mkdir(parents=True, exist_ok=True)
    with java_lock:
        writer = java("bioqa.Writer").openShard(str(folder.absolute()), index_analyzer(), ram_mb)
    try:
        yield writer
    finally:
        java("bioqa.Writer").close(writer)  # commits stay
