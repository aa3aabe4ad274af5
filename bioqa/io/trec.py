"""TREC run files (``qid Q0 docid rank score tag``) and relevance judgements, called qrels (https://trec.nist.gov).

White space separates the columns. White space within an id is therefore written as in a URL, "Heart failure" as "Heart%20failure",
and every reader of these files turns it back. "%" stays as it is, unless that would be read as white space: "50%20" is written
"50%2520". A "#" at the start of an id is written "%23", because a line that starts with "#" is a comment.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from bioqa.errors import QuestionError, SourceError
from bioqa.io.text_files import read_lines

Qrels = dict[str, dict[str, int]]
"""Query id → document id → relevance; 1 or more is relevant, 0 judged not relevant, below 0 not judged."""

RunScores = dict[str, dict[str, float]]
"""Query id → document id → score, higher is better."""

_Value = TypeVar("_Value", int, float)


_ESCAPES = {quote(character): character for character in (*filter(str.isspace, map(chr, range(0x3001))), "#", "%")}
_ESCAPE = re.compile("|".join(_ESCAPES))
_TO_ESCAPE = re.compile(rf"^#|\s|%(?={'|'.join(escape[1:] for escape in _ESCAPES)})")


def to_column(id: str) -> str:
    """The id as a column of a run or qrels file: see the top of this file."""
    return _TO_ESCAPE.sub(lambda found: quote(found[0]), id)


def from_column(text: str) -> str:
    """The id that ``to_column`` wrote."""
    return _ESCAPE.sub(lambda found: _ESCAPES[found[0]], text) if "%" in text else text


def run_lines(question_id: str, results: Iterable[tuple[str, float]], tag: str) -> Iterator[str]:
    """The lines of a question for (docid, score) results in rank order."""
    query, tag = to_column(question_id), to_column(tag)
    for rank, (docid, score) in enumerate(results, start=1):
        yield f"{query} Q0 {to_column(docid)} {rank} {score:.6f} {tag}\n"


def qrels_lines(question_id: str, grades: Mapping[str, int]) -> Iterator[str]:
    """The judgements of a question in TREC's format, ``qid 0 docid rel``."""
    for docid, grade in grades.items():
        yield f"{to_column(question_id)} 0 {to_column(docid)} {grade}\n"


def read_run(path: str | Path) -> RunScores:
    """The scores of a TREC run file, plain or gzipped; the order of the ranks is ignored, as trec_eval ignores it.

    Raises:
        QuestionError: the file is missing, empty or corrupt, a line does not have six columns, a rank that is an integer and a
            score that is a finite number, or a query has the same document twice; the message names the file and the line.
    """
    run: RunScores = {}
    for where, query, document, score in _results(Path(path)):
        _add(run, where, query, document, score)
    return run


def iter_run(path: str | Path) -> Iterator[tuple[str, list[tuple[str, float]]]]:
    """Yield each query id of a run file with its (docid, score) results, highest score first, ties in the file's order.

    One query is in memory at a time.

    Raises:
        QuestionError: as for ``read_run``; also if the lines of a query are not adjacent.
    """
    seen: set[str] = set()
    for query, lines in groupby(_results(Path(path)), key=itemgetter(1)):
        rows: RunScores = {}
        for where, _, document, score in lines:
            if query in seen:
                raise QuestionError(
                    f"{where}: the lines of query {query} are not adjacent. Sort the run by query: sort -s -k1,1 {path}"
                )
            _add(rows, where, query, document, score)
        seen.add(query)
        yield query, sorted(rows[query].items(), key=lambda row: -row[1])


def _results(path: Path) -> Iterator[tuple[str, str, str, float]]:
    """Yield (place, query id, docid, score) for each line of a run file."""
    where = None
    for where, line in significant_lines(path):
        columns = line.split()
        if len(columns) != 6:
            hint = " White space in an id is written as %20." if len(columns) > 6 else ""
            raise QuestionError(
                f"{where}: expected 6 columns, `qid Q0 docid rank score tag`, found {len(columns)}.{hint}"
            )
        if not re.fullmatch("[+-]?[0-9]+", columns[3]):
            raise QuestionError(f"{where}: the rank {columns[3]!r} is not an integer.")
        yield where, from_column(columns[0]), from_column(columns[2]), _score(where, columns[4])
    if where is None:
        raise QuestionError(f"{path} has no results. A run has lines `qid Q0 docid rank score tag`.")


def read_trec_qrels(path: str | Path) -> Qrels:
    """The relevance judgements of a TREC file, ``qid 0 docid rel``, plain or gzipped, with the queries in the file's order.

    Raises:
        QuestionError: the file is missing or empty, a line is malformed, or a query has the same document twice; the message
            names the file and the line.
    """
    path = Path(path)
    qrels: Qrels = {}
    for where, line in significant_lines(path):
        columns = line.split()
        if len(columns) != 4:
            hint = " White space in an id is written as %20." if len(columns) > 4 else ""
            raise QuestionError(f"{where}: expected 4 columns, found {len(columns)}. {QRELS_FORMATS}{hint}")
        if not re.fullmatch("[+-]?[0-9]{1,9}", columns[3]):
            raise QuestionError(f"{where}: the relevance {columns[3]!r} is not an integer.")
        _add(qrels, where, from_column(columns[0]), from_column(columns[2]), int(columns[3]))
    if not qrels:
        raise QuestionError(f"{path} has no judgements. {QRELS_FORMATS}")
    return qrels


QRELS_FORMATS = "Qrels have lines `qid 0 docid rel` (TREC) or `query-id<TAB>corpus-id<TAB>score` below a header (BEIR)."


def significant_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (place, text) for each line that is neither blank nor a comment.

    Raises:
        QuestionError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        for number, data in read_lines(path):
            line = data.decode("utf-8-sig" if number == 1 else "utf-8")
            if line.strip() and not line.startswith("#"):
                yield f"{path}, line {number}", line
    except SourceError as problem:
        raise QuestionError(str(problem)) from None
    except UnicodeDecodeError:
        raise QuestionError(f"{path}, line {number}: not UTF-8. Save the file as UTF-8.") from None


def _add(table: dict[str, dict[str, _Value]], where: str, query: str, document: str, value: _Value) -> None:
    row = table.setdefault(query, {})
    if document in row:
        raise QuestionError(f"{where}: document {document} is listed twice for query {query}. Remove one of the lines.")
    row[document] = value


def _score(where: str, text: str) -> float:
    try:
        score = float(text)
    except ValueError:
        raise QuestionError(f"{where}: the score {text!r} is not a number.") from None
    if not math.isfinite(score):
        raise QuestionError(
            f"{where}: the score is {text}; results cannot be sorted by it. Scores must be finite numbers."
        )
    return score
