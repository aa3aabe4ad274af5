"""Question files: BioASQ task B JSON, tab-separated ``id<TAB>question``, BEIR ``queries.jsonl`` or the folder that contains it."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bioqa.arguments import check_path, check_type
from bioqa.errors import QuestionError, SourceError
from bioqa.io.bad_records import MalformedError
from bioqa.io.json_text import parse_json
from bioqa.io.text_files import read_whole
from bioqa.types import BIOASQ_URL, Question, Snippet

MAX_WORDS = 1000
MAX_FILE_BYTES = 1 << 28
"""Of a question file, decompressed: it is read whole. BioASQ's largest has 40 MB."""
TYPES = ("factoid", "list", "summary", "yesno")


def check_question(text: str) -> str:
    """The question without surrounding white space.

    Raises:
        QuestionError: it is empty, cannot be encoded as UTF-8, or has more than ``MAX_WORDS`` words (Lucene allows 1,024 clauses
            per query).
        UsageError: it is no text.
    """
    check_type("The question", text, str)
    text = text.strip()
    if not text:
        raise QuestionError("The question is empty. Ask in a sentence or a few keywords.")
    if _has_surrogate(text):
        raise QuestionError("The question has half a character (a lone surrogate). Remove it.")
    words = len(text.split())
    if words > MAX_WORDS:
        raise QuestionError(
            f"The question has {words:,} words; the limit is {MAX_WORDS:,}. Ask in a sentence or a few."
        )
    return text


def document_id(url: str) -> str:
    """The PMID at the end of a BioASQ document URL; text that is not a URL is returned unchanged."""
    return url.rstrip("/").rpartition("/")[2]


def document_url(id: str) -> str:
    """BioASQ's URL of a document."""
    return BIOASQ_URL + id


def is_pmid(text: str) -> bool:
    """Whether the text is a PubMed id: a number in ASCII digits that does not start with 0."""
    return text.isascii() and text.isdecimal() and text[0] != "0"


def read_questions(path: str | Path) -> list[Question]:
    """The questions of a file, plain or gzipped, in the file's order.

    Raises:
        QuestionError: the file is missing, empty or in none of the formats, or a question is malformed; the message names the file
            and the question or line.
        UsageError: ``path`` is no path.
    """
    path = check_path("path", path)
    if os.path.isdir(path):  # noqa: PTH112 - False for impossible names
        path = next((path / name for name in ("queries.jsonl", "queries.jsonl.gz") if (path / name).is_file()), path)
    text = _read(path)
    if not text.strip():
        raise QuestionError(f"{path} is empty: it has no questions.")
    name = path.name.removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        parse = _parse_jsonl
    elif name.endswith(".json") or text.lstrip().startswith("{"):
        parse = _parse_bioasq
    else:
        parse = _parse_tsv
    questions = list(parse(path, text))
    if not questions:
        raise QuestionError(f"{path} has no questions.")
    check_ids(path, (question.id for question in questions))
    return questions


def read_json(path: Path) -> Any:
    """The content of a JSON file, plain or gzipped.

    Raises:
        QuestionError: the file is missing, empty, not UTF-8 or not JSON.
    """
    text = _read(path)
    if not text.strip():
        raise QuestionError(f"{path} is empty: it has no questions.")
    return _json(path, text, "")


def question_records(path: Path, data: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, fields) for each question of a BioASQ file; the place is such as "question 1", the fields are unchanged.

    ``documents`` is a list of texts and ``snippets`` a list of objects in each, empty if the file has none.

    Raises:
        QuestionError: there is no list of questions, or documents or snippets have another type.
    """
    records = data.get("questions") if isinstance(data, dict) else data
    if not isinstance(records, list):
        raise QuestionError(f'{path} is not a BioASQ file: it has no list "questions".')
    for number, record in enumerate(records, start=1):
        where = f"question {number}"
        if not isinstance(record, dict):
            raise QuestionError(f"{path}, {where}: not a JSON object.")
        documents, snippets = record.get("documents") or [], record.get("snippets") or []
        if not _all_of(documents, str) or not _all_of(snippets, dict):
            raise QuestionError(f"{path}, {where}: documents must be a list of URLs, and snippets a list of objects.")
        texts = [*documents, *(text for snippet in snippets for text in snippet.values() if isinstance(text, str))]
        if _has_surrogate("".join(texts)):
            raise QuestionError(
                f"{path}, {where}: a document or snippet has half a character (a lone surrogate). Remove it."
            )
        yield where, record | {"documents": documents, "snippets": snippets}


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _read(path: Path) -> str:
    # Unlike Path.exists, these return False for names that are too long or have a null character.
    if os.path.isdir(path):  # noqa: PTH112
        raise QuestionError(f"{path} is a folder without a queries.jsonl. Name a question file.")
    if not os.path.lexists(path):
        raise QuestionError(f"There is no question file {path}.")
    try:
        data = read_whole(path, MAX_FILE_BYTES)
        return data.decode("utf-8-sig")
    except SourceError as problem:
        raise QuestionError(str(problem)) from None
    except UnicodeDecodeError as problem:
        line = data[: problem.start].count(b"\n") + 1
        raise QuestionError(
            f"{path}, line {line}: byte {problem.start} is not UTF-8. Save the file as UTF-8."
        ) from None


def _parse_tsv(path: Path, text: str) -> Iterator[Question]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        id, tab, body = line.partition("\t")
        if not tab:
            raise QuestionError(f"{path}, line {number}: no tab. Each line is `id<TAB>question`.")
        yield _question(path, f"line {number}", id.strip(), body)


def _parse_jsonl(path: Path, text: str) -> Iterator[Question]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        record = _json(path, line, where)
        if not isinstance(record, dict):
            raise QuestionError(f"{path}, {where}: not a JSON object.")
        id = record.get("_id", record.get("id", record.get("qid")))
        yield _question(path, where, id, record.get("text", record.get("body", record.get("question"))))


def _parse_bioasq(path: Path, text: str) -> Iterator[Question]:
    for where, record in question_records(path, _json(path, text, "")):
        yield _question(
            path,
            where,
            record.get("id"),
            record.get("body"),
            type=record["type"] if isinstance(record.get("type"), str) else "",
            documents=tuple(document_id(url) for url in record["documents"]),
            snippets=tuple(
                _snippet(path, f"{where} ({record.get('id')}), snippet {number}", snippet)
                for number, snippet in enumerate(record["snippets"], start=1)
            ),
        )


def _all_of(values: Any, kind: type) -> bool:
    return isinstance(values, list) and all(isinstance(value, kind) for value in values)


_SNIPPET = {
    "document": str,
    "text": str,
    "beginSection": str,
    "offsetInBeginSection": int,
    "offsetInEndSection": int,
}


def _snippet(path: Path, where: str, record: dict[str, Any]) -> Snippet:
    for name, kind in _SNIPPET.items():
        value = record.get(name)
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            wanted = "text" if kind is str else "a whole number"
            raise QuestionError(
                f"{path}, {where}: {name} is {value!r}, not {wanted}. `bioqa bioasq validate --gold` lists all such problems."
            )
    document, text, section, begin, end = (record.get(name) for name in _SNIPPET)
    if not section or begin is None or end is None:
        section, begin, end = "", 0, 0
    # In BioASQ's own files some titles begin at -1, and some snippets end just before their beginning.
    if begin < -1 or end < begin - 1:
        raise QuestionError(f"{path}, {where}: the offsets {begin} to {end} are not a range of text. Correct them.")
    return Snippet(document_id(document or ""), section, begin, end, text or "")


def _question(path: Path, where: str, id: Any, body: Any, **more: Any) -> Question:
    id = question_id(path, where, id)
    if not isinstance(body, str):
        raise QuestionError(
            f'{path}, {where} ({id}): no question text (the key is "body" in BioASQ files, "text" in BEIR files).'
        )
    try:
        return Question(id, check_question(body), **more)
    except QuestionError as problem:
        raise QuestionError(f"{path}, {where} ({id}): {problem}") from None


def question_id(path: Path, where: str, value: Any) -> str:
    """The id of a question as text, from its value in a file; ``where`` is its place for the message.

    Raises:
        QuestionError: there is no id, or it has unprintable characters.
    """
    if not isinstance(value, str | int) or not str(value).strip():
        raise QuestionError(f"{path}, {where}: no id.")
    id = str(value).strip()
    if not id.isprintable():
        raise QuestionError(f"{path}, {where}: the id {id!r} has unprintable characters.")
    return id


def _json(path: Path, text: str, where: str) -> Any:
    try:
        return parse_json(text)
    except json.JSONDecodeError as problem:
        at = where or f"line {problem.lineno}, column {problem.colno}"
        raise QuestionError(f"{path}, {at}: not JSON ({problem.msg}).") from None
    except MalformedError as problem:
        raise QuestionError(f"{path}{', ' * bool(where)}{where}: {problem}. Correct the file.") from None


def check_ids(path: Path, ids: Iterable[str]) -> None:
    """Raise QuestionError if ids are not unique."""
    seen: set[str] = set()
    for id in ids:
        if id in seen:
            raise QuestionError(f"{path}: duplicate id {id}. Ids must be unique.")
        seen.add(id)
