"""The abstract of a PubMed citation in BioASQ's text space, with its sections."""

from bioqa.corpus.markup import Element, collapse, text_of
from bioqa.types import Section


def abstract_of(abstract: Element | None) -> tuple[str, tuple[Section, ...]]:
    """The text of an ``Abstract`` element in BioASQ's text space, and its sections.

    The AbstractText parts are joined with no separator, a labelled one as "LABEL: text". A single part without a label has no
    sections. If there are several parts, each is a section; one without a label has label "" and ``text_begin`` equal to ``begin``.
    A part without text is dropped, unless it has a label and further parts follow (NLM cuts "ClinicalTrials.gov ID: …" into
    an empty CLINICALTRIALS and GOV ID). CopyrightInformation is not part of the text.
    """
    if abstract is None:
        return "", ()
    parts = [
        (collapse(part.get("Label") or ""), part.get("NlmCategory") or "", text_of(part))
        for part in abstract.iterchildren("AbstractText")
    ]
    while parts and not parts[-1][2]:
        parts.pop()
    return _join(parts)


def _join(parts: list[tuple[str, str, str]]) -> tuple[str, tuple[Section, ...]]:
    pieces: list[str] = []
    sections: list[Section] = []
    begin = 0
    for label, category, text in parts:
        head = f"{label}: " if label else ""
        if not head and not text:
            continue
        pieces.append(head + text)
        end = begin + len(pieces[-1])
        sections.append(Section(label, category, begin, begin + len(head), end))
        begin = end
    if len(sections) == 1 and not sections[0].label:
        sections = []
    return "".join(pieces), tuple(sections)
