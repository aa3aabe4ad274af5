"""Read the records of a corpus file of any format; lxml and pyarrow are imported only when a file needs them."""

from collections.abc import Iterator
from typing import get_args

from bioqa.arguments import check_path, shown
from bioqa.corpus.jsonl import read_jsonl
from bioqa.corpus.sources import Format, Source
from bioqa.errors import UsageError
from bioqa.io.bad_records import BadRecordHandler
from bioqa.types import Article, Deletion


def read_source(source: Source, *, on_bad: BadRecordHandler | None = None) -> Iterator[Article | Deletion]:
    """Yield the records of a source, or of the part of it that is meant, in the order of the file.

    ``on_bad`` is called with the RecordError of each malformed record, which is then skipped; if it is None, the first malformed
    record raises that error. Only PubMed files have deletions.

    Raises:
        SourceError: the file cannot be read to its end: missing, empty, truncated, invalid XML, in another format. Records before
            the error may have been yielded.
        RecordError: a malformed record, if ``on_bad`` is None. The message names the file and the record, line or row.
        UsageError: ``source`` is none of ``expand_sources``, or ``on_bad`` is no function.
    """
    if not isinstance(source, Source):
        raise UsageError(f"source must be a Source, not {shown(source)}. Get one from a path with expand_sources.")
    if source.format not in get_args(Format):
        raise UsageError(
            f"Unknown format {source.format!r} of {source.path}. Choose from {', '.join(get_args(Format))}."
        )
    source = source._replace(path=check_path("source.path", source.path))
    if on_bad is not None and not callable(on_bad):
        raise UsageError("on_bad must be a function that is called with each RecordError, or None.")
    if source.format == "pubmed":
        from bioqa.corpus.pubmed import read_pubmed

        return read_pubmed(source.file, on_bad)
    if source.format == "parquet":
        from bioqa.corpus.parquet import read_parquet

        return read_parquet(source.file, on_bad, source.part and (source.part.begin, source.part.end))
    return read_jsonl(source.file, on_bad, source.part and (source.part.begin, source.part.end))
