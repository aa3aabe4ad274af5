"""The records of one corpus file, whatever its format; lxml and pyarrow are imported only when such a file is read."""

from collections.abc import Iterator

from bioqa.corpus.errors import OnBad
from bioqa.corpus.jsonl import read_jsonl
from bioqa.corpus.sources import Source
from bioqa.types import Article, Deletion


def read_source(source: Source, *, on_bad: OnBad | None = None) -> Iterator[Article | Deletion]:
    """Yield the records of a source in the order of the file.

    ``on_bad`` is called with the RecordError of each malformed record, which is then left out; where it is None, the
    first malformed record raises that error. Only PubMed files hold deletions.

    Raises:
        SourceError: the file cannot be read to its end: missing, empty, truncated, broken XML, of another format.
            Records before the fault may have been yielded by then.
        RecordError: a malformed record, where ``on_bad`` is None. The message names the file and the record or line.
    """
    if source.format == "pubmed":
        from bioqa.corpus.pubmed import read_pubmed

        return read_pubmed(source.file, on_bad)
    if source.format == "parquet":
        from bioqa.corpus.parquet import read_parquet

        return read_parquet(source.file, on_bad)
    return read_jsonl(source.file, on_bad)
