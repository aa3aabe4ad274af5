"""A file of training pairs: Parquet that ``datasets`` reads, one row a pair of question and passage with its label.

Columns: ``question``, ``passage`` (text), ``label`` (float64, 1 relevant, 0 not), ``question_id``, ``document_id`` (text, "" where
not known), ``kind`` (one of ``KINDS``) and ``rank`` (int32). How the file was made is JSON under the key "bioqa" of its metadata.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bioqa.errors import OutputError, PairsError
from bioqa.io.output import check_not_input

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

KINDS = ("gold", "bm25", "mined", "random", "sentence", "sibling", "given")
METADATA_KEY = b"bioqa"
ROW_GROUP = 1 << 15
"""Rows that are held in memory before they are written."""


class Pair(NamedTuple):
    """One row. ``label`` lies between 0 and 1; ``kind`` says where the passage comes from.

    "gold": relevant by the questions' own judgements; "bm25", "mined", "random", "sentence", "sibling": a negative that was
    drawn; "given": the label stood in the source. ``rank`` counts from 1 among the question's candidates without gold: by BM25
    where ``kind`` is "bm25", by the model that mined it where it is "mined"; 0 elsewhere.
    """

    question: str
    passage: str
    label: float
    question_id: str
    document_id: str = ""
    kind: str = "given"
    rank: int = 0


def schema(made: Mapping[str, Any] | None = None) -> "pa.Schema":
    """The columns of a pairs file; ``made`` says how it was made and becomes JSON in its metadata."""
    import pyarrow as pa

    types = {"label": pa.float64(), "rank": pa.int32()}
    fields = [pa.field(name, types.get(name, pa.string()), nullable=False) for name in Pair._fields]
    columns = pa.schema(fields)
    return columns.with_metadata({METADATA_KEY: json.dumps(made, sort_keys=True).encode()}) if made else columns


class PairWriter:
    """Writes pairs to one Parquet file, a row group at a time; ``rows`` counts them."""

    def __init__(self, file: "ParquetWriter") -> None:
        self._file = file
        self._waiting: list[Pair] = []
        self.rows = 0

    def write(self, pairs: Iterable[Pair]) -> None:
        """Add pairs; memory holds at most ``ROW_GROUP`` of them."""
        for pair in pairs:
            self._waiting.append(pair)
            if len(self._waiting) == ROW_GROUP:
                self.flush()

    def flush(self) -> None:
        """Write what waits as a row group."""
        if self._waiting:
            self._file.write_table(table_of(self._waiting))
            self.rows += len(self._waiting)
            self._waiting = []


def table_of(pairs: Sequence[Pair]) -> "pa.Table":
    """The pairs as a table with the columns of a pairs file."""
    import pyarrow as pa

    columns = zip(*pairs, strict=True) if pairs else [()] * len(Pair._fields)
    made = schema()
    return pa.Table.from_arrays([pa.array(c, f.type) for c, f in zip(columns, made, strict=True)], schema=made)


@contextmanager
def open_pairs(
    paths: Sequence[str | Path], made: Mapping[str, Any] | None = None, inputs: Sequence[str | Path] = ()
) -> Iterator[list[PairWriter]]:
    """A writer for each path; the files appear whole and together at the end of the block, or not at all.

    Raises:
        OutputError: a file cannot be written, or is one of ``inputs``; known before the block runs.
    """
    from pyarrow.parquet import ParquetWriter

    targets = [Path(path) for path in paths]
    parts = [target.with_name(f".{target.name}.{os.getpid()}.part") for target in targets]
    files: list[ParquetWriter] = []
    target = targets[0]
    try:
        for target, part in zip(targets, parts, strict=True):
            check_not_input(target, inputs)
            if target.is_dir():
                raise IsADirectoryError(None, "is a folder", str(target))
            part.touch()  # what pyarrow says where it cannot do so is not for people
            files.append(ParquetWriter(str(part), schema(made), compression="zstd"))
        writers = [PairWriter(file) for file in files]
        yield writers
        for writer, file in zip(writers, files, strict=True):
            writer.flush()
            file.close()
        for target, part in zip(targets, parts, strict=True):
            part.replace(target)
    except BrokenPipeError:
        raise
    except OSError as problem:
        raise OutputError(f"{target} cannot be written: {problem.strerror or problem}.") from problem
    finally:
        for file in files:
            file.close()
        for part in parts:
            part.unlink(missing_ok=True)


def write_pairs(path: str | Path, pairs: Iterable[Pair], made: Mapping[str, Any] | None = None) -> int:
    """Write a pairs file and return its number of rows; it appears whole at the end or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with open_pairs([path], made) as [writer]:
        writer.write(pairs)
    return writer.rows


def read_pairs(path: str | Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """The pairs of a file or BEIR folder as a table with the columns of a pairs file.

    Beside pairs files it takes two texts and a label as CSV, TSV, JSON lines or Parquet (columns known by their usual names, or
    named in ``columns`` as question, passage, label), JSON lines of ``query``, ``pos`` and ``neg``, and a BEIR folder with qrels
    or one of its qrels files. What these do not hold is filled in: ``question_id`` is a digest of the question, ``kind`` "given".

    Raises:
        PairsError: the file is missing, empty or of no such form, or a label is no number from 0 to 1; the message names the line.
    """
    import pyarrow as pa

    return pa.Table.from_batches(list(read_batches(path, columns)), schema())


def read_batches(path: str | Path, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """What ``read_pairs`` gives, in pieces of at most ``ROW_GROUP`` rows, so that memory does not grow with the file.

    Raises:
        PairsError: as for ``read_pairs``; rows before the fault may have been yielded by then.
    """
    path = Path(path)
    rows = 0
    for batch in _own_batches(path) if not columns and is_pairs_file(path) else _foreign_batches(path, columns):
        rows += batch.num_rows
        yield batch
    if not rows:
        raise PairsError(f"{path} holds no pair. Check that it is the right file.")


def values(batch: "pa.RecordBatch", name: str) -> list[Any]:
    """A column of a batch as a list."""
    return batch.column(name).to_pylist()


def is_pairs_file(path: Path) -> bool:
    """Whether this is Parquet with all the columns that ``write_pairs`` writes."""
    return _is_parquet(path) and set(Pair._fields) <= set(_open(path).schema_arrow.names)


def read_made(path: str | Path) -> dict[str, Any]:
    """How a pairs file was made, {} where it does not say."""
    metadata = _open(Path(path)).schema_arrow.metadata if _is_parquet(Path(path)) else None
    made: dict[str, Any] = json.loads((metadata or {}).get(METADATA_KEY, b"{}"))
    return made


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as problem:
        reason = str(problem).splitlines()[0]
        raise PairsError(f"{path} is not a sound Parquet file ({reason}). Write it again.") from None


def _own_batches(path: Path) -> "Iterator[pa.RecordBatch]":
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = 0
    try:
        for batch in _open(path).iter_batches(ROW_GROUP, columns=list(Pair._fields)):
            try:
                made = pa.RecordBatch.from_arrays(
                    [column.cast(field.type) for column, field in zip(batch.columns, schema(), strict=True)],
                    schema=schema(),
                )
            except pa.ArrowInvalid as problem:
                raise PairsError(f"{path}, rows from {rows + 1}: {str(problem).splitlines()[0]}.") from None
            _check(path, made, rows, pc)
            rows += batch.num_rows
            yield made
    except (OSError, pa.ArrowException) as problem:
        reason = str(problem).splitlines()[0]
        raise PairsError(f"{path} is not a sound Parquet file ({reason}). Write it again.") from None


def _check(path: Path, batch: "pa.RecordBatch", before: int, pc: Any) -> None:
    """Raise PairsError for a missing value, or a label that is no number from 0 to 1."""
    for name in ("question", "passage", "label", "question_id", "kind", "rank"):
        if batch.column(name).null_count:
            row = before + 1 + pc.index(batch.column(name).is_null(), True).as_py()
            raise PairsError(f"{path}, row {row}: no {name}.")
    label = batch.column("label")
    bad = pc.invert(pc.and_(pc.greater_equal(label, 0.0), pc.less_equal(label, 1.0)))
    if pc.any(bad).as_py():
        row = pc.index(bad, True).as_py()
        raise PairsError(f"{path}, row {before + 1 + row}: the label is {label[row]}; it must be a number from 0 to 1.")


def _foreign_batches(path: Path, columns: Sequence[str] | None) -> "Iterator[pa.RecordBatch]":
    from bioqa.pairs.import_pairs import given_pairs

    pairs = given_pairs(path, columns)
    while batch := list(islice(pairs, ROW_GROUP)):
        yield from table_of(batch).to_batches()
