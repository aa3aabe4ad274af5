"""Scores of teachers beside the pairs of a file: right, resumable, never half-written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bioqa.errors import ModelError, OutputError, PairsError, UsageError
from bioqa.pairs import teacher_scores
from bioqa.pairs.pair_file import TEACHER_SCORE, Pair, read_provenance, write_pairs
from bioqa.pairs.read_pairs import read_pairs
from bioqa.pairs.teacher_scores import Teacher, score_pairs_file
from bioqa.rerank.reranker import Reranker

QUESTIONS = ["what causes asthma", "which gene is mutated", "how is fever treated"]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """A pairs file of 12 pairs."""
    path = tmp_path / "pairs.parquet"
    rows = [Pair(QUESTIONS[n % 3], f"passage {n} on fever and a gene", float(n % 2), str(n % 3)) for n in range(12)]
    write_pairs(path, rows, {"command": "bioqa pairs build"})
    return path


@pytest.fixture(scope="module")
def reranker(tiny_reranker: Path) -> Reranker:
    """The tiny reranker on the exact engine."""
    return Reranker(tiny_reranker, device="cpu", engine="exact")


def logits(path: Path, reranker: Reranker) -> Any:
    table = read_pairs(path)
    return reranker.score_pairs(
        list(zip(table["question"].to_pylist(), table["passage"].to_pylist(), strict=True))
    ).logits


def test_the_scores_are_the_weighted_sum_of_the_logits(pairs: Path, reranker: Reranker, tmp_path: Path) -> None:
    out = tmp_path / "scored.parquet"
    assert score_pairs_file(pairs, out, [Teacher(reranker), Teacher(reranker, -0.25)]) == 12
    scored = read_pairs(out)
    np.testing.assert_allclose(scored[TEACHER_SCORE].to_numpy(), 0.75 * logits(pairs, reranker), atol=1e-5)
    assert scored.select(Pair._fields).equals(read_pairs(pairs))
    provenance = read_provenance(out)
    assert provenance["command"] == "bioqa pairs build"
    assert [one["weight"] for one in provenance["teachers"]] == [1.0, -0.25]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["pairs.parquet", "scored.parquet"]


def test_an_interrupted_scoring_resumes_with_the_chunks_left(
    pairs: Path, reranker: Reranker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teacher_scores, "CHUNK", 5)
    out = tmp_path / "scored.parquet"
    asked: list[int] = []
    score = Reranker.score_pairs

    def failing(self: Reranker, pairs: Any, **options: Any) -> Any:
        asked.append(len(pairs))
        if len(asked) == 2:
            raise ModelError("killed")
        return score(self, pairs, **options)

    monkeypatch.setattr(Reranker, "score_pairs", failing)
    with pytest.raises(ModelError):
        score_pairs_file(pairs, out, [Teacher(reranker)])
    assert not out.exists()
    assert score_pairs_file(pairs, out, [Teacher(reranker)]) == 12
    assert asked == [5, 5, 5, 2]
    monkeypatch.undo()
    np.testing.assert_allclose(read_pairs(out)[TEACHER_SCORE].to_numpy(), logits(pairs, reranker), atol=1e-5)


def test_scores_of_other_teachers_are_not_resumed_from(
    pairs: Path, reranker: Reranker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "scored.parquet"
    monkeypatch.setattr(teacher_scores, "_with_scores", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        score_pairs_file(pairs, out, [Teacher(reranker)])
    monkeypatch.undo()
    notes: list[str] = []
    score_pairs_file(pairs, out, [Teacher(reranker, 2.0)], note=notes.append)
    assert notes == ["The settings of the unfinished scoring changed (weights); starting over."]
    np.testing.assert_allclose(read_pairs(out)[TEACHER_SCORE].to_numpy(), 2 * logits(pairs, reranker), atol=1e-5)


def test_bad_arguments_are_refused(pairs: Path, reranker: Reranker, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no teacher"):
        score_pairs_file(pairs, tmp_path / "out", [])
    with pytest.raises(UsageError, match="finite"):
        score_pairs_file(pairs, tmp_path / "out", [Teacher(reranker, float("nan"))])
    with pytest.raises(OutputError):
        score_pairs_file(pairs, pairs, [Teacher(reranker)])
    with pytest.raises(OutputError, match="no folder"):
        score_pairs_file(pairs, tmp_path / "missing" / "out", [Teacher(reranker)])


def test_a_score_that_is_not_finite_is_refused_with_its_row(pairs: Path, tmp_path: Path) -> None:
    table = pq.read_table(pairs)
    scores = pa.array([0.0] * 7 + [float("inf")] + [0.0] * 4)
    pq.write_table(table.append_column(TEACHER_SCORE, scores), tmp_path / "bad.parquet")
    with pytest.raises(PairsError, match="row 8: the teacher_score is not a finite number"):
        read_pairs(tmp_path / "bad.parquet")


def test_the_command_scores_with_several_teachers(pairs: Path, tiny_reranker: Path, tmp_path: Path, bioqa: Any) -> None:
    out = tmp_path / "scored.parquet"
    arguments = ("--teacher", tiny_reranker, "--teacher", tiny_reranker, "--engine", "exact", "--out", out)
    wrong = bioqa("pairs", "score", pairs, *arguments, "--weight", 1)
    assert (wrong.code, wrong.err) == (
        2,
        "Error: There are 2 --teacher and 1 --weight. Give one weight for each teacher.\n",
    )
    done = bioqa("pairs", "score", pairs, *arguments, "--weight", 1, "--weight", 0.5)
    assert done.code == 0
    assert "12 pairs" in done.err
    assert json.loads(bioqa("pairs", "stats", out, "--json").out)["rows"] == 12
