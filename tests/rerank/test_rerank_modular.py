"""Cross-encoders of several modules (Transformer + Pooling + Dense + LayerNorm + Dense) score as in sentence-transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

from bioqa.errors import ModelError
from bioqa.rerank.reranker import Reranker
from bioqa.train.base_model import load_base_model
from bioqa.train.recipe import ModelSettings
from tests.tiny_models import SIZES, build, edit_json

WIDTH = SIZES["hidden_size"]


def save_modular(source: Path, folder: Path, pooling: str = "cls", **options: Any) -> Path:
    """A cross-encoder of five modules over the encoder in ``source``, with random weights in its head."""
    torch.manual_seed(3)
    modules = [
        Transformer(str(source), transformer_task="feature-extraction"),
        Pooling(WIDTH, pooling),
        Dense(WIDTH, WIDTH, activation_function=torch.nn.GELU()),
        LayerNorm(WIDTH),
        Dense(WIDTH, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    CrossEncoder(modules=modules, device="cpu", **options).save_pretrained(str(folder), create_model_card=False)
    return folder


@pytest.fixture(scope="module")
def modular(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modular")
    return save_modular(build(folder / "encoder", "modernbert", head=""), folder / "reranker")


@pytest.fixture
def damaged(modular: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(modular, tmp_path / "copy"))


@pytest.mark.parametrize("architecture", ["modernbert", "bert-uncased"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_scores_are_those_of_the_library(
    architecture: str, pooling: str, tmp_path: Path, question: str, passages: list[str]
) -> None:
    folder = save_modular(build(tmp_path / "encoder", architecture, head=""), tmp_path / "reranker", pooling)
    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
    reranker = Reranker(folder, device="cpu")
    assert reranker.engine == "exact"
    np.testing.assert_allclose(
        reranker.score(question, passages), model.predict([(question, p) for p in passages]), atol=1e-5
    )
    logits = model.predict([(question, p) for p in passages], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(reranker.logits(question, passages), logits, atol=1e-5)
    assert np.ptp(logits) > 1e-3


def test_a_saved_prompt_is_honoured(tmp_path: Path, question: str, passages: list[str]) -> None:
    encoder = build(tmp_path / "encoder", "modernbert", head="")
    prompted = save_modular(
        encoder, tmp_path / "reranker", prompts={"query": "gene fever "}, default_prompt_name="query"
    )
    model = CrossEncoder(str(prompted), device="cpu")
    expected = model.predict([(question, p) for p in passages], activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(Reranker(prompted, device="cpu").logits(question, passages), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["cpu-int8"])
def test_other_engines_say_why_they_cannot_run_it(engine: str, modular: Path) -> None:
    with pytest.raises(ModelError, match=r"its head is Pooling \+ Dense \+ LayerNorm \+ Dense"):
        Reranker(modular, device="cpu", engine=engine)


def part(folder: Path, kind: str) -> Path:
    """The folder of the first module of a kind."""
    modules = json.loads((folder / "modules.json").read_text())
    return folder / next(module["path"] for module in modules if module["type"].endswith(kind))


def test_a_module_without_safetensors_weights_is_refused(damaged: Path) -> None:
    (part(damaged, "LayerNorm") / "model.safetensors").rename(part(damaged, "LayerNorm") / "pytorch_model.bin")
    with pytest.raises(
        ModelError, match=r"The module 3_LayerNorm .* has no model.safetensors; other formats can run code"
    ):
        Reranker(damaged)


def test_a_missing_module_is_refused(damaged: Path) -> None:
    shutil.rmtree(part(damaged, "Pooling"))
    with pytest.raises(ModelError, match=r"The module 1_Pooling .* is missing; fetch the model again"):
        Reranker(damaged)


@pytest.mark.parametrize("activation", ["os.system", "torch.hub.load", "torch.nn.modules.linear.Linear"])
def test_an_activation_that_could_be_code_is_refused(activation: str, damaged: Path) -> None:
    edit_json(part(damaged, "Dense") / "config.json", activation_function=activation)
    with pytest.raises(ModelError, match=f"unknown activation '{activation}'"):
        Reranker(damaged)


def test_a_head_without_one_score_is_refused(damaged: Path) -> None:
    modules = json.loads((damaged / "modules.json").read_text())
    (damaged / "modules.json").write_text(json.dumps(modules[:-1]))
    with pytest.raises(ModelError, match=r"The last module .* is not a Dense with one score"):
        Reranker(damaged)


@pytest.mark.parametrize("path", ["../encoder", "/etc", "..", "a\\b"])
def test_a_module_outside_the_folder_is_refused(path: str, damaged: Path) -> None:
    modules = json.loads((damaged / "modules.json").read_text())
    modules[1]["path"] = path
    (damaged / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="which is not in the model's own"):
        Reranker(damaged)


def test_weights_of_another_shape_are_refused(damaged: Path) -> None:
    edit_json(part(damaged, "Dense") / "config.json", out_features=WIDTH + 1)
    with pytest.raises(ModelError, match="cannot be loaded"):
        Reranker(damaged)


def test_training_from_one_is_refused(modular: Path) -> None:
    with pytest.raises(
        ModelError, match=r"modules of its own \(Pooling \+ Dense \+ LayerNorm \+ Dense\), which bioqa does not train"
    ):
        load_base_model(ModelSettings(base=str(modular)), modular)
