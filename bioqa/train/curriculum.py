"""Hard negatives epoch by epoch: all of them at first, only the hardest in the end."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

DRAWN = ("bm25", "mined", "random")
"""The kinds of negatives that a curriculum narrows, random ones being the easiest."""


def epoch_rows(table: "pa.Table", epoch: int, epochs: int, *, last_share: float = 0.25) -> NDArray[np.int64]:
    """The numbers of the rows to train on in ``epoch`` (from 0) of ``epochs``, in the order of the table: int64 of shape (n,).

    Of each question's drawn negatives the first epoch keeps all and the last one ``last_share`` (at least one), with even steps
    between; those of lowest ``rank`` stay, random ones go first. All other rows are in every epoch. One epoch keeps all.

    Raises:
        UsageError: ``epoch`` is not below ``epochs``, or ``last_share`` does not lie above 0 and up to 1.
    """
    if not 0 <= epoch < epochs:
        raise UsageError(f"Epoch {epoch} is none of {epochs}: the first is 0.")
    if not 0 < last_share <= 1:
        raise UsageError(f"The share of negatives in the last epoch must lie above 0 and up to 1, not {last_share}.")
    share = 1.0 if epochs == 1 else 1 - (1 - last_share) * epoch / (epochs - 1)
    rows = np.arange(len(table))
    drawn = np.isin(_column(table, "kind"), DRAWN) & (_column(table, "label") < 0.5)
    negatives = rows[drawn]
    if share == 1 or not len(negatives):
        return rows
    _, question = np.unique(_column(table, "question_id")[drawn], return_inverse=True)
    rank = _column(table, "rank")[drawn]
    order = np.lexsort((negatives, np.where(rank > 0, rank, np.iinfo(np.int32).max), question))
    counts = np.bincount(question)
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = place < np.repeat(np.ceil(counts * share - 1e-9), counts)
    return np.sort(np.concatenate([rows[~drawn], negatives[order[kept]]]))


def _column(table: "pa.Table", name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()
