"""Phase A files as the official measures read them: URLs and offsets are kept as they are in the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.corpus.questions import check_ids, question_id, question_records, read_json
from bioqa.errors import QuestionError


class Span(NamedTuple):
    """The place of a snippet: the document's URL, the sections in which it begins and ends, and its offsets there.

    ``end`` is ``begin - 1`` or more; most files mean it as exclusive, the official measures as inclusive. Where a file does not
    give all of them, the sections are "" and the offsets 0, and the place is unknown.
    """

    document: str
    begin_section: str
    end_section: str
    begin: int
    end: int

    @property
    def is_known(self) -> bool:
        """Whether the file gives the place."""
        return bool(self.begin_section)


@dataclass(frozen=True, slots=True)
class PhaseAAnswer:
    """The documents (URLs) and snippets for one question: best first in a submission, in any order in a gold file."""

    id: str
    documents: tuple[str, ...] = ()
    snippets: tuple[Span, ...] = ()


def read_phase_a(path: str | Path) -> list[PhaseAAnswer]:
    """The answers in a submission or a gold file, plain or gzipped, in the file's order.

    Bodies and types can be missing, and so can the sections and offsets of snippets, whose place is then unknown.

    Raises:
        QuestionError: the file cannot be read, is not in BioASQ's format, or two questions have the same id.
    """
    path = Path(path)
    answers = [_answer(path, where, record) for where, record in question_records(path, read_json(path))]
    if not answers:
        raise QuestionError(f"{path} has no questions.")
    check_ids(path, (answer.id for answer in answers))
    return answers


def _answer(path: Path, where: str, record: dict[str, Any]) -> PhaseAAnswer:
    id = question_id(path, where, record.get("id"))
    snippets = (_span(f"{path}, {where} ({id}), snippet {n}", s) for n, s in enumerate(record["snippets"], start=1))
    return PhaseAAnswer(id, tuple(record["documents"]), tuple(snippets))


_PLACE = {
    "document": str,
    "beginSection": str,
    "endSection": str,
    "offsetInBeginSection": int,
    "offsetInEndSection": int,
}


def _span(where: str, record: dict[str, Any]) -> Span:
    for name, kind in _PLACE.items():
        value = record.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            what = "text" if kind is str else "an integer"
            raise QuestionError(f"{where}: {name} must be {what}. `bioqa bioasq validate` lists all problems.")
    document, begin_section, end_section, begin, end = (record.get(name) for name in _PLACE)
    if not (document and begin_section and end_section) or begin is None or end is None:
        return Span(document or "", "", "", 0, 0)
    if end < begin - 1:
        raise QuestionError(f"{where}: its end, {end}, is before its beginning, {begin}.")
    return Span(document, begin_section, end_section, begin, end)
