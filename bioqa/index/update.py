"""Update an index with PubMed's daily files: each is indexed once, in order, and all files of a call appear in one commit."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import Source, expand_sources, gaps, pubmed_number
from bioqa.errors import SourceError, UsageError
from bioqa.index.article_encoder import ArticleEncoder, same_vectors
from bioqa.index.manifest import Manifest
from bioqa.index.reader import Index
from bioqa.index.shard import ShardReport, checksum, index_source
from bioqa.index.writer import (
    RAM_BUFFER_MB,
    commit,
    compact,
    complete_manifest,
    deleted_share,
    document_count,
    keep_latest_records,
    open_writer,
)

COMPACT_ABOVE = 0.1
"""The share of deleted documents above which an update merges them away."""


@dataclass(frozen=True, slots=True)
class UpdateReport:
    """The result of an update: articles in the index after and before it, records read, new and already indexed files, seconds.

    ``replaced`` counts the records that were deleted, or replaced by another record of the same PMID; ``without_vector`` counts the
    articles without a vector in an index with vectors.
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
    without_vector: int = 0


def update_index(
    path: str | Path,
    sources: Sequence[str | Path],
    *,
    skip_bad: bool = False,
    compact_above: float = COMPACT_ABOVE,
    encoder: ArticleEncoder | None = None,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> UpdateReport:
    """Add update files to the index at ``path``: revisions replace, DeleteCitation deletes, older versions are ignored.

    Files that are already indexed are skipped. The others appear in one commit; until then, and if the call fails, searches see
    the index as it was. Deleted documents still count in BM25's statistics; if their share is above ``compact_above`` (0 to 1),
    they are merged away. ``encoder``, which must be the one that made the index's vectors, makes those of new and revised articles;
    without it, these have none. ``note`` is called with a message for each skipped record and each gap in PubMed's file sequence,
    ``progress`` with the number of articles in each batch.

    Raises:
        SourceError: a file cannot be read, or differs from the indexed file of the same name.
        IndexStateError: there is no finished index, or another program is writing it.
        UsageError: a PubMed file comes before one that is already indexed, or ``encoder`` is another one.
    """
    started = time.monotonic()
    path, note = Path(path), note or (lambda text: None)
    found = expand_sources(sources)
    with Index(path) as index:
        if not _new_sources(index.manifest, found):
            size = len(index)
            return UpdateReport(size, size, 0, 0, 0, 0, 0, len(found), time.monotonic() - started)
    ids: list[str] = []
    reports: list[ShardReport] = []
    with open_writer(path, create=False, ram_mb=RAM_BUFFER_MB) as writer:
        manifest = complete_manifest(
            path
        )  # under the lock: another update may have committed since the index was opened
        before = manifest.documents
        if encoder is not None and not same_vectors(manifest.vectors, encoder.info):
            raise UsageError(
                f"The vectors of {path} were not made by {encoder.info.model}. Give the encoder that made them."
            )
        new = _new_sources(manifest, found)
        for name in gaps([*(entry.path for entry in manifest.sources), *(source.path for source in new)]):
            note(f"Gap in the files: {name} is missing. Its records are not in the index.")
        first = max((entry.order for entry in manifest.sources), default=-1) + 1
        for order, source in enumerate(new, start=first):
            report = index_source(writer, source, order, skip_bad=skip_bad, progress=progress, ids=ids, encoder=encoder)
            reports.append(report)
            manifest = manifest.with_source(report.entry, report.snapshot, list(report.deletions))
            for message in report.messages:
                note(f"Skipped: {message}")
        replaced = keep_latest_records(writer, ids, manifest.deletions)
        if deleted_share(writer) > compact_above:
            compact(writer)
        documents = document_count(writer)
        commit(writer, manifest.completed(documents))
    return UpdateReport(
        without_vector=_without_vector(path) if manifest.vectors else 0,
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


def _without_vector(path: Path) -> int:
    with Index(path) as index:
        return len(index) - index.info().with_vector


@dataclass(frozen=True, slots=True)
class CompactReport:
    """The result of a compaction: deleted documents that were merged away, and articles in the index."""

    deleted: int
    documents: int


def compact_index(path: str | Path) -> CompactReport:
    """Merge the deleted documents of an index away.

    Afterwards scores are those of an index that was built anew from the same articles.

    Raises:
        IndexStateError: there is no finished index, or another program is writing it.
        OutputError: the index cannot be written.
    """
    path = Path(path)
    with Index(path) as index:
        deleted, documents = index.info().deleted, len(index)
    if deleted:
        with open_writer(path, create=False, ram_mb=RAM_BUFFER_MB) as writer:
            manifest = complete_manifest(path)
            compact(writer)
            commit(writer, manifest)
    return CompactReport(deleted, documents)


def _new_sources(manifest: Manifest, sources: Sequence[Source]) -> list[Source]:
    """The sources that are not yet indexed, in PubMed's order.

    PubMed's files are known by their names, which are unique; others by path and content.
    """
    names = {Path(entry.path).name: entry for entry in manifest.sources if pubmed_number(entry.path)}
    others = {(Path(entry.path).resolve(), entry.md5) for entry in manifest.sources}
    last = max((number for entry in manifest.sources if (number := pubmed_number(entry.path))), default=(0, 0))
    new = []
    for source in sources:
        number = pubmed_number(source.path)
        if number is None:
            if (source.path.resolve(), checksum(source.file)[1]) not in others:
                new.append(source)
            continue
        entry = names.get(source.path.name)
        if entry is not None and checksum(source.file) == (entry.size, entry.md5):
            continue
        if entry is not None:
            raise SourceError(
                f"{source.path} differs from the indexed file of the same name. Fetch it again, or rebuild the index."
            )
        if number < last:
            raise UsageError(
                f"{source.path} comes before pubmed{last[0]:02}n{last[1]:04}, which is already indexed and may have replaced its "
                "records. Rebuild the index to include it."
            )
        new.append(source)
    return sorted(new, key=lambda source: pubmed_number(source.path) or (0, 0))
