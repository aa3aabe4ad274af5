"""The name of a reranker: the built-in model, a folder, or a name on the Hugging Face hub."""

import json

import huggingface_hub
import pytest
from huggingface_hub import constants
from safetensors.numpy import load_file

from bioqa.errors import ModelError
from bioqa.rerank.model_folder import resolve
from bioqa.rerank.reranker import Reranker
from tests.tiny_models import edit_json

HUB_NAME = "some-owner/some-model"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_in_cache(cache, name, source, without=()):
    """Store a model as huggingface_hub caches it."""
    commit = "a" * 40
    root = cache / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    for file in source.iterdir():
        if file.is_file() and file.name not in without:
            (snapshot / file.name).write_bytes(file.read_bytes())
    return snapshot


def test_a_folder_keeps_the_name_it_was_given_by(tiny_reranker, monkeypatch):
    monkeypatch.chdir(tiny_reranker.parent)
    assert resolve.resolve_model("reranker") == ("reranker", resolve.Path("reranker"))
    assert Reranker(tiny_reranker).name == str(tiny_reranker)


@pytest.mark.parametrize("name", [None, "default"])
def test_the_default_is_the_model_in_the_package(name, tiny_reranker, monkeypatch):
    monkeypatch.setattr(resolve, "RERANKER", resolve.RERANKER._replace(default_folder=tiny_reranker))
    reranker = Reranker(name)
    assert (reranker.name, reranker.folder) == ("default", tiny_reranker)


def test_the_model_in_the_package_is_small_and_has_settings():
    weights = load_file(resolve.DEFAULT_FOLDER / "model.safetensors")
    assert {tensor.dtype.name for tensor in weights.values()} == {"float16"}
    assert sum(file.stat().st_size for file in resolve.DEFAULT_FOLDER.iterdir()) <= 50_000_000
    reranker = Reranker()
    assert 0 < reranker.first_stage_weight < 2
    assert reranker.threshold is not None and 0 < reranker.threshold < 1
    assert reranker.calibration is not None and reranker.calibration.a > 0


def test_a_package_without_its_model(tmp_path, monkeypatch):
    monkeypatch.setattr(resolve, "RERANKER", resolve.RERANKER._replace(default_folder=tmp_path / "default"))
    with pytest.raises(ModelError, match=r"The built-in reranker is missing .*reinstall bioqa"):
        Reranker()


@pytest.mark.parametrize("name", ["./no/such", "/no/such", "~/no-such", "no/such/folder", "models/", "../no-such"])
def test_a_path_that_does_not_exist(name):
    with pytest.raises(ModelError, match="There is no folder"):
        Reranker(name)


def test_a_file_is_not_a_model(tiny_reranker):
    with pytest.raises(ModelError, match=r"config\.json is a file.*name the folder"):
        Reranker(tiny_reranker / "config.json")


def test_a_hub_name_that_is_cached_needs_no_network(cache, tiny_reranker):
    snapshot = put_in_cache(cache, HUB_NAME, tiny_reranker)
    reranker = Reranker(HUB_NAME)
    assert (reranker.name, reranker.folder) == (HUB_NAME, snapshot)


def test_a_hub_name_without_owner_is_one_of_cross_encoder(cache, tiny_reranker):
    put_in_cache(cache, "cross-encoder/tiny", tiny_reranker)
    assert Reranker("tiny").name == "cross-encoder/tiny"


@pytest.mark.parametrize("missing", [None, "model.safetensors"])
def test_without_network_a_model_that_is_not_cached(missing, cache, tiny_reranker, capfd):
    if missing:
        put_in_cache(cache, HUB_NAME, tiny_reranker, without=(missing,))
    with pytest.raises(ModelError) as caught:
        Reranker(HUB_NAME)
    message = str(caught.value)
    if missing:
        assert f"The copy of {HUB_NAME} in the local cache is incomplete (model.safetensors missing)" in message
        assert "try again with network access" in message
    else:
        assert f"hf download {HUB_NAME} --local-dir FOLDER" in message
        assert "--reranker default" in message
    assert capfd.readouterr() == ("", "")


def test_a_hub_name_is_downloaded_without_code_and_pickles(tiny_reranker, monkeypatch):
    asked = []

    def download(name, *, local_files_only=False, allow_patterns, ignore_patterns):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        asked.append(name)
        from huggingface_hub.utils import filter_repo_objects

        files = ["config.json", "model.safetensors", "pytorch_model.bin", "modeling.py", "onnx/model.safetensors"]
        kept = list(filter_repo_objects(files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns))
        assert kept == ["config.json", "model.safetensors"]
        return str(tiny_reranker)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Reranker(HUB_NAME).folder == tiny_reranker
    assert asked == [HUB_NAME]


def interrupt(snapshot, missing):
    """Leave a cached model as an interrupted download does."""
    if missing == "blob":
        (snapshot / "tokenizer.json").rename(snapshot / "elsewhere")
        (snapshot / "tokenizer.json").symlink_to("../../blobs/123")
    elif missing == "shard":
        (snapshot / "model.safetensors").unlink()
        index = {"metadata": {}, "weight_map": {"classifier.bias": "model-00001-of-00001.safetensors"}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        (snapshot / missing).unlink()


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json", "shard", "blob"])
def test_what_an_interrupted_download_left_out_is_fetched(missing, cache, tiny_reranker, monkeypatch):
    interrupt(put_in_cache(cache, HUB_NAME, tiny_reranker), missing)
    with pytest.raises(ModelError, match=r"in the local cache is incomplete \(.* missing\)"):
        Reranker(HUB_NAME)
    library = huggingface_hub.snapshot_download

    def download(name, *, local_files_only=False, **patterns):
        return library(name, local_files_only=True, **patterns) if local_files_only else str(tiny_reranker)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert Reranker(HUB_NAME).folder == tiny_reranker


def test_a_model_without_safetensors_on_the_hub(cache, tiny_reranker, monkeypatch):
    snapshot = put_in_cache(cache, HUB_NAME, tiny_reranker, without=("model.safetensors",))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(snapshot))
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda _: ["config.json", "pytorch_model.bin"])
    with pytest.raises(
        ModelError, match=r"has no safetensors weights on the Hugging Face hub \(it has pytorch_model\.bin\)"
    ):
        Reranker(HUB_NAME)


def test_an_adapter_on_the_hub(tmp_path, monkeypatch):
    (tmp_path / "adapter_config.json").write_text("{}")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(ModelError, match=f"The reranker {HUB_NAME} is a PEFT adapter"):
        Reranker(HUB_NAME)


def test_a_name_the_hub_does_not_know(monkeypatch):
    for name, said in (("RepositoryNotFoundError", "no public model"), ("GatedRepoError", "is gated")):
        kind = getattr(huggingface_hub.errors, name)

        def download(*_, kind=kind, **__):
            raise kind.__new__(kind)  # its constructor wants an HTTP response

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        with pytest.raises(ModelError, match=said):
            Reranker(HUB_NAME)


def test_an_invalid_name():
    with pytest.raises(ModelError, match="name is empty"):
        Reranker("")
    with pytest.raises(ModelError, match="nor a valid name"):
        Reranker("my model!")


def test_messages_use_the_name_that_the_model_was_asked_for_by(cache, tiny_reranker):
    snapshot = put_in_cache(cache, HUB_NAME, tiny_reranker)
    edit_json(snapshot / "config.json", id2label={"0": "a", "1": "b", "2": "c"})
    with pytest.raises(ModelError, match=f"The reranker {HUB_NAME} has 3 labels"):
        Reranker(HUB_NAME)
