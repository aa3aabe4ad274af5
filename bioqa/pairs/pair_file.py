"""The file format of training pairs: Parquet that ``datasets`` can read, one row per question and passage with their label.

Columns: ``question``, ``passage`` (text), ``label`` (float64, 1 relevant, 0 not relevant), ``question_id``, ``document_id`` (text,
"" if unknown), ``kind`` (one of ``KINDS``) and ``rank`` (int32); ``teacher_score`` (float64) if a teacher has scored the pairs:
its raw logit, or a weighted sum of several teachers' logits. The metadata of the file says how it was made, as JSON under the
key "bioqa".
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from bioqa.errors import PairsError
from bioqa.io.json_text import parse_json
from bioqa.io.output import check_not_input, output_errors, replacing

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("gold", "bm25", "mined", "random", "sentence", "sibling", "given")
TEACHER_SCORE = "teacher_score"
METADATA_KEY = b"bioqa"
ROW_GROUP = 1 << 15
"""Rows kept in memory before they are written."""


class Pair(NamedTuple):
    """One row. ``label`` is between 0 and 1; ``kind`` says where the passage comes from.

    "gold": judged relevant in a question file; "bm25", "mined", "random", "sentence", "sibling": a sampled negative; "given":
    labeled by the source. ``rank`` counts from 1 among the question's candidates without gold: by BM25 for "bm25", by the score
    of the model for "mined"; it is 0 for other kinds.
    """

    question: str
    passage: str
    label: float
    question_id: str
    document_id: str = ""
    kind: str = "given"
    rank: int = 0


def schema(provenance: Mapping[str, Any] | None = None, *, scored: bool = False) -> "pa.Schema":
    """The columns of a pairs file, ``scored`` by a teacher or not.

    ``provenance`` says how the file was made and becomes JSON in its metadata.
    """
    import pyarrow as pa

    types = {"label": pa.float64(), "rank": pa.int32(), TEACHER_SCORE: pa.float64()}
    names = (*Pair._fields, TEACHER_SCORE) if scored else Pair._fields
    columns = pa.schema([pa.field(name, types.get(name, pa.string()), nullable=False) for name in names])
    if not provenance:
        return columns
    return columns.with_metadata({METADATA_KEY: json.dumps(provenance, sort_keys=True).encode()})


def pair_table(pairs: Sequence[Pair]) -> "pa.Table":
    """The pairs as a table with the columns of a pairs file."""
    import pyarrow as pa

    columns = zip(*pairs, strict=True) if pairs else [()] * len(Pair._fields)
    fields = schema()
    arrays = [pa.array(values, field.type) for values, field in zip(columns, fields, strict=True)]
    return pa.Table.from_arrays(arrays, schema=fields)


class PairWriter:
    """Writes pairs to ``file``, a row group at a time; ``rows`` counts those written.

    Raises:
        OutputError: the file cannot be written; the message names ``target``.
    """

    def __init__(self, file: Path, target: Path, provenance: Mapping[str, Any] | None) -> None:
        from pyarrow.parquet import ParquetWriter

        self._target = target
        self._pending: list[Pair] = []
        self.rows = 0
        with output_errors(target):
            self._parquet = ParquetWriter(str(file), schema(provenance), compression="zstd")

    def write(self, pairs: Iterable[Pair]) -> None:
        """Add pairs, keeping at most ``ROW_GROUP`` of them in memory."""
        for pair in pairs:
            self._pending.append(pair)
            if len(self._pending) == ROW_GROUP:
                self._flush()

    def _flush(self) -> None:
        with output_errors(self._target):
            self._parquet.write_table(pair_table(self._pending))
        self.rows += len(self._pending)
        self._pending = []

    def __enter__(self) -> "PairWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._pending:
                self._flush()
        finally:
            with output_errors(self._target):
                self._parquet.close()


@contextmanager
def open_pairs(
    paths: Sequence[str | Path], provenance: Mapping[str, Any] | None = None, inputs: Sequence[str | Path] = ()
) -> Iterator[list[PairWriter]]:
    """A writer for each path; at the end of the block all files appear complete, or none does if it fails.

    Raises:
        OutputError: a file cannot be written, or is one of ``inputs``; checked before the block runs.
    """
    targets = [Path(path) for path in paths]
    for target in targets:
        check_not_input(target, inputs)
    with ExitStack() as stack:
        parts = [stack.enter_context(replacing(target)) for target in targets]
        # All writers close, and may fail, before the first file is moved.
        yield [
            stack.enter_context(PairWriter(part, target, provenance))
            for part, target in zip(parts, targets, strict=True)
        ]


def write_pairs(path: str | Path, pairs: Iterable[Pair], provenance: Mapping[str, Any] | None = None) -> int:
    """Write a pairs file and return its number of rows; the file appears complete or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with open_pairs([path], provenance) as [writer]:
        writer.write(pairs)
    return writer.rows


def is_pairs_file(path: Path) -> bool:
    """Whether this is a Parquet file with all columns of a pairs file."""
    return _is_parquet(path) and set(Pair._fields) <= set(_open(path).schema_arrow.names)


def read_provenance(path: str | Path) -> dict[str, Any]:
    """How a pairs file was made, {} if it does not say.

    Raises:
        PairsError: the file is not valid Parquet, or what it says is no JSON object.
    """
    metadata = _open(Path(path)).schema_arrow.metadata if _is_parquet(Path(path)) else None
    try:
        provenance = parse_json((metadata or {}).get(METADATA_KEY, b"{}").decode())
    except ValueError as problem:
        raise PairsError(
            f"{path}: its metadata on how it was made is damaged ({problem}). Write the file again."
        ) from None
    if not isinstance(provenance, dict):
        raise PairsError(f"{path}: its metadata on how it was made is no JSON object. Write the file again.")
    return provenance


def read_pairs_file(path: Path) -> "Iterator[pa.RecordBatch]":
    """The rows of a pairs file in batches of at most ``ROW_GROUP``.

    Raises:
        PairsError: the file is not valid Parquet, a value is missing or a label is not a number from 0 to 1; names the row.
    """
    import pyarrow as pa

    rows = 0
    try:
        file = _open(path)
        fields = schema(scored=TEACHER_SCORE in file.schema_arrow.names)
        for batch in file.iter_batches(ROW_GROUP, columns=fields.names):
            try:
                arrays = [batch.column(field.name).cast(field.type) for field in fields]
                typed = pa.RecordBatch.from_arrays(arrays, schema=fields)
            except pa.ArrowInvalid as problem:
                raise PairsError(f"{path}, rows from {rows + 1}: {str(problem).splitlines()[0]}.") from None
            _check(path, typed, rows)
            rows += typed.num_rows
            yield typed
    except (OSError, pa.ArrowException) as problem:
        raise _invalid_parquet(path, problem) from None


def _check(path: Path, batch: "pa.RecordBatch", rows_before: int) -> None:
    """Raise PairsError if a value is missing, or a label is not a number from 0 to 1."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name in ("question", "passage", "label", "question_id", "kind", "rank", TEACHER_SCORE):
        if name in batch.schema.names and batch.column(name).null_count:
            row = rows_before + 1 + pc.index(batch.column(name).is_null(), True).as_py()
            raise PairsError(f"{path}, row {row}: the {name} is missing.")
    label = batch.column("label")
    valid = pc.and_(pc.greater_equal(label, pa.scalar(0.0)), pc.less_equal(label, pa.scalar(1.0)))
    row = pc.index(valid, False).as_py()
    if row >= 0:
        raise PairsError(
            f"{path}, row {rows_before + 1 + row}: the label is {label[row]}; it must be a number from 0 to 1."
        )
    if TEACHER_SCORE in batch.schema.names:
        row = pc.index(pc.is_finite(batch.column(TEACHER_SCORE)), False).as_py()
        if row >= 0:
            raise PairsError(f"{path}, row {rows_before + 1 + row}: the {TEACHER_SCORE} is not a finite number.")


def _is_parquet(path: Path) -> bool:
    if not os.path.isfile(path):  # noqa: PTH113 - False for impossible names
        return False
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _open(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(path, memory_map=True)
    except (OSError, pa.ArrowException) as problem:
        raise _invalid_parquet(path, problem) from None


def _invalid_parquet(path: Path, problem: Exception) -> PairsError:
    return PairsError(f"{path} is not a valid Parquet file ({str(problem).splitlines()[0]}). Write it again.")
