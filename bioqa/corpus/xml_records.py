"""The records of an XML file, parsed as a stream: each becomes a small tree that is freed once read.

No DTD is fetched and no entity is expanded; a file that declares its own entities (NLM's never do) is an error.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bioqa.corpus.markup import Element
from bioqa.errors import SourceError
from bioqa.io.text_files import read_chunks

_ROOT_BYTES = 4096
_TAIL_BYTES = 1024
MAX_RECORD_BYTES = 1 << 24
"""How much XML may pass without the end of a record; those with most, of 15,000 authors, have less than half of it."""


def xml_records(
    path: Path,
    records_of_root: Mapping[str, tuple[str, ...]],
    unknown_root: Callable[[str], None],
    several_roots: Callable[[Path, str, bytes], Exception | None] = lambda path, root, end: None,
) -> Iterator[Element]:
    """Yield the element of each record once it is complete; it is freed when the next is requested.

    ``records_of_root`` has the tags of the records under each root. ``unknown_root`` is called with the name of any other root, and
    nothing is yielded. ``several_roots`` gets the path, the root and what was read last, and returns the error for a file that goes
    on after its root, if that is what is wrong with it.

    Raises:
        SourceError: the file is missing, empty, truncated or invalid XML, declares entities, or has more than
            ``MAX_RECORD_BYTES`` without the end of a record.
    """
    from lxml import etree

    parser: Any = None
    root, end = "", b""
    done = last = 0
    try:
        for chunk in read_chunks(path):
            if parser is None:
                root = _root(path, chunk)
                if root not in records_of_root:
                    unknown_root(root)
                    return
                parser = _parser(("end",), records_of_root[root])
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
        raise several_roots(path, root, end) or _invalid_xml(path, parser, error) from None


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
