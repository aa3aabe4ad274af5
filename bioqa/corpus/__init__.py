"""Corpus dumps to articles: PubMed XML, JSON lines, BEIR folders and Parquet, all read record by record.

``expand_sources`` turns what a user names (files, folders, globs) into a list of ``Source``; ``read_source`` yields the
``Article`` and ``Deletion`` records of one. Memory does not grow with the corpus. lxml and pyarrow are imported only
when a file of their format is read.
"""

from collections.abc import Iterator

from bioqa.corpus.beir import read_qrels, read_queries
from bioqa.corpus.errors import OnBad
from bioqa.corpus.jsonl import read_jsonl
from bioqa.corpus.sources import Source, expand_sources, gaps, pubmed_number
from bioqa.types import Article, Deletion

__all__ = [
    "OnBad",
    "Source",
    "expand_sources",
    "gaps",
    "pubmed_number",
    "read_qrels",
    "read_queries",
    "read_source",
]


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
