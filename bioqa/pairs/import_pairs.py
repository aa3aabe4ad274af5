"""Pairs that others have made: two texts and a label, ``{query, pos, neg}`` lines, BEIR folders with relevance judgements."""

import csv
import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.corpus.beir import BEIR_CORPUS_FILES, read_beir_qrels, read_beir_queries
from bioqa.corpus.errors import MalformedError
from bioqa.corpus.jsonl import parse_object
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import PairsError, QuestionError, SourceError, UsageError
from bioqa.io.text_files import LONGEST_FIELD, read_head, read_lines
from bioqa.pairs.pair_file import Pair
from bioqa.types import Article

# Usual names of columns, the likelier first.
QUESTIONS = ("question", "query", "claim", "sentence1", "sentence_a", "text1", "text_a", "left", "anchor", "premise")
PASSAGES = (
    *("passage", "document", "snippet", "sentence2", "sentence_b", "text2", "text_b", "right", "abstract", "context"),
    *("answer", "sentence", "text", "hypothesis"),
)
LABELS = ("label", "labels", "relevance", "relevant", "target", "score")
POSITIVES, NEGATIVES = ("pos", "positive", "positives"), ("neg", "negative", "negatives")


def text_id(text: str) -> str:
    """A digest of a text that serves as its id: 16 hexadecimal digits."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def given_pairs(path: Path, columns: Sequence[str] | None = None) -> Iterator[Pair]:
    """Yield the pairs of a file or folder that is no pairs file; see ``pairs.read_pairs`` for the forms and errors."""
    if columns is not None and len(set(columns)) != 3:
        raise UsageError("Name three columns: question, passage, label.")
    with _as_pairs_error(path):
        if path.is_dir() or (path.suffix == ".tsv" and path.parent.name == "qrels"):
            yield from _beir(path)
            return
        head = read_head(path)
        name = path.name.lower().removesuffix(".gz")
        if head.startswith(b"PAR1"):
            records = _parquet_records(path)
        elif name.endswith((".csv", ".tsv", ".txt")):
            records = _csv_records(path, "," if name.endswith(".csv") else "\t", columns)
        elif head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{":
            records = _json_records(path)
        else:
            raise PairsError(
                f"{path} is of no known form. Pairs are read from Parquet, CSV, TSV, JSON lines and BEIR folders with qrels."
            )
        yield from _pairs(path, records, columns)


@contextmanager
def _as_pairs_error(path: Path) -> Iterator[None]:
    try:
        yield
    except PairsError:
        raise
    except (SourceError, QuestionError) as problem:
        raise PairsError(str(problem)) from None
    except csv.Error as problem:
        raise PairsError(f"{path} is not sound CSV: {problem}.") from None


_Record = tuple[str, Mapping[str, Any]]
"""Where a record stands, and its values by column."""


def _json_records(path: Path) -> Iterator[_Record]:
    for number, line in read_lines(path):
        if line.strip():
            try:
                yield f"line {number}", parse_object(line, first=number == 1)
            except MalformedError as problem:
                raise PairsError(f"{path}, line {number}: {problem}. Write one object a line.") from None


def _csv_records(path: Path, delimiter: str, columns: Sequence[str] | None) -> Iterator[_Record]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = (_decoded(path, number, line) + "\n" for number, line in read_lines(path))
    plain = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)  # tab-separated text knows no quotes
    rows = csv.reader(lines) if delimiter == "," else plain
    header = next(rows)
    if columns is None and len(header) == 3 and _is_number(header[2]):
        yield "line 1", dict(zip((QUESTIONS[0], PASSAGES[0], LABELS[0]), header, strict=True))
        header = [QUESTIONS[0], PASSAGES[0], LABELS[0]]
    for row in rows:
        if not row:
            continue
        where = f"line {rows.line_num}"
        if len(row) != len(header):
            raise PairsError(f"{path}, {where}: {len(row)} columns where the first line has {len(header)}.")
        yield where, dict(zip(header, row, strict=True))


def _decoded(path: Path, number: int, line: bytes) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as problem:
        raise PairsError(
            f"{path}, line {number}: byte {problem.start + 1} of it is not UTF-8. Save the file as UTF-8."
        ) from None


def _parquet_records(path: Path) -> Iterator[_Record]:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        for batch in ParquetFile(path).iter_batches(4096):
            for number, row in enumerate(batch.to_pylist(), start=number + 1):  # noqa: B020
                yield f"row {number}", row
    except pa.ArrowException as problem:
        reason = str(problem).splitlines()[0]
        raise PairsError(f"{path} is not a sound Parquet file ({reason}). Write it again.") from None


def _pairs(path: Path, records: Iterator[_Record], columns: Sequence[str] | None) -> Iterator[Pair]:
    names: tuple[str, str, str] | None = None
    for where, record in records:
        if columns is None and (lists := _lists(record)):
            yield from _listed(path, where, *lists)
            continue
        names = names or _columns(path, record, columns)
        question, passage = (_text(path, where, record, name) for name in names[:2])
        yield Pair(
            question,
            passage,
            _label(path, where, names[2], record.get(names[2])),
            str(record.get("question_id") or text_id(question)),
            str(record.get("document_id") or ""),
        )


def _columns(path: Path, record: Mapping[str, Any], columns: Sequence[str] | None) -> tuple[str, str, str]:
    """The names of the columns of question, passage and label."""
    if columns:
        chosen = [[name] for name in columns]
    else:
        present = {str(name).lower(): name for name in record}
        chosen = [[present.get(name, "") for name in usual] for usual in (QUESTIONS, PASSAGES, LABELS)]
    found = [next((name for name in names if name in record), None) for names in chosen]
    question, passage, label = found
    if question is None or passage is None or label is None:
        missing = [what for what, name in zip(("question", "passage", "label"), found, strict=True) if name is None]
        named = f" (asked for: {', '.join(columns)})" if columns else ""
        raise PairsError(
            f"{path} has no column for {' and '.join(missing)}{named}; it has {', '.join(record) or 'none'}. Name the three "
            "columns: question, passage, label."
        )
    return question, passage, label


def _text(path: Path, where: str, record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    if not isinstance(value, str) or not value.strip():
        raise PairsError(f"{path}, {where}: {name!r} is {'empty' if value in (None, '') else 'not text'}. Correct it.")
    return value.strip()


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, dict | list) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of more than 308 digits
        return False


def _label(path: Path, where: str, name: str, value: object) -> float:
    if not _is_number(value):
        raise PairsError(f"{path}, {where}: the label {name!r} is {value!r}, not a number. Write 1 and 0.")
    label = float(value)  # type: ignore[arg-type]
    if not 0 <= label <= 1:
        raise PairsError(f"{path}, {where}: the label {name!r} is {label:g}; it must lie between 0 and 1.")
    return label


def _lists(record: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """Query, positives and negatives of a record that holds those, else None."""
    query = next((record[name] for name in QUESTIONS if name in record), None)
    positive = next((record[name] for name in POSITIVES if name in record), None)
    negative = next((record[name] for name in NEGATIVES if name in record), None)
    return None if positive is None and negative is None else (query, positive or [], negative or [])


def _listed(path: Path, where: str, query: Any, positive: Any, negative: Any) -> Iterator[Pair]:
    if not isinstance(query, str) or not query.strip():
        raise PairsError(f"{path}, {where}: no query.")
    query = query.strip()
    for texts, label in ((positive, 1.0), (negative, 0.0)):
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or not text.strip():
                raise PairsError(f"{path}, {where}: pos and neg must be texts or lists of texts.")
            yield Pair(query, text.strip(), label, text_id(query))


def _beir(path: Path) -> Iterator[Pair]:
    """The judged pairs of a BEIR folder, or of one of its qrels files; a grade above 0 is label 1."""
    folder, qrels_file = (path, _qrels_file(path)) if path.is_dir() else (path.parent.parent, path)
    qrels = read_beir_qrels(qrels_file)
    queries = {question.id: question.body for question in read_beir_queries(folder)}
    wanted = {document for judged in qrels.values() for document in judged}
    texts = {
        article.id: article.default_text()
        for article in read_source(expand_sources([folder])[0])
        if isinstance(article, Article) and article.id in wanted
    }
    for query, judged in qrels.items():
        if query not in queries:
            raise PairsError(f"{qrels_file}: query {query} is not in queries.jsonl.")
        for document, grade in judged.items():
            if document not in texts:
                raise PairsError(f"{qrels_file}: document {document} is not in corpus.jsonl.")
            yield Pair(queries[query], texts[document], float(grade > 0), query, document)


def _qrels_file(folder: Path) -> Path:
    found = sorted((folder / "qrels").glob("*.tsv"))
    if not found:
        corpus = any((folder / name).is_file() for name in BEIR_CORPUS_FILES)
        what = "has no qrels/*.tsv" if corpus else "is a folder, but no BEIR folder"
        raise PairsError(f"{folder} {what}. Name a file of pairs, or a BEIR folder with relevance judgements.")
    if len(found) > 1:
        raise PairsError(f"{folder} has several qrels files. Name one of them: {', '.join(map(str, found))}.")
    return found[0]
