"""Check an index: every byte against Lucene's checksums and structures, and the counts against its manifest."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.corpus.sources import gaps
from bioqa.errors import IndexStateError
from bioqa.index.java_errors import is_damage, translated
from bioqa.index.jvm import java, java_exception
from bioqa.index.reader import Index, latest_generation


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of a check: the number of articles, errors (none if the index is intact), and warnings about missing files."""

    documents: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def verify_index(path: str | Path) -> VerifyReport:
    """Check an index: Lucene's CheckIndex on every segment, document counts against the manifest, gaps in PubMed's files.

    Nothing is written, so that an index on a read-only disk can be checked.

    Raises:
        IndexStateError: ``path`` is missing or not an index, cannot be read, or is being written by another program.
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
    before = latest_generation(path)
    try:
        damage = java("bioqa.IndexCheck").damage(str(path.absolute()))
        if damage is None:
            return []
        segments, lost = damage
        damaged = f"{segments} segments are" if segments else "the list of segments is"
        errors = [f"Lucene reports that {damaged} damaged ({lost:,} articles lost)."]
    except java_exception() as problem:
        if not is_damage(problem):
            raise translated(problem, path) from problem
        errors = [f"Lucene cannot read the index: {getattr(problem, 'innermessage', '') or problem}"]
    if latest_generation(path) != before:
        raise IndexStateError(
            f"{path} was changed by another program during the check. Check it again when that has finished."
        )
    return errors
