"""Folders that are not a usable reranker are refused with a clear message; nothing is printed and nothing is unpickled."""

import json
import os
import shutil

import pytest
from safetensors.torch import load_file, save_file

from bioqa.errors import ModelError
from bioqa.rerank.reranker import Reranker
from tests.tiny_models import build, edit_json, save_as_cross_encoder


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder for this test only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
    message = refused(folder)
    assert "do not match its config: bert.embeddings.word_embeddings.weight is [" in message
    assert ", 32], not [" in message


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
            "sentence_transformers.cross_encoder.modules.LogitScore",
        ],
        ["sentence_transformers.sentence_transformer.modules.Pooling"],
        ["custom_module.Transformer"],
        ["sentence_transformers.base.modules.transformer.Transformer", "custom_module.Dense"],
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


def test_no_weights(folder, refused):
    (folder / "model.safetensors").unlink()
    assert f"is incomplete: model.safetensors is missing in {folder}" in refused(folder)


def test_weights_under_another_name(folder, refused):
    (folder / "model.safetensors").rename(folder / "model_backup.safetensors")
    assert "only model_backup.safetensors; bioqa reads no other name" in refused(folder)


def write_safetensors(path, edit):
    """Rewrite a file of weights with its header, a dict, changed by ``edit``, which may return bytes to append."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    more = edit({name: entry for name, entry in header.items() if name != "__metadata__"}) or b""
    written = json.dumps(header).encode()
    path.write_bytes(len(written).to_bytes(8, "little") + written + content[8 + length :] + more)


def _swap_for_negative(entries):
    first = min(entries.values(), key=lambda entry: entry["data_offsets"][0])
    size = first["data_offsets"][1]
    first["data_offsets"] = [-size, 0]


def _overlap(entries):
    entries["bert.encoder.layer.0.output.dense.bias"]["data_offsets"] = entries[
        "bert.encoder.layer.1.output.dense.bias"
    ]["data_offsets"]


def _hole(entries):
    last = max(entries.values(), key=lambda entry: entry["data_offsets"][1])
    last["data_offsets"] = [offset + 64 for offset in last["data_offsets"]]
    return bytes(64)


@pytest.mark.parametrize("engine", ["exact", "cpu-int8", "auto"])
@pytest.mark.parametrize("edit", [_swap_for_negative, _overlap, _hole], ids=["negative", "overlapping", "hole"])
def test_offsets_that_the_safetensors_library_refuses(edit, engine, folder):
    write_safetensors(folder / "model.safetensors", edit)
    with pytest.raises(ModelError, match=r"are damaged \(model\.safetensors: .*; fetch the model again\.$"):
        Reranker(folder, engine=engine)


@pytest.mark.parametrize("engine", ["exact", "cpu-int8"])
def test_only_the_file_that_the_standard_names_is_read(engine, folder, question, passages):
    expected = Reranker(folder, engine=engine).logits(question, passages)
    other = {name: weight * 2 for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(other, folder / "model_backup.safetensors", metadata={"format": "pt"})
    save_file(other, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"classifier.bias": "model_backup.safetensors"}}'
    )
    assert Reranker(folder, engine=engine).logits(question, passages).tolist() == expected.tolist()


@pytest.fixture
def sharded(folder):
    """A sound model whose weights are in several files."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(weights)
    files = {name: f"model-0000{1 + (i > 20)}-of-00002.safetensors" for i, name in enumerate(names)}
    for file in set(files.values()):
        save_file(
            {name: weights[name] for name in names if files[name] == file}, folder / file, metadata={"format": "pt"}
        )
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    return folder


@pytest.mark.parametrize("engine", ["exact", "cpu-int8"])
def test_weights_in_several_files_beside_others(engine, sharded, plain, question, passages):
    expected = Reranker(plain("bert-uncased"), engine=engine).logits(question, passages)
    save_file(
        {"classifier.bias": load_file(plain("bert-uncased") / "model.safetensors")["classifier.bias"] + 9},
        sharded / "x.safetensors",
    )
    assert Reranker(sharded, engine=engine).logits(question, passages) == pytest.approx(expected, abs=1e-5)


def test_a_file_of_several_is_missing(sharded, refused):
    (sharded / "model-00002-of-00002.safetensors").unlink()
    assert "are incomplete: 1 of 2 files are missing" in refused(sharded)


@pytest.mark.parametrize(
    ("weight_map", "said"),
    [
        ({"classifier.bias": "../model.safetensors"}, 'its "weight_map" should name'),
        ({"classifier.bias": 5}, 'its "weight_map" should name'),
        ({}, 'its "weight_map" should name'),
        ({"no.such": "model-00001-of-00002.safetensors"}, "no.such is not in model-00001-of-00002.safetensors"),
    ],
)
def test_a_damaged_index_of_weights(weight_map, said, sharded, refused):
    (sharded / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert said in refused(sharded)


def test_a_weight_in_two_files(sharded, refused):
    shutil.copy(sharded / "model-00001-of-00002.safetensors", sharded / "model-00002-of-00002.safetensors")
    assert "is in model-00001-of-00002.safetensors too" in refused(sharded)


def test_a_config_that_names_another_file_of_weights(folder, refused):
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    edit_json(folder / "config.json", transformers_weights="other.safetensors")
    assert "sets transformers_weights to 'other.safetensors'" in refused(folder)


@pytest.mark.parametrize("architecture", ["bert-uncased", "xlm-roberta", "modernbert", "deberta-v2"])
@pytest.mark.parametrize("values", [{"num_hidden_layers": 10**9}, {"vocab_size": 10**10}, {"hidden_size": 10**9}])
def test_a_config_of_an_impossible_size(values, architecture, plain, tmp_path, refused):
    folder = shutil.copytree(plain(architecture), tmp_path / "model")
    edit_json(folder / "config.json", **values)
    message = refused(folder)
    sentences = (
        "impossible config.json: num_hidden_layers",
        "do not match its config",
        "Storage size calculation overflowed",
    )
    assert any(said in message for said in sentences), message


def test_positions_that_no_weight_has(plain, tmp_path, refused):
    folder = shutil.copytree(plain("deberta-v2"), tmp_path / "model")
    edit_json(
        folder / "config.json", max_position_embeddings=10**11, max_relative_positions=64
    )  # a buffer, not a weight
    assert "do not match its config: the config's model has" in refused(folder)


def test_labels_without_end(folder, refused):
    edit_json(folder / "config.json", architectures=["BertModel"], num_labels=10**9)
    assert "num_labels is more than 1,000,000" in refused(folder)


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "bioqa.json"]
)
def test_a_pipe_is_not_waited_for(file, folder, refused):
    (folder / file).unlink(missing_ok=True)
    os.mkfifo(folder / file)
    assert f"{folder / file} is a pipe or a device" in refused(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json", "bioqa.json", "model.safetensors.index.json"])
def test_a_file_too_large_to_parse(file, folder, refused):
    with (folder / file).open("w") as sparse:
        sparse.truncate(20 << 20)
    assert f"{folder / file} has 20,971,520 bytes, more than the 16,777,216" in refused(folder)


@pytest.mark.parametrize(
    "file", ["config.json", "modules.json", "bioqa.json", "tokenizer.json", "tokenizer_config.json"]
)
@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a":' * 100_000, '{"a": ' + "9" * 5_000 + "}"], ids=["list", "object", "digits"]
)
def test_deep_and_long_json(content, file, folder, refused):
    (folder / file).write_text(content)
    refused(folder)


def test_a_link_to_nothing(folder, refused):
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer.json").symlink_to("../blobs/123")
    assert "is a link to ../blobs/123, which is missing; fetch the model again" in refused(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json"])
def test_a_pointer_of_git_lfs(file, folder, refused):
    (folder / file).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    assert "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`" in refused(folder)


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


def test_a_folder_without_its_config(folder, refused):
    (folder / "config.json").unlink()
    assert f"is incomplete: config.json is missing in {folder}" in refused(folder)


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


@pytest.mark.parametrize("files", [(), ("config.json", "model.safetensors", "tokenizer.json")])
def test_an_adapter(files, folder, refused):
    for file in files:
        (folder / file).unlink()
    (folder / "adapter_config.json").write_text("{}")
    message = refused(folder)
    assert "is a PEFT adapter, not a whole model" in message
    assert "merge it into its base model" in message


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
