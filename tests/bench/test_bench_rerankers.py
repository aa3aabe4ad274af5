"""What a reranker's cached scores depend on, and the settings in its folder."""

import json

import pytest

from bioqa import Index, Reranker
from bioqa.bench.suite import RerankerSpec
from bioqa.bench.suite_reranker import SuiteReranker
from bioqa.bench.timed_runs import RerankRecord, score_gold
from bioqa.errors import ModelError
from bioqa.index.build import build_index
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
from bioqa.types import Question
from tests.support import write_jsonl


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.json").write_text(
        json.dumps({"architectures": ["BertForSequenceClassification"], "num_labels": 1})
    )
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("card")
    return tmp_path


def key(folder, **options):
    return SuiteReranker(RerankerSpec("m", model=str(folder), device="cpu", **options)).key


def test_scores_are_reused_only_for_the_same_model_and_options(folder):
    before = key(folder)
    assert key(folder, max_length=64) != before
    assert key(folder, engine="cpu-int8") != before
    assert key(folder, first_stage_weight=0.3) == before
    (folder / "README.md").write_text("another card")
    (folder / "bioqa.json").write_text(json.dumps({"threshold": 0.4, "first_stage_weight": 0.2}))
    assert key(folder) == before
    (folder / "model.safetensors").write_bytes(b"weightS")
    assert key(folder) != before


@pytest.mark.parametrize(
    ("engine", "family", "depends"),
    [
        ("cpu-int8", "bert", True),
        ("auto", "bert", True),
        ("", "bert", True),
        ("auto", "other", False),
        ("exact", "bert", False),
    ],
)
def test_cpu_int8_scores_are_reused_only_with_the_same_onnxruntime(engine, family, depends, folder, monkeypatch):
    from importlib import metadata

    config = json.loads((DEFAULT_FOLDER / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": family}))
    before, version = key(folder, engine=engine), metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.1" if name == "onnxruntime" else version(name))
    assert (key(folder, engine=engine) != before) == depends


def test_the_suite_overrides_the_first_stage_weight_of_the_folder(folder):
    (folder / "bioqa.json").write_text(json.dumps({"threshold": 0.4, "first_stage_weight": 0.2}))
    own = SuiteReranker(RerankerSpec("m", model=str(folder)))
    own.check()
    assert (own.settings.threshold, own.first_stage_weight) == (0.4, 0.2)
    assert SuiteReranker(RerankerSpec("m", model=str(folder), first_stage_weight=0.0)).first_stage_weight == 0.0
    (folder / "bioqa.json").unlink()
    assert (own.settings.threshold, own.first_stage_weight) == (None, 0.0)


@pytest.mark.parametrize("content", ['{"first_stage_weight": "much"}', '{"threshold": "high"}', "{"])
def test_a_damaged_bioqa_json_is_refused_before_anything_is_scored(folder, content):
    (folder / "bioqa.json").write_text(content)
    with pytest.raises(ModelError, match=r"bioqa\.json"):
        SuiteReranker(RerankerSpec("m", model=str(folder))).check()


def test_hard_negatives_are_those_that_training_could_take(tmp_path):
    texts = {
        "gold": "Inhaled steroids help.",
        "same": "inhaled steroids  HELP",
        "longer": "We say: inhaled steroids help!",
    }
    texts |= {
        "other": "Steroids are hormones.",
        "again": "steroids are hormones",
        "steroid": "Inhaled steroid",
        "empty": "",
    }
    source = write_jsonl(tmp_path / "corpus.jsonl", [{"id": id, "text": text} for id, text in texts.items()])
    build_index(tmp_path / "index", [source])
    ranked = RerankRecord("q", 0, 0, 0, [(id, 1.0, 1.0) for id in texts])
    with Index(tmp_path / "index") as index:
        settings = {"relevant": {"q": {"gold"}}, "reranked": {"q": ranked}, "negatives": 9}
        found = score_gold(index, Reranker(device="cpu"), [Question("q", "Do steroids help?")], **settings)
        assert [one.negatives for one in found] == [["other", "steroid"]]
