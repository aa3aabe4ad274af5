"""PubMed XML (https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd): citations, book chapters and deletions.

The file is parsed as a stream: each record becomes a small tree that is freed once read. No DTD is fetched and no entity is
expanded; a file that declares its own entities (NLM's never do) is an error.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioqa.corpus.check_article import checked
from bioqa.corpus.citation import book_to_article, citation_to_article, pmid_of
from bioqa.corpus.markup import Element
from bioqa.errors import SourceError
from bioqa.io.bad_records import BadRecordHandler, MalformedError, skip_or_raise
from bioqa.io.text_files import read_chunks
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
_ROOT_BYTES = 4096
MAX_RECORD_BYTES = 1 << 24
"""How much XML may pass without the end of a record; those with most, of 15,000 authors, have less than half of it."""
_SECOND_ROOT = re.compile(rb"</(\w+)\s*>\s*<(?:\?xml|!DOCTYPE|(\w+))\b")
_TAIL_BYTES = 1024


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
    number = 0
    for element in _elements(path, on_bad):
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


def _elements(path: Path, on_bad: BadRecordHandler | None) -> Iterator[Element]:
    """Yield the element of each record once it is complete; it is freed when the next is requested."""
    from lxml import etree

    parser: Any = None
    root, end = "", b""
    done = last = 0
    try:
        for chunk in read_chunks(path):
            if parser is None:
                root = _root(path, chunk)
                if root not in _RECORDS_OF_ROOT:
                    known = "PubmedArticleSet, MedlineCitationSet or a single PubmedArticle"
                    message = f"{path} is not PubMed XML: its root element is {root}, not {known}."
                    skip_or_raise(f"{message} Check the file, or skip bad records.", on_bad)
                    return
                parser = _parser(("end",), _RECORDS_OF_ROOT[root])
            end = end[-_TAIL_BYTES:] + chunk
            done += len(chunk)
            parser.feed(chunk)
            for _, element in parser.read_events():
                last = done
                yield element
                _free(element)
            if done - last > MAX_RECORD_BYTES:
                size = f"{MAX_RECORD_BYTES >> 20} MiB"
                raise SourceError(
                    f"{path}: no record ends in the {size} after the first {last:,} bytes. Check the file."
                )
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _several_roots(path, root, end) or _invalid_xml(path, parser, error) from None


def _parser(events: tuple[str, ...], tags: tuple[str, ...] | None) -> Any:
    from lxml import etree

    # huge_tree stays off: it would also lift libxml2's limits on depth and on expanding entities in attributes
    return etree.XMLPullParser(
        events,
        tag=tags,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        remove_comments=True,
        remove_pis=True,
    )


def _root(path: Path, chunk: bytes) -> str:
    """The name of the root element, which must start in the first chunk of the file."""
    from lxml import etree

    parser = _parser(("start",), None)
    invalid = None
    for begin in range(0, len(chunk) + _ROOT_BYTES, _ROOT_BYTES):
        try:
            if begin < len(chunk):
                parser.feed(chunk[begin : begin + _ROOT_BYTES])
            else:
                parser.close()
        except etree.XMLSyntaxError as error:
            invalid = error
        for _, element in parser.read_events():
            return _checked_root(path, element)
        if invalid is not None:
            break
    raise _invalid_xml(path, parser, invalid)


def _checked_root(path: Path, root: Element) -> str:
    dtd = root.getroottree().docinfo.internalDTD
    if dtd is not None and any(True for _ in dtd.iterentities()):
        raise SourceError(f"{path} declares XML entities, which are not expanded. Replace them with their text.")
    return str(root.tag)


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


def _free(element: Element) -> None:
    element.clear(keep_tail=True)
    parent = element.getparent()
    while parent is not None and parent[0] is not element:
        del parent[0]


def _invalid_xml(path: Path, parser: Any, error: Any) -> SourceError:
    """The error for XML that is not well formed; the parser's log says more than the exception."""
    from lxml import etree

    log = parser.feed_error_log
    if error.code == etree.ErrorTypes.ERR_NO_MEMORY:  # libxml2 keeps at most some 100 MB of names
        return SourceError(f"{path} has too many different XML names, or the memory is full. Check the file.")
    line, column, reason = (log[0].line, log[0].column, log[0].message) if log else (*error.position, error.msg)
    return SourceError(f"{path}: invalid XML at line {line}, column {column}: {reason}. Fetch the file again.")
