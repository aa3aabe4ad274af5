"""The first-stage weight of a trained model: chosen on dev, or kept from the base model."""

import json
import random
import shutil

import numpy as np
import pytest

from bioqa import BM25Retriever, Index, Reranker, build_index
from bioqa.errors import ModelError
from bioqa.pairs.pair_file import Pair, pair_table, write_pairs
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
from bioqa.retrieve.memory import MemoryRetriever
from bioqa.train.dev_weight import choose_dev_weight
from bioqa.train.train_recipe import train_recipe
from bioqa.types import Article
from tests.support import write_jsonl
from tests.tiny_models import WORDS, build, edit_json
from tests.train.training_files import pairs


def topical(questions, seed=0):
    """Ten passages per question; the relevant one has three words of the question, the others one word each of it."""
    rng = random.Random(seed)
    made = []
    for number in range(questions):
        words = [f"{rng.choice(WORDS)}{rng.randrange(10**6)}" for _ in range(3)]
        for position in range(10):
            own = words if position == 0 else words[:1]
            passage = " ".join([*own, *rng.choices(WORDS, k=12), str(len(made))])
            made.append(Pair(f"What {' '.join(words)}?", passage, float(position == 0), f"{seed}-{number}"))
    return made


def noise(pairs):
    return np.random.default_rng(0).normal(size=len(pairs))


def settings(folder):
    return json.loads((folder / "bioqa.json").read_text())


def test_where_bm25_knows_better_a_weight_is_found():
    found = choose_dev_weight(pair_table(topical(60)), 0.0, noise)
    assert found.weight >= 0.5
    assert found.tried[found.weight] == max(found.tried.values()) > found.tried[0.0] + 0.1
    assert found.chosen_by.startswith("highest nDCG@10 of 60 dev questions")


def test_hard_negatives_do_not_speak_against_bm25():
    """Among its labeled passages alone, gold would come last: all negatives are better for BM25, as mined ones are."""
    made = [pair if pair.label else pair._replace(passage=f"{pair.question} {pair.passage}") for pair in topical(60)]
    assert choose_dev_weight(pair_table(made), 0.0, noise).weight > 0


def test_where_the_model_knows_better_the_weight_is_0():
    made = topical(60)
    gold = {(pair.question, pair.passage) for pair in made if pair.label}
    assert (
        choose_dev_weight(pair_table(made), 0.0, lambda pairs: np.array([float(p in gold) for p in pairs])).weight == 0
    )


@pytest.mark.parametrize("dev", [None, topical(49), topical(60)[::10]])
def test_with_few_dev_pairs_the_base_models_weight_stays(dev):
    found = choose_dev_weight(None if dev is None else pair_table(dev), 0.6, lambda pairs: 1 / 0)
    assert (found.weight, found.tried) == (0.6, {})
    assert found.chosen_by.startswith("base model: ")


def test_scores_in_memory_are_on_lucenes_scale(tmp_path):
    made = topical(60)
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": str(n), "text": one.passage} for n, one in enumerate(made)])
    build_index(tmp_path / "index", [corpus])
    memory = MemoryRetriever(Article(str(n), "", one.passage) for n, one in enumerate(made))
    with Index(tmp_path / "index") as index:
        for question in {one.question for one in made[:100]}:
            [best], [lucene] = memory.search(question, 1), BM25Retriever(index).search(question, 1)
            assert (best.id, best.score) == (lucene.id, pytest.approx(lucene.score, rel=0.02))


def test_a_training_chooses_the_weight_on_dev(recipe, tmp_path):
    write_pairs(tmp_path / "dev.parquet", topical(60, seed=5))
    out = train_recipe(recipe(data={"dev": str(tmp_path / "dev.parquet")}), tmp_path / "model").folder
    found = settings(out)
    assert found["first_stage_weight"] > 0
    assert (
        found["first_stage_weights_tried"][f"{found['first_stage_weight']:g}"] > found["first_stage_weights_tried"]["0"]
    )
    assert Reranker(out, device="cpu").first_stage_weight == found["first_stage_weight"]
    card = (out / "README.md").read_text()
    assert (
        f"logit + {found['first_stage_weight']:g} · BM25 score. The weight was chosen by: highest nDCG@10 of 60" in card
    )


def test_a_model_trained_from_default_keeps_its_weight(recipe, data, tmp_path):
    base = settings(DEFAULT_FOLDER)["first_stage_weight"]
    write_pairs(tmp_path / "train.parquet", pairs(2, seed=1))
    write_pairs(tmp_path / "dev.parquet", pairs(2, seed=2))
    files = {"train": str(tmp_path / "train.parquet"), "dev": str(tmp_path / "dev.parquet")}
    model = {"base": "default", "max_length": 32, "freeze": ["embeddings"]}
    out = train_recipe(recipe(model=model, data=files, training={"learning_rate": 1e-5}), tmp_path / "model").folder
    assert settings(out)["first_stage_weight"] == base > 0
    assert "base model: dev has 2 questions" in settings(out)["first_stage_weight_chosen_by"]


def test_the_weight_of_the_base_survives_stages_and_the_loss_of_its_folder(recipe, tmp_path, monkeypatch):
    base = build(tmp_path / "base", head="")
    edit_json(base / "bioqa.json", first_stage_weight=0.7)
    made = recipe(model={"base": str(base)}, stage=[{"name": "first"}, {"name": "second"}])
    monkeypatch.setattr("bioqa.train.export.save_reliability", lambda path, evaluation: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train_recipe(made, tmp_path / "model")
    monkeypatch.undo()
    shutil.rmtree(base)
    assert settings(train_recipe(made, tmp_path / "model").folder)["first_stage_weight"] == 0.7


def test_damaged_settings_of_the_base_are_told_before_training(recipe, tmp_path):
    base = build(tmp_path / "base", head="")
    (base / "bioqa.json").write_text('{"first_stage_weight": "high"}')
    with pytest.raises(ModelError, match=r"bioqa\.json is damaged"):
        train_recipe(recipe(model={"base": str(base)}), tmp_path / "model")
    assert not (tmp_path / "model").exists()
