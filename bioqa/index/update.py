"""Update an index with PubMed's daily files: each is indexed once, in order, and all files of a call appear in one commit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import Source, expand_sources, gaps, pubmed_number
from bioqa.errors import IndexStateError, SourceError, UsageError
from bioqa.index.manifest import Manifest
from bioqa.index.reader import Index
from bioqa.index.shard import ShardReport, checksum, index_source
from bioqa.index.writer import RAM_BUFFER_MB, keep_latest_records, latest_manifest, open_writer


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """The result of an update: articles in the index after and before it, records read, new and already indexed files, seconds.

    ``replaced`` counts the records that were deleted, or replaced by another record of the same PMID.
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
    """Add update files to the index at ``path``: revisions replace, DeleteCitation deletes, older versions are ignored.

    Files that are already indexed are skipped. The others appear in one commit; until then, and if the call fails, searches see
    the index as it was. ``note`` is called with a message for each skipped record and each gap in PubMed's file sequence,
    ``progress`` with the number of articles in each batch.

    Raises:
        SourceError: a file cannot be read, or differs from the indexed file of the same name.
        IndexStateError: there is no finished index, or another program is writing it.
        UsageError: a PubMed file comes before one that is already indexed.
    """
    started = time.monotonic()
    path, note = Path(path), note or (lambda text: None)
    with Index(path) as index:
        before, manifest = len(index), index.manifest
    latest = latest_manifest(path)
    if latest is not None and latest.state != "complete":
        raise IndexStateError(f"{path} is being rebuilt. Finish that build first: run its command again.")
    found = expand_sources(sources)
    new = _new_sources(manifest, found)
    for name in gaps([*(entry.path for entry in manifest.sources), *(source.path for source in new)]):
        note(f"Gap in the files: {name} is missing. Its records are not in the index.")
    if not new:
        return UpdateReport(before, before, 0, 0, 0, 0, 0, len(found), time.monotonic() - started)
    ids: list[str] = []
    first = max((entry.order for entry in manifest.sources), default=-1) + 1
    reports: list[ShardReport] = []
    with open_writer(path, create=False, ram_mb=RAM_BUFFER_MB) as writer:
        for order, source in enumerate(new, start=first):
            report = index_source(writer, source, order, skip_bad=skip_bad, progress=progress, ids=ids)
            reports.append(report)
            manifest = manifest.with_source(report.entry, report.snapshot, list(report.deletions))
            for message in report.messages:
                note(f"Skipped: {message}")
        replaced = keep_latest_records(writer, ids, manifest.deletions)
        documents = int(writer.getDocStats().numDocs)
        writer.setLiveCommitData(manifest.completed(documents).to_user_data())
        writer.commit()
    return UpdateReport(
        documents=documents,
        documents_before=before,
        articles=sum(report.entry.articles for report in reports),
        deletions=sum(report.entry.deletions for report in reports),
        skipped=sum(report.entry.skipped for report in reports),
        replaced=replaced,
        files=len(new),
        files_known=len(found) - len(new),
        seconds=time.monotonic() - started,
    )


def _new_sources(manifest: Manifest, sources: Sequence[Source]) -> list[Source]:
    """The sources that are not yet indexed, in PubMed's order."""
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
                f"{source.path} differs from the indexed file of the same name. Fetch it again, or rebuild the index."
            )
        if number and number < last:
            raise UsageError(
                f"{source.path} comes before pubmed{last[0]:02}n{last[1]:04}, which is already indexed and may have replaced its "
                "records. Rebuild the index to include it."
            )
        new.append(source)
    return sorted(new, key=lambda source: pubmed_number(source.path) or (0, 0))
