"""The datasets of a stage: pairs files as examples in the shape that the loss takes, their token counts, the rows of each epoch."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import LeakError, PairsError, UsageError
from bioqa.pairs.contradictions import check_labels
from bioqa.pairs.leaks import find_leaks
from bioqa.pairs.pair_file import TEACHER_SCORE, Pair
from bioqa.pairs.read_pairs import column_values, read_pairs
from bioqa.train.curriculum import epoch_rows
from bioqa.train.losses import LOSSES

if TYPE_CHECKING:
    import pyarrow as pa
    from datasets import Dataset

    from bioqa.train.recipe import DataSettings, Stage

CHUNK = 4096
"""Number of texts tokenized at a time to count their tokens."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """``dataset``: n examples in the shape that the loss takes. ``epoch_rows``: the rows of each epoch if epochs differ; a single
    array is for every epoch.
    """

    dataset: "Dataset"
    epoch_rows: tuple[NDArray[np.int64], ...]


def check_files(data: "DataSettings") -> None:
    """Raise PairsError if a file of ``train``, ``dev`` or ``held_out`` cannot be opened, before heavy libraries are loaded."""
    for name in ("train", "dev", "held_out"):
        for path in getattr(data, name):
            try:
                Path(path).stat()
            except (OSError, ValueError) as problem:
                raise PairsError(
                    f"data.{name} names {path}, which cannot be opened: {getattr(problem, 'strerror', None) or problem}. Build it "
                    "with bioqa pairs (see the first lines of the recipe), or check the path, which is relative to the working "
                    "directory."
                ) from None


def read_train(stage: "Stage") -> "pa.Table":
    """The training pairs of a stage, from all its files in order; at most ``max_rows`` of them, sampled at random.

    Raises:
        PairsError: a file cannot be read, labels contradict each other, or all pairs have the same class.
    """
    data = stage.data
    table = _read(data.train, data)
    if 0 < data.max_rows < len(table):
        rows = np.random.default_rng(stage.training.seed).choice(len(table), data.max_rows, replace=False)
        table = table.take(np.sort(rows))
    return _both_classes(table, data.train, "train")


def read_dev(data: "DataSettings") -> "pa.Table | None":
    """The dev pairs of a stage, None if it has none. Raises PairsError as ``read_train``."""
    return _both_classes(_read(data.dev, data), data.dev, "dev") if data.dev else None


def _read(files: tuple[str, ...], data: "DataSettings") -> "pa.Table":
    """The pairs of all files in order. Raises PairsError if a file cannot be read or labels contradict each other."""
    import pyarrow as pa

    tables = [read_pairs(path, data.columns) for path in files]
    check_labels(tables, files, data.columns)
    if not all(TEACHER_SCORE in table.column_names for table in tables):
        tables = [table.select(Pair._fields) for table in tables]
    return pa.concat_tables(tables)


def check_teacher_scores(table: "pa.Table", stage: "Stage") -> None:
    """Raise PairsError if the stage's loss needs teacher scores, and the training pairs have none."""
    if LOSSES[stage.loss.name].teacher and TEACHER_SCORE not in table.column_names:
        raise PairsError(
            f"{', '.join(stage.data.train)}: the loss {stage.loss.name} learns from teacher scores, which not every file has. Add "
            "them with bioqa pairs score."
        )


def _both_classes(table: "pa.Table", files: tuple[str, ...], use: str) -> "pa.Table":
    positives = int((labels(table) >= 0.5).sum())
    if positives in (0, len(table)):
        missing = "positive" if positives == 0 else "negative"
        raise PairsError(
            f"{', '.join(files)}: no {missing} pair among {len(table):,} ({use}). Both classes are needed."
        )
    return table


def check_leaks(data: "DataSettings") -> None:
    """Raise LeakError if questions or passages of ``dev`` or ``held_out`` are in ``train``, as ``leak_check`` requires."""
    held = (*data.dev, *data.held_out)
    if data.leak_check == "none" or not held:
        return
    if data.columns is not None:
        raise UsageError(
            'data.leak_check needs pairs files, not files with other columns. Convert them with "bioqa pairs build", '
            'or set data.leak_check = "none".'
        )
    trained = {Path(file).resolve(): file for file in data.train}
    for file in held:
        if Path(file).resolve() in trained:
            use = "dev" if file in data.dev else "held_out"
            raise LeakError(f"data.{use} and data.train both name {file}. Set data.{use} to pairs of other questions.")
    passages = data.leak_check == "all"
    leaks = [leak for file in data.train for leak in find_leaks((file, *held), passages=passages, first_only=True)]
    if leaks:
        shared = "; ".join(f"{leak.count:,} {leak.kind}(s) of {leak.second} in {leak.first}" for leak in leaks)
        raise LeakError(
            f"{shared}, such as {leaks[0].samples[0][1][:80]!r}. Build the training pairs with --exclude, or set data.leak_check."
        )


def labels(table: "pa.Table") -> NDArray[np.float64]:
    """The labels, float64 of shape (rows,)."""
    values: NDArray[np.float64] = table.column("label").to_numpy()
    return values


def make_training_data(table: "pa.Table", stage: "Stage") -> TrainingData:
    """The training pairs of a stage as examples for its loss.

    Raises:
        PairsError: the loss needs questions with a positive and a negative, and there is none.
    """
    epochs = int(stage.training.epochs) if stage.data.curriculum < 1 else 1
    rows = [epoch_rows(table, epoch, epochs, last_share=stage.data.curriculum) for epoch in range(epochs)]
    check_teacher_scores(table, stage)
    if LOSSES[stage.loss.name].example == "pair":
        return TrainingData(_pair_dataset(table, stage), tuple(rows))
    parts = [to_examples(table.take(kept), stage, epoch) for epoch, kept in enumerate(rows)]
    ends = np.cumsum([len(part) for part in parts])
    starts = [0, *ends[:-1].tolist()]
    epoch_ranges = tuple(np.arange(start, end) for start, end in zip(starts, ends.tolist(), strict=True))
    return TrainingData(_concatenate(parts), epoch_ranges)


def to_examples(table: "pa.Table", stage: "Stage", epoch: int = 0) -> "Dataset":
    """The pairs as a dataset in the shape that the stage's loss takes: pairs, lists or tuples (see ``losses.Loss``).

    There is one list or tuple per positive, with ``list_size`` − 1 negatives sampled from those of its question.

    Raises:
        PairsError: as ``make_training_data``.
    """
    import pyarrow as pa

    example = LOSSES[stage.loss.name].example
    if example == "pair":
        return _pair_dataset(table, stage)
    lists = list(_lists(table, stage.loss.list_size, stage.training.seed + epoch, full=example == "tuple"))
    if not lists:
        raise PairsError(
            f"{', '.join(stage.data.train)}: no question has both a positive and a negative, as the loss {stage.loss.name} "
            "requires. Use bce, or other pairs."
        )
    names = ("question", "passage", _target(table, stage))
    question, passage, label = (column_values(table, name) for name in names)
    columns: dict[str, Any] = {"question": [question[rows[0]] for rows in lists]}
    if example == "tuple":
        parts = ["positive", *(f"negative_{number}" for number in range(1, stage.loss.list_size))]
        columns |= {name: [passage[rows[position]] for rows in lists] for position, name in enumerate(parts)}
    else:
        columns["passages"] = [[passage[row] for row in rows] for rows in lists]
    if example == "list" or LOSSES[stage.loss.name].teacher:
        target = _log if stage.loss.name == "infonce" else float
        columns["labels"] = [[target(label[row]) for row in rows] for rows in lists]
    return _dataset(pa.table(columns))


def _log(label: float) -> float:
    """The logarithm, whose softmax over a list, the target of ``ListNetLoss``, is each label's share of their sum."""
    return math.log(label) if label else -math.inf


def _lists(table: "pa.Table", size: int, seed: int, *, full: bool) -> Iterator[list[int]]:
    """The rows of each list: a positive, then negatives of its question; ``full`` repeats negatives if there are too few."""
    rng = np.random.default_rng(seed)
    positive = labels(table) >= 0.5
    _, question = np.unique(table.column("question_id").to_numpy(), return_inverse=True)
    order = np.argsort(question, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(question[order])) + 1):
        negatives = rows[~positive[rows]]
        for row in rows[positive[rows]] if len(negatives) else ():
            sampled = rng.permutation(negatives)[: size - 1]
            yield [int(row), *(np.resize(sampled, size - 1) if full else sampled).tolist()]


def _target(table: "pa.Table", stage: "Stage") -> str:
    """The column that the loss learns from; dev pairs need not have a teacher's scores."""
    return TEACHER_SCORE if LOSSES[stage.loss.name].teacher and TEACHER_SCORE in table.column_names else "label"


def _pair_dataset(table: "pa.Table", stage: "Stage") -> "Dataset":
    columns = ["question", "passage", _target(table, stage)]
    return _dataset(table.select(columns).rename_columns(["question", "passage", "label"]))


def _dataset(table: "pa.Table") -> "Dataset":
    from datasets import Dataset

    return Dataset(table)


def _concatenate(parts: list["Dataset"]) -> "Dataset":
    from datasets import concatenate_datasets

    return parts[0] if len(parts) == 1 else concatenate_datasets(parts)


def pairs_per_example(dataset: "Dataset") -> float:
    """The mean number of pairs per example."""
    import pyarrow.compute as pc

    table = dataset.data.table
    if "passages" in table.column_names:
        return float(pc.mean(pc.list_value_length(table.column("passages"))).as_py())
    return len(_passage_columns(table))


def _passage_columns(table: Any) -> list[str]:
    return [name for name in table.column_names if name not in ("question", "label", "labels")]


def token_counts(dataset: "Dataset", tokenizer: Any, max_length: int) -> NDArray[np.int64]:
    """Tokens of each example's longest pair, including special tokens, up to ``max_length``: int64 of shape (examples,)."""
    table = dataset.data.table
    question = _text_token_counts(table.column("question"), tokenizer, max_length)
    passages = [_text_token_counts(table.column(name), tokenizer, max_length) for name in _passage_columns(table)]
    special: int = tokenizer.num_special_tokens_to_add(pair=True)
    found: NDArray[np.int64] = np.minimum(question + np.max(passages, axis=0) + special, max_length)
    return found


def _text_token_counts(column: "pa.ChunkedArray[Any]", tokenizer: Any, max_length: int) -> NDArray[np.int64]:
    """Tokens of each text, or of the longest text of each list; repeated texts are tokenized once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_list(column.type):
        starts = np.concatenate([[0], np.cumsum(pc.list_value_length(column).to_numpy())[:-1]]).astype(np.int64)
        flat: Any = pc.list_flatten(column)
        longest: NDArray[np.int64] = np.maximum.reduceat(_text_token_counts(flat, tokenizer, max_length), starts)
        return longest
    encoded: Any = column.dictionary_encode().unify_dictionaries().combine_chunks()
    texts = encoded.dictionary.to_pylist()
    counts: list[int] = []
    for start in range(0, len(texts), CHUNK):
        found = tokenizer(
            texts[start : start + CHUNK],
            add_special_tokens=False,
            truncation=True,
            max_length=max_length,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        counts += [len(ids) for ids in found["input_ids"]]
    by_text: NDArray[np.int64] = np.array(counts, dtype=np.int64)[encoded.indices.to_numpy()]
    return by_text
