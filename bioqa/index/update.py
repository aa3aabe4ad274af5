"""Keep an index current: PubMed's daily update files, taken in once each, in order, all of a call in one commit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import Source, expand_sources, gaps, pubmed_number
from bioqa.errors import IndexStateError, SourceError, UsageError
from bioqa.index.manifest import Manifest
from bioqa.index.reader import Index
from bioqa.index.shard import checksum, take
from bioqa.index.writer import RAM_BUFFER_MB, latest_manifest, open_writer, resolve


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """What an update did: articles in the index now and before, records read, files taken in, files known already, seconds.

    ``replaced`` counts the records that lost to another of the same PMID, or were deleted.
    """

    documents: int
    documents_before: int
    articles: int
    deletions: int
    skipped: int
    replaced: int
    files: int
    files_known: int
    seconds: float


def update_index(
    path: str | Path,
    sources: Sequence[str | Path],
    *,
    skip_bad: bool = False,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> UpdateReport:
    """Take update files into the index at ``path``: revisions replace, DeleteCitation deletes, older versions change nothing.

    Files that the index holds already are left out. Everything else of a call appears in one commit; until then, and where the
    call fails, searches see the index as it was. ``note`` is told of skipped records and of gaps in PubMed's numbering.

    Raises:
        SourceError: a file cannot be read, or differs from the one of its name taken in before.
        IndexStateError: there is no finished index, or another program is writing it.
        UsageError: a PubMed file comes before one that is in the index.
    """
    started = time.monotonic()
    path, note = Path(path), note or (lambda text: None)
    with Index(path) as index:
        before, manifest = len(index), index.manifest
    latest = latest_manifest(path)
    if latest is not None and latest.state != "complete":
        raise IndexStateError(f"{path} is being built anew. Finish that build first: run its command again.")
    found = expand_sources(sources)
    new = _new(manifest, found)
    for name in gaps([*(entry.path for entry in manifest.sources), *(source.path for source in new)]):
        note(f"Gap in the files: {name} is missing. Its records are not in the index.")
    if not new:
        return UpdateReport(before, before, 0, 0, 0, 0, 0, len(found), time.monotonic() - started)
    ids: list[str] = []
    first = max((entry.order for entry in manifest.sources), default=-1) + 1
    taken = []
    with open_writer(path, create=False, ram_mb=RAM_BUFFER_MB) as writer:
        for order, source in enumerate(new, start=first):
            one = take(writer, source, order, skip_bad=skip_bad, progress=progress, ids=ids)
            taken.append(one)
            manifest = manifest.with_source(one.entry, one.snapshot, list(one.deletions))
            for message in one.messages:
                note(f"Skipped: {message}")
        replaced = resolve(writer, ids, manifest.deletions)
        documents = int(writer.getDocStats().numDocs)
        writer.setLiveCommitData(manifest.completed(documents).to_user_data())
        writer.commit()
    return UpdateReport(
        documents=documents,
        documents_before=before,
        articles=sum(one.entry.articles for one in taken),
        deletions=sum(one.entry.deletions for one in taken),
        skipped=sum(one.entry.skipped for one in taken),
        replaced=replaced,
        files=len(new),
        files_known=len(found) - len(new),
        seconds=time.monotonic() - started,
    )


def _new(manifest: Manifest, sources: Sequence[Source]) -> list[Source]:
    """The sources that the index does not hold, in PubMed's order."""
    known = {Path(entry.path).name: entry for entry in manifest.sources}
    numbers = [number for number in (pubmed_number(entry.path) for entry in manifest.sources) if number]
    last = max(numbers, default=(0, 0))
    new = []
    for source in sources:
        entry = known.get(source.path.name)
        number = pubmed_number(source.path)
        if entry is not None and checksum(source.file) == (entry.size, entry.md5):
            continue
        if entry is not None:
            raise SourceError(
                f"{source.path} differs from the file of that name in the index. Fetch it again, or build anew."
            )
        if number and number < last:
            raise UsageError(
                f"{source.path} comes before pubmed{last[0]:02}n{last[1]:04}, which is in the index: records that it would "
                "bring may have been replaced since. Build anew to take it in."
            )
        new.append(source)
    return sorted(new, key=lambda source: pubmed_number(source.path) or (0, 0))
