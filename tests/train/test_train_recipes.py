"""The recipes of the repository: their published settings, and each trained on a tiny model of its architecture."""

import json
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest

from bioqa.errors import PairsError
from bioqa.rerank.reranker import Reranker
from bioqa.train.recipe import read_recipe
from tests.tiny_models import build
from tests.train.training_files import RECIPES, pairs, write

BASES = {
    "bioformer-cell-types": ("bert-cased", {"num_hidden_layers": 16, "hidden_size": 24, "intermediate_size": 96}),
    "biobert-bioasq-snippets": ("bert-cased", {"head": "MaskedLM"}),
    "biomedbert-bioasq-abstracts": ("bert-uncased", {"head": "MaskedLM"}),
    "deberta-claims": ("deberta-v2", {"labels": 3}),
    "bge-lost-and-found": ("xlm-roberta", {}),
    "default": ("bert-uncased", {"head": ""}),
}

PUBLISHED = {
    "bioformer-cell-types": {
        "model": ("bioformers/bioformer-16L", 512, False),
        "loss": ("bce", 5.0),
        "training": (32, 2e-5, 0.01, 0.1, 3, "fp16", 500, True),
    },
    "biobert-bioasq-snippets": {
        "model": ("dmis-lab/biobert-base-cased-v1.1", 512, False),
        "loss": ("bce", 1.0),
        "training": (16, 5e-5, 0.0, 0.0, 2, "fp32", 0, False),
    },
    "biomedbert-bioasq-abstracts": {
        "model": ("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract", 512, False),
        "loss": ("bce", 1.0),
        "training": (16, 5e-5, 0.0, 0.0, 1, "fp16", 0, False),
    },
    "deberta-claims": {
        "model": ("cross-encoder/nli-deberta-v3-base", 256, True),
        "loss": ("bce", 1.0),
        "training": (16, 5e-5, 0.0, 0.0, 1, "fp16", 0, False),
    },
    "bge-lost-and-found": {
        "model": ("BAAI/bge-reranker-v2-m3", 512, False),
        "loss": ("bce", 1.0),
        "training": (16, 5e-5, 0.0, 0.0, 3, "fp32", 500, False),
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_recipe_has_the_published_settings(name):
    recipe = read_recipe(RECIPES / f"{name}.toml")
    assert recipe.name == name
    assert len(recipe.stages) == (2 if name == "biobert-bioasq-snippets" else 1)
    for stage in recipe.stages:
        model, loss, training = stage.model, stage.loss, stage.training
        assert (model.base, model.max_length, model.replace_head) == PUBLISHED[name]["model"]
        assert (loss.name, loss.pos_weight) == PUBLISHED[name]["loss"]
        assert (
            *(training.batch_size, training.learning_rate, training.weight_decay, training.warmup, training.epochs),
            *(training.precision, training.eval_steps, training.best_checkpoint),
        ) == PUBLISHED[name]["training"]
        assert (training.schedule, training.seed, training.max_grad_norm) == ("linear", 42, 1.0)
        assert not training.group_by_length


@pytest.mark.parametrize("name", BASES)
def test_a_recipe_trains_a_model_of_its_architecture(name, tmp_path, bioqa):
    from sentence_transformers import CrossEncoder

    architecture, options = BASES[name]
    base = build(tmp_path / "base", architecture, **options)
    settings = [
        f"model.base={base}",
        "model.max_length=64",
        f"data.train={write(tmp_path / 'train.parquet', 8, seed=1)}",
        f"data.dev={write(tmp_path / 'dev.parquet', 4, seed=2)}",
        "training.precision=fp32",
        "training.eval_steps=2",
        "training.save_steps=0",
        "training.logging_steps=1",
        *(["export.max_length=64"] if name == "default" else []),
    ]
    sets = [word for setting in settings for word in ("--set", setting)]
    done = bioqa("train", RECIPES / f"{name}.toml", "--out", tmp_path / "model", *sets)
    assert (done.code, done.out) == (0, ""), done.err
    assert done.err.rstrip().endswith("its README.md is the model card.")
    assert re.search(r"step 1 of \d+: loss \d", done.err)  # without a terminal there is no bar

    given = [(pair.question, pair.passage) for pair in pairs(3, seed=5)]
    library = CrossEncoder(str(tmp_path / "model"), device="cpu", model_kwargs={"dtype": "float32"}).predict(given)
    scored = Reranker(tmp_path / "model", device="cpu", engine="exact").score_pairs(given)
    assert library.shape == (18,)
    assert len(set(library.tolist())) > 10
    np.testing.assert_allclose(scored.scores, library, atol=1e-5)
    written = tomllib.loads((tmp_path / "model" / "recipe.toml").read_text())
    assert written["stage"][0]["loss"]["pos_weight"] == (5.0 if name == "bioformer-cell-types" else 1.0)


def test_the_default_recipe_freezes_the_word_embeddings_and_writes_half_precision(tmp_path, data):
    from safetensors.torch import load_file

    from bioqa.train.train_recipe import train_recipe

    base = build(tmp_path / "base", head="")
    settings = [
        *(f"model.base={base}", "model.max_length=48", "export.max_length=64", "training.save_steps=0"),
        *(f"data.train={data / 'train.parquet'}", f"data.dev={data / 'dev.parquet'}", "data.max_rows=64"),
    ]
    model = train_recipe(read_recipe(RECIPES / "default.toml", settings), tmp_path / "model").folder
    before, after = load_file(base / "model.safetensors"), load_file(model / "model.safetensors")
    words = "embeddings.word_embeddings.weight"
    assert str(after[f"bert.{words}"].dtype) == "torch.float16"
    assert (after[f"bert.{words}"] == before[words].half()).all()
    queries = "encoder.layer.0.attention.self.query.weight"
    assert not (after[f"bert.{queries}"] == before[queries].half()).all()
    assert Reranker(model, device="cpu", engine="exact").max_length == 64


def test_a_head_with_several_labels_is_not_replaced_by_default(tmp_path, bioqa, data):
    base = build(tmp_path / "base", "deberta-v2", labels=3)
    sets = ("model.replace_head=false", f"model.base={base}", "training.precision=fp32")
    sets += (f"data.train={data / 'train.parquet'}", f"data.dev={data / 'dev.parquet'}")
    done = bioqa(
        "train", RECIPES / "deberta-claims.toml", "--out", tmp_path / "m", *[w for s in sets for w in ("--set", s)]
    )
    assert done.code == 2
    assert "has a head with 3 labels; a reranker has one. Set model.replace_head = true" in done.err
    assert not (tmp_path / "m" / "config.json").exists()


def test_the_default_output_folder_has_the_name_of_the_recipe(tmp_path, bioqa, data, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sets = (f"model.base={build(tmp_path / 'base', head='')}", "model.max_length=48", "training.precision=fp32")
    sets += (f"data.train={data / 'train.parquet'}", f"data.dev={data / 'dev.parquet'}", "data.max_rows=32")
    done = bioqa(
        "train", RECIPES / "biomedbert-bioasq-abstracts.toml", *[word for one in sets for word in ("--set", one)]
    )
    assert done.code == 0, done.err
    assert (tmp_path / "models" / "biomedbert-bioasq-abstracts" / "model.safetensors").is_file()


def test_bf16_trains_without_a_gpu(tmp_path, data, monkeypatch):
    import torch

    from bioqa.train.train_recipe import train_recipe

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    settings = [
        *(f"model.base={build(tmp_path / 'base', head='')}", "model.max_length=48", "training.precision=bf16"),
        *(f"data.train={data / 'train.parquet'}", f"data.dev={data / 'dev.parquet'}", "data.max_rows=64"),
        "training.save_steps=0",
    ]
    model = train_recipe(read_recipe(RECIPES / "default.toml", settings), tmp_path / "model").folder
    facts = json.loads((model / "training.json").read_text())
    assert all(stage["hyperparameters"]["bf16"] for stage in facts)


def test_half_precision_needs_a_gpu(bioqa, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    files = [f"data.{name}={tmp_path / 'pairs.parquet'}" for name in ("train", "dev")]
    (tmp_path / "pairs.parquet").touch()
    sets = [part for setting in files for part in ("--set", setting)]
    done = bioqa("train", RECIPES / "deberta-claims.toml", "--out", tmp_path / "model", *sets)
    assert done.code == 2
    assert "training.precision = 'fp16' needs a GPU" in done.err
    assert "--set training.precision=fp32" in done.err
    assert not (tmp_path / "model").exists()


def test_missing_pairs_are_reported_before_heavy_libraries_are_loaded(tmp_path):
    program = (
        "import sys\nfrom bioqa.cli.main import main\n"
        f"code = main(['train', {str(RECIPES / 'default.toml')!r}, '--out', 'model'])\n"
        "print(code, [name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"{PairsError.exit_code} []\n"
    assert (
        "titles-train.parquet, which cannot be opened: No such file or directory. Build it with bioqa pairs"
        in done.stderr
    )
    assert not list(tmp_path.iterdir())
