"""Read training pairs in any supported format: pairs files, and those that ``import_pairs`` converts."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import PairsError
from bioqa.pairs.import_pairs import import_pairs
from bioqa.pairs.pair_file import ROW_GROUP, is_pairs_file, pair_table, read_pairs_file

if TYPE_CHECKING:
    import pyarrow as pa


def read_pairs(path: str | Path, columns: Sequence[str] | None = None) -> "pa.Table":
    """The pairs of a file or BEIR folder as a table with the columns of a pairs file, ``teacher_score`` too if the file has it.

    Besides pairs files it reads two texts and a label as CSV, TSV, JSON lines or Parquet (columns with usual names, or named in
    ``columns`` as question, passage, label), JSON lines with ``query``, ``pos`` and ``neg``, and a BEIR folder with qrels or one of
    its qrels files. For these ``question_id`` is a digest of the question unless given, and ``kind`` is "given".

    Raises:
        PairsError: the file is missing, empty or in no supported format, or a label is not a number from 0 to 1; names the line.
        UsageError: ``columns`` are not three different names.
    """
    import pyarrow as pa

    return pa.Table.from_batches(list(read_batches(path, columns)))


def read_batches(path: str | Path, columns: Sequence[str] | None = None) -> "Iterator[pa.RecordBatch]":
    """What ``read_pairs`` returns, in batches of at most ``ROW_GROUP`` rows, so that memory does not grow with the file.

    Raises:
        PairsError, UsageError: as for ``read_pairs``; rows before the malformed one may have been yielded already.
    """
    path = Path(path)
    rows = 0
    for batch in read_pairs_file(path) if not columns and is_pairs_file(path) else _imported(path, columns):
        rows += batch.num_rows
        yield batch
    if not rows:
        raise PairsError(f"{path} has no pairs. Check that it is the right file.")


def _imported(path: Path, columns: Sequence[str] | None) -> "Iterator[pa.RecordBatch]":
    pairs = (pair for _, pair in import_pairs(path, columns))
    while batch := list(islice(pairs, ROW_GROUP)):
        yield from pair_table(batch).to_batches()


def pair_place(path: str | Path, number: int, columns: Sequence[str] | None = None) -> str:
    """Where in its file pair ``number`` (from 0) of ``read_pairs`` is: the file with the row or line. Reads the file again."""
    path = Path(path)
    if not columns and is_pairs_file(path):
        return f"{path}, row {number + 1}"
    return next(islice(import_pairs(path, columns), number, None))[0]


def column_values(batch: "pa.RecordBatch | pa.Table", name: str) -> list[Any]:
    """A column of a batch or table as a list."""
    values: list[Any] = batch.column(name).to_pylist()
    return values
