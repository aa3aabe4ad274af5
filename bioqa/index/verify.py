"""Check an index: every byte against Lucene's checksums and structures, and the counts against its manifest."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import gaps
from bioqa.index.jvm import java, java_exception
from bioqa.index.reader import Index
from bioqa.index.shard import open_directory


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a check: the number of articles, errors (none if the index is intact), and warnings about missing files."""

    documents: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def verify_index(path: str | Path) -> VerifyReport:
    """Check an index: Lucene's CheckIndex on every segment, document counts against the manifest, gaps in PubMed's files.

    Raises:
        IndexStateError: ``path`` is missing or not an index.
    """
    path = Path(path)
    with Index(path) as index:
        documents, manifest = len(index), index.manifest
    errors = _lucene_errors(path)
    if documents != manifest.documents:
        errors.append(f"The index contains {documents:,} articles, but its manifest says {manifest.documents:,}.")
    missing = gaps([entry.path for entry in manifest.sources])
    return VerifyReport(documents, tuple(errors), tuple(f"Gap in the files: {name} is missing." for name in missing))


def _lucene_errors(path: Path) -> list[str]:
    failure = java_exception()
    checker = None
    try:
        checker = java("org.apache.lucene.index.CheckIndex")(open_directory(path))
        status = checker.checkIndex()
        if status.clean:
            return []
        damaged = f"{status.numBadSegments} segments are" if status.numBadSegments else "the list of segments is"
        return [f"Lucene reports that {damaged} damaged ({status.totLoseDocCount:,} articles lost)."]
    except failure as problem:
        return [f"Lucene cannot read the index: {getattr(problem, 'innermessage', '') or problem}"]
    finally:
        if checker is not None:
            checker.close()
