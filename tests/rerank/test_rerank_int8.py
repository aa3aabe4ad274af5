"""cpu-int8: close to the exact scores, the same whatever is beside a pair, without torch, with a cache that follows the model."""

import json
import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bioqa.errors import ModelError, UsageError
from bioqa.rerank.engines import cpu_int8
from bioqa.rerank.engines.cpu_int8_graph import build_graph, quantize
from bioqa.rerank.reranker import Reranker
from tests.support import REPOSITORY
from tests.tiny_models import WORDS, edit_json

RUNNABLE = ("bert-cased", "bert-uncased", "xlm-roberta")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache folder for this test only."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "bioqa" / "int8"


@pytest.fixture
def texts():
    """A hundred texts of words that the tiny models know, drawn at random."""
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=rng.randint(3, 25))) for _ in range(100)]


@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
@pytest.mark.parametrize("architecture", RUNNABLE)
def test_scores_are_close_to_the_exact_ones(architecture, signed, plain, question, texts, monkeypatch):
    monkeypatch.setattr(cpu_int8, "has_int8_dot_product", lambda: signed)
    exact = Reranker(plain(architecture), engine="exact").logits(question, texts)
    rounded = Reranker(plain(architecture)).logits(question, texts)
    assert np.abs(exact).max() > 0.5
    assert 0 < np.abs(rounded - exact).mean() < 0.03 * np.ptp(exact)


def test_large_channels_do_not_cost_the_others_precision(plain, tmp_path, question, texts, monkeypatch):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if name.endswith("LayerNorm.weight"):
            weights[name][:2] *= 40
        if name.endswith(("query.weight", "key.weight", "value.weight", "intermediate.dense.weight")):
            weights[name][:, :2] /= 40
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    exact = Reranker(folder, engine="exact").logits(question, texts)
    smoothed = np.abs(Reranker(folder).logits(question, texts) - exact).mean()
    monkeypatch.setattr(
        cpu_int8, "build_graph", lambda *args, ranges, **options: build_graph(*args, ranges=None, **options)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "without smoothing"))
    assert smoothed < 0.5 * np.abs(Reranker(folder).logits(question, texts) - exact).mean()


@pytest.mark.parametrize("architecture", RUNNABLE)
def test_a_score_does_not_depend_on_what_is_scored_beside_it(architecture, plain, question, passages):
    reranker = Reranker(plain(architecture))
    texts = [passage[:length] for passage in passages for length in (5, 17, 40, 200)]
    together = reranker.logits(question, texts)
    assert together.tolist() == [reranker.logits(question, [text])[0] for text in texts]
    assert together.tolist() == reranker.logits(question, texts).tolist()
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: reranker.logits(question, texts), range(8)):
            assert found.tolist() == together.tolist()


def test_a_tokenizer_that_pads_on_the_left_changes_no_score(plain, tmp_path, question, passages):
    expected = Reranker(plain("bert-uncased")).logits(question, passages)
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    edit_json(folder / "tokenizer_config.json", padding_side="left")
    reranker = Reranker(folder)
    assert reranker.engine == "cpu-int8"
    assert reranker.logits(question, passages).tolist() == expected.tolist()


def test_the_default_reranker_in_batches_and_alone(question):
    reranker = Reranker()
    texts = [f"The CFTR gene, number {n}, is mutated in cystic fibrosis" + " and in some others" * n for n in range(40)]
    together = reranker.logits(question, texts)
    assert reranker.engine == "cpu-int8"
    assert together.tolist() == [reranker.logits(question, [text])[0] for text in texts]
    assert np.abs(together - Reranker(engine="exact").logits(question, texts)).max() < 0.4


def test_the_engine_is_reported_and_can_be_chosen(plain):
    assert Reranker(plain("bert-uncased")).engine == "cpu-int8"
    assert Reranker(plain("bert-uncased"), engine="exact").engine == "exact"
    assert Reranker(plain("deberta-v2")).engine == "exact"
    with pytest.raises(ModelError, match=r"cpu-int8 cannot run .*DebertaV2.*--engine exact"):
        Reranker(plain("deberta-v2"), engine="cpu-int8")
    with pytest.raises(UsageError, match="Unknown engine 'fast'"):
        Reranker(plain("bert-uncased"), engine="fast")


def test_the_graph_is_cached_and_follows_the_model(plain, tmp_path, cache, question, passages):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    first = Reranker(folder).logits(question, passages)
    (cached,) = cache.iterdir()
    written = cached.stat().st_mtime_ns
    assert Reranker(folder).logits(question, passages).tolist() == first.tolist()
    assert cached.stat().st_mtime_ns == written
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"] = weights["classifier.bias"] + 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert Reranker(folder).logits(question, passages) == pytest.approx(first + 1, abs=1e-5)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: b"",
        lambda graph: graph[:1000],
        lambda graph: graph[:-1],
        lambda graph: graph[: len(graph) // 2] + bytes([graph[len(graph) // 2] ^ 64]) + graph[len(graph) // 2 + 1 :],
    ],
    ids=["empty", "truncated", "truncated at the end", "one bit"],
)
def test_a_damaged_graph_is_built_again(damage, plain, cache, question, passages):
    first = Reranker(plain("bert-uncased")).logits(question, passages)
    (cached,) = cache.iterdir()
    graph = cached.read_bytes()
    cached.write_bytes(damage(graph))
    assert Reranker(plain("bert-uncased")).logits(question, passages).tolist() == first.tolist()
    assert cached.read_bytes() == graph


def test_a_link_in_the_cache_is_neither_followed_nor_written_through(plain, cache, tmp_path, question, passages):
    first = Reranker(plain("bert-uncased")).logits(question, passages)
    (cached,) = cache.iterdir()
    elsewhere = shutil.copy(cached, tmp_path / "elsewhere")
    cached.unlink()
    cached.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"symbolic links"):
        cpu_int8.read_graph(cached)
    assert Reranker(plain("bert-uncased")).logits(question, passages).tolist() == first.tolist()
    assert not cached.is_symlink()
    (tmp_path / "elsewhere").write_bytes(b"untouched")
    cached.unlink()
    cached.symlink_to(elsewhere)
    Reranker(plain("bert-uncased"))
    assert (tmp_path / "elsewhere").read_bytes() == b"untouched"


def test_a_pipe_in_the_cache_is_not_waited_for(plain, cache):
    Reranker(plain("bert-uncased"))
    (cached,) = cache.iterdir()
    cached.unlink()
    os.mkfifo(cached)
    Reranker(plain("bert-uncased"))
    assert cached.is_file()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_a_graph_of_another_user_is_not_used(plain, cache):
    Reranker(plain("bert-uncased"))
    (cached,) = cache.iterdir()
    os.chown(cached, 12345, -1)
    with pytest.raises(ValueError, match="is not a file of this user"):
        cpu_int8.read_graph(cached)


def test_the_cache_is_this_users_alone(plain, cache):
    Reranker(plain("bert-uncased"))
    assert cache.stat().st_mode & 0o077 == 0


def test_onnxruntime_writes_no_telemetry(tmp_path, plain):
    code = f"from bioqa import Reranker; Reranker({str(plain('bert-uncased'))!r}, device='cpu').score('a', ['b'])"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    home = {"HOME": str(tmp_path / "home"), "XDG_CACHE_HOME": str(tmp_path / "home" / "cache")}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY, env=environment | home)
    written = [path.relative_to(tmp_path) for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert [path.parent for path in written] == [Path("home/cache/bioqa/int8")]


def test_a_cache_that_cannot_be_written_is_no_error(plain, cache, question, passages):
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    assert np.isfinite(Reranker(plain("bert-uncased")).logits(question, passages)).all()


def test_a_user_without_a_home_needs_no_cache(plain, monkeypatch, question, passages):
    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(cpu_int8.Path, "home", nowhere)
    assert np.isfinite(Reranker(plain("bert-uncased"), engine="cpu-int8").logits(question, passages)).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision(dtype, plain, tmp_path, question, texts):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    weights = {name: weight.to(dtype) for name, weight in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    exact = Reranker(folder, engine="exact").logits(question, texts)
    assert np.abs(Reranker(folder, engine="cpu-int8").logits(question, texts) - exact).mean() < 0.03 * np.ptp(exact)


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-7]),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 100),
        lambda folder: (folder / "config.json").write_text(
            json.dumps(json.loads((folder / "config.json").read_text()) | {"intermediate_size": 40})
        ),
    ],
    ids=["truncated", "garbage", "of another size"],
)
def test_damaged_weights_are_reported(change, plain, tmp_path):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=r"damaged|do not match"):
        Reranker(folder, engine="cpu-int8")


def test_neither_torch_nor_transformers_is_imported(plain, question):
    code = (
        "import sys; from bioqa import Reranker\n"
        f"reranker = Reranker({str(plain('bert-uncased'))!r}, engine='cpu-int8', device='cpu')\n"
        f"reranker.score({question!r}, ['The CFTR gene.'])\n"
        "print([name for name in ('torch', 'transformers', 'onnx', 'sentence_transformers') if name in sys.modules])"
    )
    Reranker(plain("bert-uncased"))  # so that the graph is in the cache
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"


def test_rounding_is_to_the_nearest_step_of_each_output():
    weight = np.random.default_rng(0).normal(size=(5, 300)).astype(np.float32) * np.array(
        [[1e-3], [1], [10], [0], [1e4]], np.float32
    )
    values, scale = quantize(weight)
    assert values.shape == (300, 5)
    assert np.abs(values).max() == 127
    assert np.all(np.abs(values.T * scale[:, None] - weight) <= scale[:, None] * 0.5001)
