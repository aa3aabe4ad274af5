"""One corpus file → documents in a Lucene writer: in this process, or in a worker process that makes a shard of its own."""

import hashlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import Source
from bioqa.errors import RecordError, SourceError
from bioqa.index.document import cells
from bioqa.index.jvm import java, limit_memory
from bioqa.index.manifest import SourceEntry
from bioqa.types import Deletion

BATCH = 512
PLACES = 1 << 32
"""Records that one source can hold: the place of a record in the corpus is its source's number times this, plus its own."""
SHOWN = 20
"""Skipped records that are described; the rest are counted."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of reading one source: its entry, latest revision date, deletions (PMID, place), messages on skipped records."""

    entry: SourceEntry
    snapshot: str
    deletions: tuple[tuple[str, int], ...]
    messages: tuple[str, ...]


def checksum(path: Path) -> tuple[int, str]:
    """Size in bytes and md5 in hex of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "md5").hexdigest()


def _checked(path: Path) -> tuple[int, str]:
    """``checksum``, compared with the .md5 file beside the file where there is one, as NLM puts it there."""
    size, md5 = checksum(path)
    beside = path.with_name(f"{path.name}.md5")
    if beside.is_file():
        found = re.search(r"\b[0-9a-fA-F]{32}\b", beside.read_text(encoding="utf-8", errors="replace"))
        if not found:
            raise SourceError(f"{beside} holds no md5 checksum. Fetch it again, or remove it.")
        if found.group().lower() != md5:
            raise SourceError(f"{path} does not have the checksum in {beside.name}: it is damaged. Fetch it again.")
    return size, md5


def take(
    writer: Any,
    source: Source,
    order: int,
    *,
    skip_bad: bool,
    progress: Callable[[int], None] | None = None,
    ids: list[str] | None = None,
) -> Taken:
    """Read a source into a Lucene writer, without committing. ``progress`` is told of each batch of articles, ``ids``
    gets the id of each record.

    Raises:
        SourceError: the source cannot be read, or holds a malformed record and ``skip_bad`` is not set.
    """
    add = java("bioqa.Bulk").add
    size, md5 = _checked(source.file)
    messages: list[str] = []
    skipped = 0

    def on_bad(problem: RecordError) -> None:
        nonlocal skipped
        skipped += 1
        if skipped <= SHOWN:
            messages.append(str(problem))

    batch: list[str] = []
    place = begin = order * PLACES
    articles, deletions, snapshot = 0, [], ""

    def flush() -> None:
        nonlocal batch, articles
        if batch:
            add(writer, batch, begin)
            count = place - begin
            articles += count
            batch = []
            if progress:
                progress(count)

    for record in read_source(source, on_bad=on_bad if skip_bad else None):
        if ids is not None:
            ids.append(record.id)
        if isinstance(record, Deletion):
            flush()
            deletions.append((record.id, place))
            place += 1
            begin = place
            continue
        batch += cells(record)
        snapshot = max(snapshot, record.revised)
        place += 1
        if place - begin == BATCH:
            flush()
            begin = place
    flush()
    entry = SourceEntry(str(source.path), size, md5, articles, len(deletions), skipped, order)
    return Taken(entry, snapshot, tuple(deletions), tuple(messages))


def open_directory(path: Path) -> Any:
    """The Lucene directory of a folder."""
    return java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(path.absolute())))


def start_worker(memory_mb: int, parent: int) -> None:
    """Make a worker of the process ``parent`` ready: its share of memory, and an end with its parent, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    limit_memory(memory_mb)

    def watch() -> None:  # the parent may have been killed before this began
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def build_shard(source: Source, order: int, folder: Path, ram_mb: float, skip_bad: bool) -> Taken:
    """Build a Lucene index of one source at ``folder``; what a worker process does."""
    from bioqa.index.document import analyzer

    with open_shard(folder, ram_mb, analyzer()) as writer:
        taken = take(writer, source, order, skip_bad=skip_bad)
        writer.commit()
    return taken


@contextmanager
def open_shard(folder: Path, ram_mb: float, analyzer: Any) -> Iterator[Any]:
    """A writer of a new shard that never merges: the index it goes into does."""
    folder.mkdir(parents=True, exist_ok=True)
    config = java("org.apache.lucene.index.IndexWriterConfig")(analyzer)
    config.setOpenMode(java("org.apache.lucene.index.IndexWriterConfig$OpenMode").CREATE)
    config.setRAMBufferSizeMB(ram_mb)
    config.setUseCompoundFile(False)
    config.setMergePolicy(java("org.apache.lucene.index.NoMergePolicy").INSTANCE)
    directory = open_directory(folder)
    writer = java("org.apache.lucene.index.IndexWriter")(directory, config)
    try:
        yield writer
    finally:
        writer.rollback()  # what was committed stays
        directory.close()
