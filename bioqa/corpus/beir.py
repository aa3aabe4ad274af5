"""BEIR folders: corpus.jsonl {_id, title, text}, queries.jsonl {_id, text}, qrels/<split>.tsv with a header.

Source of the format: https://github.com/beir-cellar/beir/wiki/Load-your-custom-dataset
"""

import re
from collections.abc import Iterator
from pathlib import Path

from bioqa.errors import QuestionError, RecordError, SourceError, shown
from bioqa.io.bad_records import MalformedError
from bioqa.io.tabular import read_rows
from bioqa.io.text_files import read_lines
from bioqa.types import Question

BEIR_CORPUS_FILES = ("corpus.jsonl", "corpus.jsonl.gz")
BEIR_QUERY_FILES = ("queries.jsonl", "queries.jsonl.gz")


def beir_corpus_file(folder: Path) -> Path:
    """The corpus file of a BEIR folder, the uncompressed one if there are both.

    Raises:
        SourceError: there is none.
    """
    return _one_of(folder, BEIR_CORPUS_FILES)


def read_beir_queries(folder: str | Path) -> Iterator[Question]:
    """Yield the questions of a BEIR folder's queries.jsonl (or .jsonl.gz), in the order of the file.

    Raises:
        SourceError: the folder has no such file, or it is empty or truncated.
        QuestionError: a line is not a JSON object with an ``_id`` and a ``text``.
    """
    try:
        for row in read_rows(_one_of(Path(folder), BEIR_QUERY_FILES), "jsonl"):
            try:
                yield _question(row.values)
            except MalformedError as error:
                raise QuestionError(f"{row.place}: {error}. Correct the line.") from None
    except RecordError as error:
        raise QuestionError(str(error)) from None


def read_beir_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read BEIR relevance judgements into {query id: {document id: grade}}.

    The file has three tab-separated columns, query-id, corpus-id and score; the header is optional.

    Raises:
        SourceError: the file is missing or empty, has no judgements, or a line does not have three columns, has a score
            that is not an integer, or another score than an earlier line for the same pair.
    """
    path = Path(path)
    qrels: dict[str, dict[str, int]] = {}
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            judgement = _judgement(line, header_allowed=number == 1)
            if judgement:
                _add(qrels, *judgement)
        except MalformedError as error:
            raise SourceError(f"{path}, line {number}: {error}. Correct the line.") from None
    if not qrels:
        raise SourceError(f"{path} has no judgements, only a header. Check that it is the right file.")
    return qrels


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise SourceError(f"{folder} is not a BEIR folder with {names[0]} (or .gz). Name the folder that contains it.")


def _question(record: dict[str, object]) -> Question:
    query_id, body = record.get("_id"), record.get("text")
    if isinstance(query_id, int) and not isinstance(query_id, bool):
        query_id = str(query_id)
    for name, value in (("_id", query_id), ("text", body)):
        if not isinstance(value, str) or not value.strip():
            raise MalformedError(f"{name} is missing, empty or not text")
    return Question(str(query_id).strip(), str(body))


def _judgement(line: bytes, *, header_allowed: bool) -> tuple[str, str, int] | None:
    try:
        columns = line.decode("utf-8-sig").split("\t")
    except UnicodeDecodeError as error:
        raise MalformedError(f"byte {error.start + 1} (0x{line[error.start]:02x}) is not UTF-8") from None
    if len(columns) != 3:
        raise MalformedError(f"expected 3 tab-separated columns (query-id, corpus-id, score), found {len(columns)}")
    # the readers of the corpus strip ids too
    if re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", columns[2]):
        return columns[0].strip(), columns[1].strip(), int(columns[2])
    if header_allowed:
        return None
    raise MalformedError(f"the score {shown(columns[2])} is not an integer of at most nine digits")


def _add(qrels: dict[str, dict[str, int]], query: str, document: str, grade: int) -> None:
    known = qrels.setdefault(query, {}).setdefault(document, grade)
    if known != grade:
        raise MalformedError(f"document {document} has grade {grade} for query {query}, but {known} on an earlier line")
