"""Folders that are not a usable reranker are refused with a clear message; nothing is printed and nothing is unpickled."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from bioqa.errors import ModelError
from bioqa.rerank.reranker import Reranker
from tests.tiny_models import build, edit_json, save_as_cross_encoder


@pytest.fixture
def folder(plain, tmp_path):
    """A sound model in plain layout, to be damaged."""
    return shutil.copytree(plain("bert-uncased"), tmp_path / "model")


@pytest.fixture
def saved(plain, tmp_path):
    """A sound model as CrossEncoder saves it, to be damaged."""
    return save_as_cross_encoder(plain("bert-uncased"), tmp_path / "model")


@pytest.fixture
def refused(capfd):
    """Load a folder and return the error message."""

    def load(folder):
        capfd.readouterr()
        with pytest.raises(ModelError) as caught:
            Reranker(folder)
        assert capfd.readouterr() == ("", "")
        message = str(caught.value)
        assert "\n" not in message
        assert message.endswith(".")
        return message

    return load


@pytest.mark.parametrize("architecture", ["bert-uncased", "xlm-roberta"])
def test_a_base_model_has_no_head(architecture, tmp_path, refused):
    message = refused(build(tmp_path / "base", architecture, head=""))
    assert "has no classification head (classifier." in message
    assert "base model or a bi-encoder" in message


def test_a_masked_language_model_has_no_head(tmp_path, refused):
    assert "has no classification head" in refused(build(tmp_path / "mlm", head="MaskedLM"))


def test_half_a_head_is_not_initialized_at_random(folder, refused):
    weights = load_file(folder / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "has no classification head (classifier.bias missing)" in refused(folder)


def test_weights_with_missing_layers(folder, refused):
    weights = {name: w for name, w in load_file(folder / "model.safetensors").items() if ".layer.1." not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert "do not match its config (16 missing" in refused(folder)


def test_weights_of_another_size(folder, refused):
    edit_json(folder / "config.json", hidden_size=16)
    assert "cannot be loaded" in refused(folder)


@pytest.mark.parametrize("labels", [2, 3])
def test_several_labels(labels, tmp_path, refused):
    assert f"has {labels} labels; a reranker needs" in refused(build(tmp_path / "nli", labels=labels))


def test_a_bi_encoder(plain, tmp_path, refused):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    transformer = Transformer(str(plain("bert-uncased")))
    model = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    model.save_pretrained(str(tmp_path / "bi"), create_model_card=False)
    message = refused(tmp_path / "bi")
    assert "is not a cross-encoder but a SentenceTransformer (Transformer + Pooling)" in message


def test_an_old_bi_encoder_with_its_model_in_a_subfolder(tmp_path, refused):
    modules = [
        {"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    assert "(Transformer + Pooling)" in refused(tmp_path)


@pytest.mark.parametrize(
    "types",
    [
        [
            "sentence_transformers.base.modules.transformer.Transformer",
            "sentence_transformers.base.modules.dense.Dense",
        ],
        ["custom_module.Transformer"],
    ],
)
def test_unsupported_modules(types, saved, refused):
    (saved / "modules.json").write_text(json.dumps([{"type": kind, "path": ""} for kind in types]))
    assert f"consists of the modules {' + '.join(types)}" in refused(saved)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transformer_task": "text-generation"}, "'text-generation'"),
        ({"modality_config": {"message": {}}}, "chat template"),
        ({"processing_kwargs": {"text": {"truncation": "only_second"}}}, "sets processing_kwargs"),
        ({"tokenizer_name_or_path": "elsewhere"}, "sets tokenizer_name_or_path"),
    ],
)
def test_unsupported_module_settings(settings, said, saved, refused):
    edit_json(saved / "sentence_bert_config.json", **settings)
    assert said in refused(saved)


def test_an_undefined_default_prompt(saved, refused):
    edit_json(saved / "config_sentence_transformers.json", default_prompt_name="query")
    assert "default prompt 'query' but does not define it" in refused(saved)


def test_a_chat_template(folder, refused):
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert "chat template" in refused(folder)


@pytest.mark.parametrize(
    "activation",
    ["os.system", "my_package.Sigmoid", "torch.hub.load", "torch.nn.Module", "torch.nn.modules.linear.Linear"],
)
def test_an_unsupported_activation(activation, folder, refused):
    edit_json(folder / "config.json", sentence_transformers={"activation_fn": activation})
    assert f"uses the activation {activation!r}" in refused(folder)


def test_only_pickled_weights(folder, refused):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    message = refused(folder)
    assert "no safetensors weights" in message
    assert "save_pretrained" in message


@pytest.mark.parametrize("architecture", ["bert-uncased", "xlm-roberta"])
@pytest.mark.parametrize("size", [0, 7, 5000])
def test_damaged_weights(size, architecture, plain, tmp_path, refused):
    folder = shutil.copytree(plain(architecture), tmp_path / "model")
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:size])
    assert "are damaged" in refused(folder)


@pytest.mark.parametrize("architecture", ["bert-uncased", "modernbert"])
def test_no_tokenizer(architecture, plain, tmp_path, refused):
    folder = shutil.copytree(plain(architecture), tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    assert "has no tokenizer" in refused(folder)


def test_a_damaged_tokenizer(folder, refused):
    (folder / "tokenizer.json").write_text('{"model": ')
    assert "The tokenizer of the reranker" in refused(folder)


def test_a_tokenizer_without_padding(plain, tmp_path, refused):
    folder = shutil.copytree(plain("modernbert"), tmp_path / "model")
    edit_json(folder / "tokenizer_config.json", pad_token=None)
    assert "no padding token" in refused(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
@pytest.mark.parametrize("file", ["config.json", "config_sentence_transformers.json", "modules.json"])
def test_files_that_are_not_json(file, content, saved, refused):
    (saved / file).write_bytes(content.encode("latin-1"))
    message = refused(saved)
    if (file, content) != ("modules.json", "[]"):
        assert str(saved / file) in message


def test_a_folder_without_a_model(tmp_path, refused):
    assert "it has no config.json" in refused(tmp_path)


def test_an_unknown_architecture(folder, refused):
    edit_json(folder / "config.json", model_type="no_such_model")
    assert "no_such_model" in refused(folder)


def test_code_from_the_model_repository_is_not_run(folder, refused, tmp_path):
    (folder / "modeling_own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    edit_json(
        folder / "config.json",
        model_type="own",
        auto_map={"AutoConfig": "modeling_own.C", "AutoModelForSequenceClassification": "modeling_own.M"},
    )
    assert "needs code from its own repository" in refused(folder)
    assert not (tmp_path / "ran").exists()


def test_an_attention_kernel_from_the_hub(folder, refused):
    edit_json(folder / "config.json", attn_implementation="someone/kernel")
    assert "does not run remote code" in refused(folder)


def test_an_adapter(folder, refused):
    (folder / "adapter_config.json").write_text("{}")
    assert "PEFT adapter" in refused(folder)


def test_a_generative_model(folder, refused):
    edit_json(folder / "config.json", architectures=["Qwen3ForCausalLM"])
    assert "generative model" in refused(folder)


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"num_attention_heads": "many"}),
        ("config.json", {"id2label": None, "num_labels": "one"}),
        ("sentence_bert_config.json", {"max_seq_length": "long"}),
        ("sentence_bert_config.json", {"modality_config": 5}),
        ("tokenizer_config.json", {"model_max_length": "long"}),
    ],
)
def test_settings_of_the_wrong_type(file, values, saved, refused):
    edit_json(saved / file, **values)
    assert "cannot be loaded" in refused(saved)
