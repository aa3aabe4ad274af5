"""The first-stage weight: the grid, what is held out, and what `bioqa tune` stores."""

import json
import shutil
import statistics

import pytest

from bioqa import BM25Retriever, Index, Pipeline, PipelineOptions, Reranker, read_questions
from bioqa.corpus.qrels import read_qrels
from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.measures import measure_runs
from bioqa.evaluate.tune_weight import choose_weight, tune_weight
from bioqa.pipeline.combine import rank, reweight
from tests.support import DEMO
from tests.tiny_models import build, edit_json, one_thread, tiny_reranker  # noqa: F401

FILE = DEMO / "questions.json"


def candidates(*rows):
    logits = [logit for _, _, logit in rows]
    return rank([(id, score) for id, score, _ in rows], logits, logits)


def test_reweighting_equals_ranking_with_the_weight():
    listed = [("a", 9.0), ("b", 8.0), ("c", 8.0), ("d", 2.0), ("e", 1.0)]
    logits, probabilities = [-3.0, 0.5, 2.0], [0.1, 0.6, 0.9]
    for first in (0.0, 5.0):
        for weight in (0.0, 0.4, 3.0):
            earlier = rank(listed, logits, probabilities, first)
            assert reweight(earlier, weight) == rank(listed, logits, probabilities, weight)
    assert reweight(rank(listed), 0.7) == rank(listed)


def test_a_helpful_first_stage_gets_a_weight_and_a_misleading_one_none():
    """The logits are the wrong way round by 1; BM25's scores are right by 2, or wrong."""
    qrels = {str(n): {"r": 1} for n in range(20)}
    right = {id: candidates(("r", 4.0, 0.0), ("x", 2.0, 1.0)) for id in qrels}
    found = choose_weight(right, qrels, 0.0, weights=[0.25, 1.0])
    assert (found.best.weight, found.best.mean, found.zero) == (1.0, 1.0, pytest.approx(0.63, abs=0.01))
    assert [point.weight for point in found.grid] == [0.0, 0.25, 1.0]
    assert found.held_out == 1.0
    assert found.p_zero < 0.001
    wrong = {id: candidates(("x", 4.0, 0.0), ("r", 2.0, 1.0)) for id in qrels}
    found = choose_weight(wrong, qrels, 1.0, weights=[0.25])
    assert (found.best.weight, found.current_weight, found.zero) == (0.0, 1.0, 1.0)
    assert found.current < found.held_out
    assert found.p_current < 0.001


def test_of_equal_weights_the_current_one_stays():
    qrels = {str(n): {"r": 1} for n in range(6)}
    same = {id: candidates(("r", 4.0, 1.0), ("x", 2.0, 0.0)) for id in qrels}
    assert choose_weight(same, qrels, 0.6).best.weight == 0.6
    assert choose_weight(same, qrels, 0.0).best.weight == 0.0


def test_the_choice_of_a_fold_does_not_see_it():
    """Three questions want weight 0, and one gains more from weight 1, but is held out from the choice of its own fold."""
    qrels = {str(n): {"r": 1} for n in range(4)}
    others = [(f"x{n}", 5.0, 0.2) for n in range(2)]
    small = candidates(("r", 4.0, 0.9), *others)
    ranked = {"0": candidates(("r", 9.0, 0.0), *((f"x{n}", 1.0, 1.0) for n in range(9))), **dict.fromkeys("123", small)}
    found = choose_weight(ranked, qrels, 0.0, weights=[1.0], folds=4)
    by_fold = {round(fold.held_out, 3): fold.weight for fold in found.folds}
    each = measure_runs(
        qrels, {id: {c.id: c.score for c in reweight(of, 0.0)} for id, of in ranked.items()}, ["ndcg@10"]
    )
    assert by_fold[round(each["ndcg@10"]["0"], 3)] == 0.0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"folds": 1}, UsageError, "at least 2 folds"),
        ({"weights": []}, UsageError, "at least 1 weight"),
        ({"weights": [-0.1]}, UsageError, "must be finite and at least 0, not -0.1"),
        ({"weights": [float("nan")]}, UsageError, "must be finite and at least 0, not nan"),
        ({"measure": "ndgc"}, UsageError, "Unknown measure 'ndgc'"),
        ({"folds": 1000}, QuestionError, "1000 folds need at least 1000 questions"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_scored(options, error, message, demo_index, tiny_reranker):  # noqa: F811
    with Index(demo_index) as index:
        pipeline = Pipeline(BM25Retriever(index), Reranker(tiny_reranker, device="cpu"))
        with pytest.raises(error, match=message):
            tune_weight(pipeline, read_questions(FILE), read_qrels(FILE), **options)
        with pytest.raises(UsageError, match="belongs to a reranker"):
            tune_weight(Pipeline(BM25Retriever(index)), read_questions(FILE), read_qrels(FILE))


@pytest.fixture(scope="module")
def roomy(tmp_path_factory):
    """A tiny model that reads pairs long enough for the demo's questions."""
    folder = build(tmp_path_factory.mktemp("roomy") / "model", max_position_embeddings=256)
    edit_json(folder / "tokenizer_config.json", model_max_length=256)
    return folder


@pytest.fixture(scope="module")
def some(tmp_path_factory):
    """A file with a quarter of the demo's questions."""
    path = tmp_path_factory.mktemp("some") / "questions.json"
    content = json.loads(FILE.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"questions": content["questions"][::4]}), encoding="utf-8")
    return path


@pytest.fixture
def model(tmp_path, roomy):
    """A model folder with settings, one of them unknown to bioqa."""
    folder = shutil.copytree(roomy, tmp_path / "model")
    edit_json(folder / "bioqa.json", threshold=0.25, first_stage_weight=0.3, mine={"kept": ["as", "it", "is"]})
    return folder


def test_a_tuned_weight_ranks_as_the_search_then_does(demo_index, bioqa, model, some):
    options = ["--questions", some, "--reranker", model, "--device", "cpu", "--rerank-depth", "5", "--folds", "3"]
    before = (model / "bioqa.json").read_text()
    shown = bioqa("tune", demo_index, *options, "--weights", "0,4")
    assert shown.code == 0, shown.err
    for part in ("weight 0.3", "(the model's)", "fold 3:", "Held out: 0.", "paired t-tests", "--first-stage-weight 4"):
        assert part in shown.out
    assert (model / "bioqa.json").read_text() == before
    done = bioqa("tune", demo_index, *options, "--weights", "0,4", "--write", "--json")
    found = json.loads(done.out)
    assert [point["weight"] for point in found["grid"]] == [0.0, 0.3, 4.0]
    assert found["best"]["weight"] == 4.0, "random logits: BM25 is better"
    stored = json.loads((model / "bioqa.json").read_text())
    assert (stored["threshold"], stored["mine"]) == (0.25, {"kept": ["as", "it", "is"]})
    assert stored["first_stage_weight"] == 4.0
    assert stored["first_stage_weights_tried"].keys() == {"0", "0.3", "4"}
    assert "12 questions: questions.json" in stored["first_stage_weight_chosen_by"]
    assert "Stored first_stage_weight 4 in" in done.err
    with Index(demo_index) as index:
        pipeline = Pipeline(BM25Retriever(index), Reranker(model, device="cpu"), PipelineOptions(rerank_depth=5))
        run = {one.question.id: dict(one.results) for one in pipeline.run(read_questions(some))}
    values = measure_runs(read_qrels(some), run, ["ndcg@10"])["ndcg@10"]
    assert statistics.fmean(values.values()) == pytest.approx(found["best"]["mean"])


def test_a_collection_of_a_suite(bioqa, model, some, tmp_path):
    suite = tmp_path / "suite.toml"
    collection = f'[[collection]]\nname = "NAME"\ncorpus = ["{DEMO / "demo26n0001.xml"}"]\nquestions = "{some}"\n'
    suite.write_text(f'name = "s"\n{collection.replace("NAME", "demo")}[[first-stage]]\nname = "bm25"\n')
    options = ["--reranker", model, "--device", "cpu", "--rerank-depth", "3", "--cache", tmp_path / "cache"]
    done = bioqa("tune", "--suite", suite, *options, "--weights", "1", "--write")
    assert done.code == 0, done.err
    assert "demo of suite.toml" in json.loads((model / "bioqa.json").read_text())["first_stage_weight_chosen_by"]
    suite.write_text(suite.read_text() + collection.replace("NAME", "other"))
    unclear = bioqa("tune", "--suite", suite, *options)
    assert (unclear.code, "with --collection: demo, other." in unclear.err) == (2, True)
    assert bioqa("tune", "--suite", suite, "--collection", "other", *options, "--weights", "1").code == 0


def test_the_built_in_model_and_models_of_the_hub_are_not_written(demo_index, bioqa, monkeypatch, tiny_reranker):  # noqa: F811
    from bioqa.rerank.model_folder import resolve

    before = (resolve.DEFAULT_FOLDER / "bioqa.json").read_bytes()
    for name in ("default", resolve.DEFAULT_FOLDER):
        done = bioqa("tune", demo_index, "--questions", FILE, "--reranker", name, "--write")
        assert (done.code, done.err.startswith("Error: --write does not change the built-in reranker.")) == (2, True)
    assert (resolve.DEFAULT_FOLDER / "bioqa.json").read_bytes() == before
    monkeypatch.setattr(resolve, "_from_hub", lambda *_: tiny_reranker)
    done = bioqa("tune", demo_index, "--questions", FILE, "--reranker", "owner/model", "--write")
    assert (done.code, "hf download owner/model --local-dir FOLDER" in done.err) == (2, True)
    assert not (tiny_reranker / "bioqa.json").exists()


def test_incomplete_arguments_are_refused(demo_index, bioqa, tmp_path):
    for arguments, said in (
        ([demo_index], "Give an INDEX and --questions FILE, or --suite FILE."),
        (["--questions", FILE], "Give an INDEX and --questions FILE, or --suite FILE."),
        ([demo_index, "--questions", FILE, "--collection", "demo"], "--collection and --cache need --suite FILE."),
        ([demo_index, "--suite", tmp_path / "s.toml"], "A collection of --suite has its own index"),
        ([demo_index, "--questions", FILE, "--weights", "0.5,deep"], "--weights must be comma-separated numbers"),
    ):
        done = bioqa("tune", *arguments)
        assert (done.code, said in done.err) == (2, True), done.err


def test_damaged_settings_are_not_replaced(model):
    from bioqa.errors import ModelError
    from bioqa.rerank.model_folder.settings import update_settings

    (model / "bioqa.json").write_text('{"threshold": "high"}')
    with pytest.raises(ModelError, match="is damaged"):
        update_settings(model, first_stage_weight=1.0)
    assert (model / "bioqa.json").read_text() == '{"threshold": "high"}'
    (model / "bioqa.json").unlink()
    update_settings(model, first_stage_weight=1.0)
    assert json.loads((model / "bioqa.json").read_text()) == {"first_stage_weight": 1.0}
