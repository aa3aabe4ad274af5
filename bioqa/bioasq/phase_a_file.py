"""Phase A files as the official measures read them: URLs and offsets are kept as they are in the file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.corpus.questions import check_ids, question_id, question_records, read_json
from bioqa.errors import QuestionError


class Span(NamedTuple):
    """The place of a snippet: the document's URL, the sections in which it begins and ends, and its offsets there.

    ``end`` is ``begin - 1`` or more; most files mean it as exclusive, the official measures as inclusive.
    """

    document: str
    begin_section: str
    end_section: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class PhaseAAnswer:
    """The documents (URLs) and snippets for one question: best first in a submission, in any order in a gold file."""

    id: str
    documents: tuple[str, ...] = ()
    snippets: tuple[Span, ...] = ()


def read_phase_a(path: str | Path) -> list[PhaseAAnswer]:
    """The answers in a submission or a gold file, plain or gzipped, in the file's order; bodies and types can be missing.

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


def _span(where: str, record: dict[str, Any]) -> Span:
    names = {
        "document": str,
        "beginSection": str,
        "endSection": str,
        "offsetInBeginSection": int,
        "offsetInEndSection": int,
    }
    for name, kind in names.items():
        if not isinstance(record.get(name), kind) or isinstance(record[name], bool):
            what = "text" if kind is str else "an integer"
            raise QuestionError(f"{where}: {name} must be {what}. `bioqa bioasq validate` lists all problems.")
    span = Span(*(record[name] for name in names))
    if span.end < span.begin - 1:
        raise QuestionError(f"{where}: its end, {span.end}, is before its beginning, {span.begin}.")
    return span
