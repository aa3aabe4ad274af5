"""k1 and b: the grid, the folds, and what is held out."""

import json

import pytest

from bioqa import BM25Retriever, Index, SearchOptions, read_questions
from bioqa.corpus.qrels import read_qrels
from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.measures import measure_runs
from bioqa.evaluate.tune_bm25 import tune_bm25
from bioqa.index.filters import Filters
from tests.support import DEMO

FILE = DEMO / "questions.json"


@pytest.fixture
def retriever(demo_index):
    with Index(demo_index) as index:
        yield BM25Retriever(index)


def values(retriever, k1, b, questions, qrels):
    options = SearchOptions(k1=k1, b=b)
    run = {one.id: {hit.id: hit.score for hit in retriever.search(one.body, 20, options)} for one in questions}
    return measure_runs(qrels, run, ["ndcg@10"])["ndcg@10"]


def test_each_fold_is_held_out_from_its_own_choice(retriever):
    questions, qrels = read_questions(FILE), read_qrels(FILE)
    k1s, bs = [0.4, 1.5], [0.2, 0.9]
    found = tune_bm25(retriever, questions, qrels, k1s=k1s, bs=bs, top=20, folds=3, seed=1)
    each = {(k1, b): values(retriever, k1, b, questions, qrels) for k1 in k1s for b in bs}
    assert {(point.k1, point.b): point.mean for point in found.grid} == pytest.approx(
        {pair: sum(of.values()) / len(of) for pair, of in each.items()}
    )
    assert found.best.mean == max(point.mean for point in found.grid)
    assert sum(fold.questions for fold in found.folds) == found.questions == len(questions)
    default = values(retriever, 0.9, 0.4, questions, qrels)
    assert found.default == pytest.approx(sum(default.values()) / len(default))
    total = sum(fold.held_out * fold.questions for fold in found.folds)
    assert found.held_out == pytest.approx(total / found.questions)
    assert found.held_out <= found.best.mean + 1e-12
    assert found == tune_bm25(retriever, questions, qrels, k1s=k1s, bs=bs, top=20, folds=3, seed=1)


def test_the_choice_of_a_fold_does_not_see_it(retriever, monkeypatch):
    """One odd question makes b 0.9 the best of the grid, but the fold that has it does not see it."""
    import bioqa.evaluate.tune_bm25 as module

    questions = read_questions(FILE)[:4]
    qrels = {id: of for id, of in read_qrels(FILE).items() if id in {one.id for one in questions}}
    odd = questions[0].id

    def fake(retriever, options, asked, judged, measure, top):
        far = options.b == 0.9
        return {id: (1.0 if far else 0.0) if id == odd else (0.4 if far else 0.5) for id in judged}

    monkeypatch.setattr(module, "_values", fake)
    found = tune_bm25(retriever, questions, qrels, k1s=[0.9], bs=[0.4, 0.9], folds=4)
    assert found.best.b == 0.9
    chosen = {fold.held_out: fold.b for fold in found.folds}
    assert chosen[0.0] == 0.4, "the fold with the odd question"
    assert [fold.b for fold in found.folds].count(0.9) == 3


def test_the_command_prints_the_grid_and_what_is_held_out(demo_index, bioqa, tmp_path):
    options = ["--questions", FILE, "--k1", "0.6,0.9", "--b", "0.4", "--folds", "3"]
    shown = bioqa("index", "tune", demo_index, *options)
    assert shown.code == 0, shown.err
    for part in (
        "k1 \\ b       0.4",
        "fold 3:",
        "Held out: 0.",
        "default (k1 0.9, b 0.4)",
        "optimistic: tuned on the same questions",
    ):
        assert part in shown.out
    found = json.loads(bioqa("index", "tune", demo_index, *options, "--json").out)
    assert len(found["grid"]) == 2
    first = next(iter(read_qrels(FILE).items()))
    qrels = tmp_path / "few.qrels"
    qrels.write_text(f"{first[0]} 0 {next(iter(first[1]))} 1\n", encoding="utf-8")
    few = bioqa("index", "tune", demo_index, *options, "--qrels", qrels)
    assert (few.code, "3 folds need at least 3 questions" in few.err) == (4, True)


def test_the_grid_is_measured_on_what_passes_the_filters(retriever, demo_index, bioqa):
    questions, qrels = read_questions(FILE), read_qrels(FILE)
    filters = Filters(as_of="2020")
    found = tune_bm25(retriever, questions, qrels, k1s=[0.9], bs=[0.4], folds=2, top=20, filters=filters)
    options = SearchOptions(filters=filters)
    run = {one.id: {hit.id: hit.score for hit in retriever.search(one.body, 20, options)} for one in questions}
    each = measure_runs(qrels, run, ["ndcg@10"])["ndcg@10"]
    assert found.best.mean == pytest.approx(sum(each.values()) / len(each))
    command = ("index", "tune", demo_index, "--questions", FILE, "--k1", "0.9", "--b", "0.4", "--folds", 2, "--top", 20)
    done = bioqa(*command, "--as-of", "2020", "--json")
    assert json.loads(done.out)["best"]["mean"] == pytest.approx(found.best.mean)
    assert json.loads(bioqa(*command, "--json").out)["best"]["mean"] > found.best.mean


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, UsageError, "at least 2 folds"),
        ({"k1s": []}, UsageError, "values of k1 and b"),
        ({"k1s": [-1]}, UsageError, "k1 must be finite and at least 0"),
        ({"k1s": [float("inf")]}, UsageError, "k1 must be finite and at least 0"),
        ({"bs": [1.5]}, UsageError, "b must be between 0 and 1"),
        ({"measure": "ndgc"}, UsageError, "Unknown measure 'ndgc'"),
        ({"folds": 1000}, QuestionError, "1000 folds need at least 1000 questions"),
    ],
)
def test_invalid_arguments_are_refused(retriever, options, error, message):
    given = {"k1s": [0.9], "bs": [0.4]} | options
    with pytest.raises(error, match=message):
        tune_bm25(retriever, read_questions(FILE), read_qrels(FILE), **given)


def test_numbers_are_checked(demo_index, bioqa):
    done = bioqa("index", "tune", demo_index, "--questions", FILE, "--k1", "0.9,deep")
    assert (done.code, "comma-separated numbers" in done.err) == (2, True)
