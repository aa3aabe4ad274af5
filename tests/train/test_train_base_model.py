"""Base models of a training: their padding token, the case of their vocabulary, and folders that are refused."""

import json
import os
import shutil
from dataclasses import replace

import pytest

from bioqa.errors import ModelError, UsageError
from bioqa.train.base_model import load_base_model
from bioqa.train.recipe import read_recipe
from tests.tiny_models import ARCHITECTURES, build, edit_json
from tests.train.training_files import RECIPES


def base_model(settings, base):
    return load_base_model(replace(settings.stages[0].model, base=str(base)))


def test_a_base_without_a_padding_token_is_refused(recipe, tmp_path):
    base = build(tmp_path / "base", "modernbert", head="")
    edit_json(base / "tokenizer_config.json", pad_token=None)
    with pytest.raises(ModelError, match=r"The tokenizer of the base model .* has no padding token"):
        base_model(recipe(), base)


def test_a_padding_token_that_only_the_tokenizer_has_is_kept(recipe, tmp_path, monkeypatch):
    settings = {"num_key_value_heads": 4, "head_dim": 8, "pad_token_id": None}
    monkeypatch.setitem(ARCHITECTURES, "qwen2", ("Qwen2", ARCHITECTURES["modernbert"][1], settings))
    base = build(tmp_path / "base", "qwen2")
    edit_json(base / "config.json", pad_token_id=None)
    model = base_model(recipe(), base)
    assert model.model.config.pad_token_id == model.tokenizer.pad_token_id == 3
    assert len(model.predict([("a", "b"), ("a", "b c d")], show_progress_bar=False)) == 2


@pytest.mark.parametrize(("case", "lower"), [("", True), ("cased", False), ("uncased", True)])
def test_a_cased_base_whose_files_ask_for_lower_case(case, lower, recipe, tmp_path, caplog):
    base = build(tmp_path / "base", "bert-cased", head="")
    edit_json(base / "tokenizer_config.json", do_lower_case=True)
    model = base_model(recipe(model={"case": case}), base)
    assert ("cftr" in model.tokenizer.backend_tokenizer.normalizer.normalize_str("CFTR")) == lower
    told = "lower-cases text, but its vocabulary is cased: words such as 'CFTR' are never found" in caplog.text
    assert told == lower
    model.save_pretrained(str(tmp_path / "saved"), create_model_card=False)
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["do_lower_case"] == lower


def test_the_recipe_for_biobert_keeps_capitals(tmp_path, caplog):
    """BioBERT's vocabulary is cased, and a folder of it may have no tokenizer_config.json."""
    base = build(tmp_path / "base", "bert-cased", head="MaskedLM")
    vocabulary = json.loads((base / "tokenizer.json").read_text())["model"]["vocab"]
    (base / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get)))
    (base / "tokenizer.json").unlink()
    (base / "tokenizer_config.json").unlink()
    settings = replace(read_recipe(RECIPES / "biobert-bioasq-snippets.toml").stages[0].model, max_length=64)
    assert load_base_model(replace(settings, base=str(base))).tokenizer.tokenize("CFTR") == ["CFTR"]
    assert not caplog.records
    load_base_model(replace(settings, base=str(base), case=""))
    assert "set model.case=cased" in caplog.text


def test_a_case_that_the_tokenizer_does_not_know(recipe, tmp_path):
    base = build(tmp_path / "base", "xlm-roberta", head="")
    with pytest.raises(UsageError, match=r"model\.case cannot be 'uncased' with the tokenizer of"):
        base_model(recipe(model={"case": "uncased"}), base)


def _adapter(base):
    (base / "adapter_config.json").write_text("{}")


def _negative_offsets(base):
    content = (base / "model.safetensors").read_bytes()
    (base / "model.safetensors").write_bytes(content.replace(b'"data_offsets":[0,', b'"data_offsets":[-1,'))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_adapter, "The base model .* is a PEFT adapter, not a whole model"),
        (lambda base: (base / "model.safetensors").unlink(), "The download of the base model .* is incomplete"),
        (lambda base: (base / "config.json").unlink(), r"The base model .* is incomplete: config\.json is missing"),
        (_negative_offsets, "The weights of the base model .* are damaged"),
        (
            lambda base: edit_json(base / "config.json", num_hidden_layers=10**9),
            "impossible config.json: num_hidden_layers",
        ),
        (lambda base: edit_json(base / "config.json", vocab_size=10**10), "the config's model has"),
        (lambda base: ((base / "config.json").unlink(), os.mkfifo(base / "config.json")), "is a pipe or a device"),
        (lambda base: (base / "config.json").write_text("[" * 100_000), "cannot be read as JSON"),
    ],
    ids=["adapter", "no weights", "no config", "offsets", "layers", "vocabulary", "pipe", "deep"],
)
def test_a_damaged_base_is_refused(damage, message, data, recipe, tmp_path):
    base = shutil.copytree(data / "base", tmp_path / "base")
    damage(base)
    with pytest.raises(ModelError, match=message):
        base_model(recipe(), base)


def test_a_damaged_base_on_the_hub_is_refused(data, recipe, tmp_path, monkeypatch):
    from transformers.utils import peft_utils

    monkeypatch.setattr(peft_utils, "find_adapter_config_file", lambda source: "adapter_config.json")
    with pytest.raises(ModelError, match=r"The base model owner/adapter is a PEFT adapter"):
        base_model(recipe(), "owner/adapter")
