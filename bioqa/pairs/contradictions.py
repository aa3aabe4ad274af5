"""Find pairs of question and passage that training data labels both relevant and not relevant."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import PairsError
from bioqa.pairs.read_pairs import pair_place

if TYPE_CHECKING:
    import pyarrow as pa


def check_labels(
    tables: "Sequence[pa.Table]", files: Sequence[str | Path], columns: Sequence[str] | None = None
) -> None:
    """Check that no question and passage have a label of 0.5 or more in one row and a lower one in another.

    ``tables`` are what ``read_pairs`` returns for each of ``files`` (with ``columns``). Texts are compared exactly.

    Raises:
        PairsError: two labels contradict each other; the message names both places.
    """
    import pyarrow as pa

    table = pa.concat_tables(tables)
    if not len(table):
        return
    question, passage = (_codes(table.column(name)) for name in ("question", "passage"))
    key = question * (passage.max() + 1) + passage
    order = np.argsort(key, kind="stable")
    starts = np.concatenate([[0], np.flatnonzero(np.diff(key[order])) + 1])
    positive = table.column("label").to_numpy()[order] >= 0.5
    mixed = np.logical_or.reduceat(positive, starts) & ~np.logical_and.reduceat(positive, starts)
    if not mixed.any():
        return
    first = min(int(order[start]) for start in starts[mixed])
    same = np.flatnonzero(key == key[first])
    labels = table.column("label").to_numpy()
    second = int(next(row for row in same if (labels[row] >= 0.5) != (labels[first] >= 0.5)))
    places = dict.fromkeys(_place(row, tables, files, columns) for row in (first, second))
    others = int(mixed.sum()) - 1
    more = f" So do {others:,} other{'s' * (others > 1)}." if others else ""
    raise PairsError(
        f"{' and '.join(places)}: the same question and passage have the labels {labels[first]:g} and {labels[second]:g} (question "
        f"{table.column('question')[first].as_py()[:80]!r}).{more} Correct the wrong label, or remove its row."
    )


def _codes(column: "pa.ChunkedArray[Any]") -> NDArray[np.int64]:
    """A number for each text, the same for equal texts: int64 of shape (rows,)."""
    encoded: Any = column.dictionary_encode().unify_dictionaries().combine_chunks()
    codes: NDArray[np.int64] = encoded.indices.to_numpy().astype(np.int64)
    return codes


def _place(row: int, tables: "Sequence[pa.Table]", files: Sequence[str | Path], columns: Sequence[str] | None) -> str:
    for table, file in zip(tables, files, strict=True):
        if row < len(table):
            return pair_place(file, row, columns)
        row -= len(table)
    raise IndexError(row)
