"""Read pairs labeled elsewhere: tables of two texts and a label, ``{query, pos, neg}`` lines, BEIR folders with qrels."""

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bioqa.corpus.beir import BEIR_CORPUS_FILES, read_beir_qrels, read_beir_queries
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import PairsError, QuestionError, SourceError, UsageError
from bioqa.io.tabular import PARQUET_MAGIC, Row, TableFormat, column_names, format_by_name, read_rows
from bioqa.io.text_files import read_head
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


def import_pairs(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[str, Pair]]:
    """Yield (place, pair) for the pairs of a file or folder in another format than bioqa's own pairs file.

    ``columns`` names those of question, passage and label; None finds them by their usual names. The place is the file with the
    line or row, to name in errors.

    Raises:
        PairsError: the file is missing, empty, in no known format, or a row is malformed; the message names the line or row.
        UsageError: ``columns`` are not three different names.
    """
    if columns is not None and len(set(columns)) != 3:
        raise UsageError("Name three columns: question, passage, label.")
    with _pairs_errors():
        # os.path.isdir is False for impossible names, for which Path.is_dir raises an error.
        if os.path.isdir(path) or (path.suffix == ".tsv" and path.parent.name == "qrels"):  # noqa: PTH112
            yield from _beir(path)
        else:
            yield from _pairs(path, _rows(path, columns), columns)


@contextmanager
def _pairs_errors() -> Iterator[None]:
    try:
        yield
    except PairsError:
        raise
    except (SourceError, QuestionError) as problem:
        raise PairsError(str(problem)) from None


def _rows(path: Path, columns: Sequence[str] | None) -> Iterator[Row]:
    table_format = _format(path)
    header = None
    if columns is None and table_format in ("csv", "tsv"):
        first = column_names(path, table_format, quotes=table_format == "csv")
        if len(first) == 3 and _is_number(first[2]):  # a first line with a label is not a header
            header = (QUESTIONS[0], PASSAGES[0], LABELS[0])
    return read_rows(path, table_format, header=header, quotes=table_format == "csv", hint="Write one object per line.")


def _format(path: Path) -> TableFormat:
    """The format of a file: by its content for Parquet and JSON lines, by its name for CSV and TSV, whose quotes are text."""
    head = read_head(path)
    if head.startswith(PARQUET_MAGIC):
        return "parquet"
    by_name = format_by_name(path)
    if by_name == "csv":
        return "csv"
    if by_name == "tsv" or path.name.lower().removesuffix(".gz").endswith(".txt"):
        return "tsv"
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        return "jsonl"
    raise PairsError(
        f"{path} is not in a known format. Pairs are read from Parquet, CSV, TSV, JSON lines and BEIR folders with qrels."
    )


def _pairs(path: Path, rows: Iterator[Row], columns: Sequence[str] | None) -> Iterator[tuple[str, Pair]]:
    names: tuple[str, str, str] | None = None
    for place, values in rows:
        if columns is None and (lists := _lists(values)):
            yield from _list_pairs(place, *lists)
            continue
        names = names or _columns(path, values, columns)
        question, passage = (_text(place, values, name) for name in names[:2])
        yield (
            place,
            Pair(
                question,
                passage,
                _label(place, names[2], values.get(names[2])),
                _encodable(place, str(values.get("question_id") or text_id(question))),
                _encodable(place, str(values.get("document_id") or "")),
            ),
        )


def _columns(path: Path, values: Mapping[str, Any], columns: Sequence[str] | None) -> tuple[str, str, str]:
    """The names of the columns of question, passage and label."""
    if columns:
        chosen = [[name] for name in columns]
    else:
        present = {str(name).lower(): name for name in values}
        chosen = [[present.get(name, "") for name in usual] for usual in (QUESTIONS, PASSAGES, LABELS)]
    found = [next((name for name in names if name in values), None) for names in chosen]
    question, passage, label = found
    if question is None or passage is None or label is None:
        missing = [what for what, name in zip(("question", "passage", "label"), found, strict=True) if name is None]
        named = f" (asked for: {', '.join(columns)})" if columns else ""
        raise PairsError(
            f"{path} has no column for {' and '.join(missing)}{named}; it has {', '.join(values) or 'none'}. Name the three "
            "columns: question, passage, label."
        )
    return question, passage, label


def _text(place: str, values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    if not isinstance(value, str) or not value.strip():
        raise PairsError(f"{place}: {name!r} is {'empty' if value in (None, '') else 'not text'}. Correct it.")
    return _encodable(place, value.strip())


def _encodable(place: str, text: str) -> str:
    """The text, which JSON can write such that it cannot be stored."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PairsError(f"{place}: a text has half a character (a lone surrogate). Remove it.") from None
    return text


def _is_number(value: object) -> bool:
    try:
        return not isinstance(value, dict | list) and math.isfinite(float(value))  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):  # the last: a whole number of more than 308 digits
        return False


def _label(place: str, name: str, value: object) -> float:
    if not _is_number(value):
        raise PairsError(f"{place}: the label {name!r} is {value!r}, not a number. Write 1 and 0.")
    label = float(value)  # type: ignore[arg-type]
    if not 0 <= label <= 1:
        raise PairsError(f"{place}: the label {name!r} is {label:g}; it must be between 0 and 1.")
    return label


def _lists(values: Mapping[str, Any]) -> tuple[Any, Any, Any] | None:
    """The query, positives and negatives of a row that has lists of them, otherwise None."""
    query = next((values[name] for name in QUESTIONS if name in values), None)
    positive = next((values[name] for name in POSITIVES if name in values), None)
    negative = next((values[name] for name in NEGATIVES if name in values), None)
    return None if positive is None and negative is None else (query, positive or [], negative or [])


def _list_pairs(place: str, query: Any, positive: Any, negative: Any) -> Iterator[tuple[str, Pair]]:
    if not isinstance(query, str) or not query.strip():
        raise PairsError(f"{place}: no query.")
    query = _encodable(place, query.strip())
    for texts, label in ((positive, 1.0), (negative, 0.0)):
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str) or not text.strip():
                raise PairsError(f"{place}: pos and neg must be texts or lists of texts.")
            yield place, Pair(query, _encodable(place, text.strip()), label, text_id(query))


def _beir(path: Path) -> Iterator[tuple[str, Pair]]:
    """The judged pairs of a BEIR folder, or of one of its qrels files; grades above 0 are label 1."""
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
            place = f"{qrels_file}, query {query} and document {document}"
            yield place, Pair(queries[query], texts[document], float(grade > 0), query, document)


def _qrels_file(folder: Path) -> Path:
    found = sorted((folder / "qrels").glob("*.tsv"))
    if not found:
        corpus = any((folder / name).is_file() for name in BEIR_CORPUS_FILES)
        what = "has no qrels/*.tsv" if corpus else "is a folder, but not a BEIR folder"
        raise PairsError(f"{folder} {what}. Name a file of pairs, or a BEIR folder with relevance judgements.")
    if len(found) > 1:
        raise PairsError(f"{folder} has several qrels files. Name one of them: {', '.join(map(str, found))}.")
    return found[0]
