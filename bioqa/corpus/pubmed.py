"""PubMed XML (https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd): citations, book chapters and deletions.

A file is parsed as a stream, by the rules of ``xml_records``.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bioqa.corpus.check_article import checked
from bioqa.corpus.citation import book_to_article, citation_to_article, pmid_of
from bioqa.corpus.markup import Element
from bioqa.corpus.xml_records import xml_records
from bioqa.errors import SourceError
from bioqa.io.bad_records import BadRecordHandler, MalformedError, skip_or_raise
from bioqa.types import Article, Deletion

_RECORDS_OF_ROOT = {
    "PubmedArticleSet": ("PubmedArticle", "PubmedBookArticle", "DeleteCitation", "DeleteDocument"),
    "PubmedArticle": ("PubmedArticle",),
    "PubmedBookArticleSet": ("PubmedBookArticle", "DeleteDocument"),
    "PubmedBookArticle": ("PubmedBookArticle",),
    "BookDocumentSet": ("BookDocument", "DeleteDocument"),
    "MedlineCitationSet": ("MedlineCitation", "DeleteCitation"),
    "MedlineCitation": ("MedlineCitation",),
}
_DELETIONS = {"DeleteCitation", "DeleteDocument"}
_SECOND_ROOT = re.compile(rb"</(\w+)\s*>\s*<(?:\?xml|!DOCTYPE|(\w+))\b")


def read_pubmed(path: Path, on_bad: BadRecordHandler | None = None) -> Iterator[Article | Deletion]:
    """Yield the citations, book chapters and deletions of a PubMed XML file, gzipped or not, in the order of the file.

    The root must be PubmedArticleSet, MedlineCitationSet (before 2017), a set of book articles, or a single record. A citation that
    the file has in several versions is yielded once for each.

    Raises:
        SourceError: the file is missing, empty, truncated or invalid XML, has no or several roots, declares entities, or has more
            than ``MAX_RECORD_BYTES`` without the end of a record.
        RecordError: a record has no valid PMID or no content, if ``on_bad`` is None. The message counts records from 1, each
            PMID of a DeleteCitation as one. A file with another root is one such record.
    """

    def unknown_root(root: str) -> None:
        known = "PubmedArticleSet, MedlineCitationSet or a single PubmedArticle"
        message = f"{path} is not PubMed XML: its root element is {root}, not {known}."
        skip_or_raise(f"{message} Check the file, or skip bad records.", on_bad)

    number = 0
    for element in xml_records(path, _RECORDS_OF_ROOT, unknown_root, _several_roots):
        deletion = element.tag in _DELETIONS
        for record in element.iterchildren("PMID") if deletion else (element,):
            number += 1
            try:
                item = Deletion(pmid_of(record)) if deletion else _article(record)
            except MalformedError as error:
                where = f"{path}, record {number} (line {record.sourceline})"
                skip_or_raise(f"{where}: {error}. Correct the record, or skip bad records.", on_bad)
            else:
                yield item


def _article(element: Element) -> Article:
    tag = element.tag
    if tag == "PubmedArticle":
        return checked(citation_to_article(element.find("MedlineCitation"), element.find("PubmedData")))
    if tag == "MedlineCitation":
        return checked(citation_to_article(element, None))
    return checked(book_to_article(element if tag == "BookDocument" else element.find("BookDocument")))


def _several_roots(path: Path, root: str, end: bytes) -> SourceError | None:
    """The error for a file that goes on after its root with more records or another file; None if that is not so.

    ``end`` is what was read last.
    """
    for found in _SECOND_ROOT.finditer(end):
        closed, opened = found[1].decode(), (found[2] or b"").decode()
        if closed == root and opened == root and not root.endswith("Set"):
            return SourceError(
                f"{path} has {root} elements without a root around them, such as efetch's output without its header. "
                f"Put <{root}Set> before the first and </{root}Set> after the last."
            )
        if closed == root and (not opened or opened in _RECORDS_OF_ROOT):
            return SourceError(
                f"{path} is several PubMed files, one after the other, such as efetch's output for several requests. Save each "
                f"as its own file; if each starts on a line, csplit -z -b %04d.xml {path.name} '/^<?xml/' '{{*}}' does so."
            )
    return None
