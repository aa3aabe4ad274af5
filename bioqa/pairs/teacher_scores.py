"""Score the pairs of a file with one or several rerankers, the teachers of a distillation."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bioqa.arguments import check_items
from bioqa.errors import OutputError, UsageError
from bioqa.io.checkpoint import Checkpoint, stamp
from bioqa.io.output import check_not_input, output_errors, replacing
from bioqa.pairs.pair_file import TEACHER_SCORE, Pair, read_provenance, schema
from bioqa.pairs.read_pairs import column_values, read_batches

if TYPE_CHECKING:
    import pyarrow as pa

    from bioqa.rerank.reranker import Reranker

CHUNK = 2048
"""Pairs between two records of the checkpoint, from which a killed command resumes."""


class Teacher(NamedTuple):
    """A reranker and the weight of its logits in the sum."""

    reranker: "Reranker"
    weight: float = 1.0


def score_pairs_file(
    path: str | Path,
    out: str | Path,
    teachers: Sequence[Teacher],
    *,
    note: Callable[[str], None] | None = None,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the pairs of a file with their ``teacher_score``, the weighted sum of the teachers' logits; return their number.

    If the call is interrupted, the same call resumes: scores are kept in a hidden file beside ``out`` until it is complete.
    ``progress`` is called with the number of pairs scored; ``note`` with a message when scores of other teachers are dropped.

    Raises:
        PairsError: the pairs cannot be read.
        OutputError: ``out`` cannot be written, or is ``path``.
        UsageError: there is no teacher, or a weight is not a finite number.
        ModelError: a teacher failed.
    """
    from pyarrow.parquet import ParquetWriter

    path, out = Path(path), Path(out)
    teachers = check_items("teachers", teachers, Teacher)
    if not teachers:
        raise UsageError("There is no teacher. Name at least one reranker.")
    if not all(abs(teacher.weight) < float("inf") for teacher in teachers):
        raise UsageError("The weight of a teacher must be a finite number.")
    check_not_input(out, [path])
    if not out.parent.is_dir():
        raise OutputError(f"{out} cannot be written: there is no folder {out.parent}.")
    header = {
        "pairs": stamp(path),
        "teachers": [stamp(teacher.reranker.folder) for teacher in teachers],
        "weights": [teacher.weight for teacher in teachers],
        "engines": [teacher.reranker.engine for teacher in teachers],
        "maximum lengths": [teacher.reranker.max_length for teacher in teachers],
    }
    provenance = {
        **read_provenance(path),
        "teachers": [{"name": Path(teacher.reranker.name).name, "weight": teacher.weight} for teacher in teachers],
    }
    fields = schema(provenance, scored=True)
    rows = 0
    with Checkpoint(out.parent / f".{out.name}.scores") as checkpoint:
        changed = checkpoint.resume(header)
        if changed and note:
            note(f"The settings of the unfinished scoring changed ({', '.join(changed)}); starting over.")
        done = sum(1 for _ in checkpoint)
        known = iter(checkpoint)
        with replacing(out) as part, closing(ParquetWriter(str(part), fields, compression="zstd")) as writer:
            for number, batch in enumerate(_chunks(path)):
                if number < done:
                    scores = next(known)["scores"]
                else:
                    scores = _scores(batch, teachers)
                    checkpoint.append({"scores": scores})
                with output_errors(out):
                    writer.write_batch(_with_scores(batch, scores))
                rows += batch.num_rows
                if progress:
                    progress(batch.num_rows)
        checkpoint.discard()
    return rows


def _chunks(path: Path) -> "Iterator[pa.RecordBatch]":
    for batch in read_batches(path):
        for start in range(0, batch.num_rows, CHUNK):
            yield batch.slice(start, CHUNK)


def _scores(batch: "pa.RecordBatch", teachers: Sequence[Teacher]) -> list[float]:
    pairs = list(zip(column_values(batch, "question"), column_values(batch, "passage"), strict=True))
    total = sum(teacher.weight * teacher.reranker.score_pairs(pairs).logits.astype("float64") for teacher in teachers)
    return [float(score) for score in total]  # type: ignore[union-attr]


def _with_scores(batch: "pa.RecordBatch", scores: Sequence[float]) -> "pa.RecordBatch":
    import pyarrow as pa

    fields = schema(scored=True)
    arrays = [*(batch.column(name) for name in Pair._fields), pa.array(scores, fields.field(TEACHER_SCORE).type)]
    return pa.RecordBatch.from_arrays(arrays, schema=fields)
