"""Curriculum over hard negatives: the first epoch has all of them, the last one only the hardest."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import UsageError

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLED_KINDS = ("bm25", "mined", "random")
"""The kinds of negatives that a curriculum drops, random ones first."""


def epoch_rows(table: "pa.Table", epoch: int, epochs: int, *, last_share: float = 0.25) -> NDArray[np.int64]:
    """The row numbers to train on in ``epoch`` (from 0) of ``epochs``, in the order of the table: int64 of shape (n,).

    The first epoch has all sampled negatives of each question and the last one ``last_share`` of them (at least one), with
    linear steps in between; those of lowest ``rank`` are kept, random ones are dropped first. All other rows are in every epoch.
    A single epoch has all rows.

    Raises:
        UsageError: ``epoch`` is not below ``epochs``, or ``last_share`` is not above 0 and at most 1.
    """
    if not 0 <= epoch < epochs:
        raise UsageError(f"Epoch {epoch} is not one of {epochs}: the first is 0.")
    if not 0 < last_share <= 1:
        raise UsageError(f"The share of negatives in the last epoch must be above 0 and at most 1, not {last_share}.")
    share = 1.0 if epochs == 1 else 1 - (1 - last_share) * epoch / (epochs - 1)
    rows = np.arange(len(table))
    sampled = np.isin(_column(table, "kind"), SAMPLED_KINDS) & (_column(table, "label") < 0.5)
    negatives = rows[sampled]
    if share == 1 or not len(negatives):
        return rows
    _, question = np.unique(_column(table, "question_id")[sampled], return_inverse=True)
    rank = _column(table, "rank")[sampled]
    order = np.lexsort((negatives, np.where(rank > 0, rank, np.iinfo(np.int32).max), question))
    counts = np.bincount(question)
    position = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = position < np.repeat(np.ceil(counts * share - 1e-9), counts)
    return np.sort(np.concatenate([rows[~sampled], negatives[order[kept]]]))


def _column(table: "pa.Table", name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()
