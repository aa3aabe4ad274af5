"""What a phase A file says of each question, as the official measures read it: URLs and offsets as they stand there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.corpus.questions import check_ids, question_id, question_records, read_json
from bioqa.errors import QuestionError


class Span(NamedTuple):
    """Where a snippet stands: the document's URL, the sections it begins and ends in, and its offsets there.

    ``end`` is what the file says: exclusive in most, inclusive for the official measures; it is ``begin - 1`` or more.
    """

    document: str
    begin_section: str
    end_section: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The documents (URLs) and snippets of one question, best first in a system's file; gold files have them in any order."""

    id: str
    documents: tuple[str, ...] = ()
    snippets: tuple[Span, ...] = ()


def read_answers(path: str | Path) -> list[Answer]:
    """The answers of a phase A file or gold file, in its order, plain or gzipped; body and type are not needed.

    Raises:
        QuestionError: the file cannot be read, is not in BioASQ's form, or two questions have one id.
    """
    path = Path(path)
    answers = [_answer(path, where, record) for where, record in question_records(path, read_json(path))]
    if not answers:
        raise QuestionError(f"{path} holds no question.")
    check_ids(path, (answer.id for answer in answers))
    return answers


def _answer(path: Path, where: str, record: dict[str, Any]) -> Answer:
    id = question_id(path, where, record.get("id"))
    snippets = (_span(f"{path}, {where} ({id}), snippet {n}", s) for n, s in enumerate(record["snippets"], start=1))
    return Answer(id, tuple(record["documents"]), tuple(snippets))


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
            what = "text" if kind is str else "a whole number"
            raise QuestionError(f"{where}: {name} must be {what}. `bioqa bioasq validate` lists all such problems.")
    span = Span(*(record[name] for name in names))
    if span.end < span.begin - 1:
        raise QuestionError(f"{where}: it ends at {span.end}, before it begins at {span.begin}.")
    return span
