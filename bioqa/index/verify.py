"""Is an index sound: every byte against Lucene's checksums and structures, and the counts against its manifest."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import gaps
from bioqa.index.jvm import java, java_exception
from bioqa.index.reader import Index
from bioqa.index.shard import open_directory


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found: articles, faults (none where the index is sound), and warnings that are no damage."""

    documents: int
    faults: tuple[str, ...]
    warnings: tuple[str, ...]


def verify_index(path: str | Path) -> Verdict:
    """Check an index: Lucene's CheckIndex over every segment, document counts against the manifest, gaps in PubMed's files.

    Raises:
        IndexStateError: ``path`` is missing or no index at all.
    """
    path = Path(path)
    with Index(path) as index:
        documents, manifest = len(index), index.manifest
    faults = _lucene_faults(path)
    if documents != manifest.documents:
        faults.append(f"It holds {documents:,} articles, and {manifest.documents:,} when it was written.")
    warnings = tuple(
        f"{name} is missing among the files taken in." for name in gaps([e.path for e in manifest.sources])
    )
    return Verdict(documents, tuple(faults), warnings)


def _lucene_faults(path: Path) -> list[str]:
    failure = java_exception()
    checker = None
    try:
        checker = java("org.apache.lucene.index.CheckIndex")(open_directory(path))
        status = checker.checkIndex()
        if status.clean:
            return []
        return [
            f"Lucene finds {status.numBadSegments or 'its list of segments'} damaged ({status.totLoseDocCount:,} articles)."
        ]
    except failure as problem:
        return [f"Lucene cannot read it: {getattr(problem, 'innermessage', '') or problem}"]
    finally:
        if checker is not None:
            checker.close()
