"""The text of PubMed XML elements, with inline markup and MathML."""

from collections.abc import Iterator
from typing import Any

from bioqa.io.bad_records import MalformedError

Element = Any  # lxml.etree._Element; lxml carries no types

_XML_SPACE = " \t\r\n"
_TO_SPACE = str.maketrans("\t\r\n", "   ")


def collapse(text: str) -> str:
    """The text with each run of XML white space replaced by one space, and none at both ends.

    Other Unicode spaces (no-break, thin, em) are part of the text: BioASQ's gold snippets contain them.
    """
    if "\n" in text or "  " in text or "\t" in text or "\r" in text:
        text = " ".join(word for word in text.translate(_TO_SPACE).split(" ") if word)
    return text.strip(_XML_SPACE)


def text_of(element: Element | None) -> str:
    """The text of an element, without inline markup and with white space collapsed; "" for None.

    i, b, u, sup and sub leave no trace: "vitamin D<sub>3</sub>" → "vitamin D3". For formulas see ``_math_words``.

    Raises:
        MalformedError: an entity reference that XML itself does not define.
    """
    if element is None:
        return ""
    if not len(element):
        return collapse(element.text or "")
    return collapse("".join(_pieces(element)))


def _pieces(element: Element) -> Iterator[str]:
    yield element.text or ""
    for child in element:
        name = _local_name(child)
        if name == "math":
            yield " ".join(_math_words(child))
        elif name == "DispFormula":  # a formula on a line of its own separates the words around it
            yield " "
            yield from _pieces(child)
            yield " "
        else:
            yield from _pieces(child)
        yield child.tail or ""


def _math_words(node: Element) -> Iterator[str]:
    """Yield the words of a formula in the order in which it is read.

    Every token (mi, mn, mo, mtext) is a word, so "<mi>a</mi><mo>=</mo>" becomes "a =" with or without white space in the XML.
    Annotations (a second copy of the formula, mostly in TeX) are skipped. Prescripts ("³He") come before their base.
    """
    yield from (node.text or "").split()
    children = list(node)
    names = [_local_name(child) for child in children]
    if "mprescripts" in names:
        at = names.index("mprescripts")
        children = children[at + 1 :] + children[: at + 1]
    for child in children:
        if not _local_name(child).startswith("annotation"):
            yield from _math_words(child)
        yield from (child.tail or "").split()


def _local_name(element: Element) -> str:
    tag = element.tag
    if isinstance(tag, str):
        return tag.rpartition("}")[2]
    raise MalformedError(f"the entity {element.text} is not defined in XML")
