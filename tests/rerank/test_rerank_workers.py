"""Batches that do not fit in memory are halved, and several devices share the work."""

import logging
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument

from bioqa.errors import ModelError
from bioqa.rerank import load_model as loading
from bioqa.rerank.batching import make_batches
from bioqa.rerank.pair_tokenizer import Padding, TokenizedPair
from bioqa.rerank.reranker import Reranker as AnyReranker
from bioqa.rerank.workers import Workers

Reranker = partial(AnyReranker, engine="exact")

CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."
ONNX = (
    "bfc_arena.cc:360 void* AllocateRawInternal(size_t) Failed to allocate memory for requested buffer of size 12582912"
)
FAILURES = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError(CPU),
    MemoryError(),
    Fail(ONNX),
    Fail("std::bad_alloc"),
]


class Network:
    """Scores each pair with the sum of its ids, and fails on batches of more tokens than it has room for."""

    def __init__(self, room=10**9, failure=None, pause=0.0):
        self.room, self.failure, self.pause = room, failure, pause
        self.seen = []
        self.threads = set()

    def __call__(self, batch):
        self.seen.append(batch.ids.shape)
        self.threads.add(threading.get_ident())
        time.sleep(self.pause)
        if batch.ids.size > self.room:
            raise self.failure
        return batch.ids.sum(axis=1).astype(np.float32)


def pairs(*lengths):
    return [TokenizedPair(np.arange(n, dtype=np.int32), np.zeros(n, np.int32), False) for n in lengths]


LENGTHS = [5, 9, 3, 8, 8, 2, 7, 9, 1, 4, 6, 9, 8]
SUMS = [n * (n - 1) / 2 for n in LENGTHS]


def run(workers, size=8):
    return workers.logits(make_batches(pairs(*LENGTHS), size, Padding(0, 0, False)), len(LENGTHS)).tolist()


@pytest.mark.parametrize("failure", FAILURES, ids=["cuda", "cpu", "python", "onnxruntime", "C++"])
@pytest.mark.parametrize("room", [9, 20, 40, 71])
def test_a_batch_that_does_not_fit_is_halved_and_the_run_continues(failure, room, caplog):
    network = Network(room, failure)
    with caplog.at_level(logging.WARNING):
        assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    assert network.seen[0] == (8, 9)
    [warning] = caplog.messages
    assert "tiny ran out of memory on cuda:0 with 8 pairs of 9 tokens" in warning


def test_batches_as_large_as_one_that_did_not_fit_are_not_tried_again(caplog):
    network = Network(20, FAILURES[0])
    workers = Workers("tiny", ["cuda:0"], [network])
    run(workers)
    failed = [shape for shape in network.seen if shape[0] * shape[1] > 20]
    assert failed == [(8, 9), (4, 9)]  # 72 tokens, then 36; 18 fit
    run(workers)
    assert [shape for shape in network.seen if shape[0] * shape[1] > 20] == failed
    assert len(caplog.messages) == 1


def test_one_pair_that_does_not_fit_is_an_error():
    workers = Workers("tiny", ["cuda:0"], [Network(8, FAILURES[0])])
    with pytest.raises(
        ModelError, match="out of memory on cuda:0 with a single pair of 9 tokens; use a smaller maximum length"
    ):
        run(workers)


@pytest.mark.parametrize("kind", [IndexError, RuntimeError, InvalidArgument])
def test_other_failures_are_errors_at_once(kind):
    network = Network(0, kind("index out of range in self"))
    with pytest.raises(
        ModelError, match=r"failed on 8 pairs of 9 tokens: index out of range in self\. Its tokenizer may not match"
    ):
        run(Workers("tiny", ["cpu"], [network]))
    assert len(network.seen) == 1


def test_an_internal_error_is_not_blamed_on_the_model():
    with pytest.raises(TypeError, match="not mine"):
        run(Workers("tiny", ["cpu"], [Network(0, TypeError("not mine"))]))


def test_a_reranker_that_runs_out_of_memory_gives_the_same_scores(plain, question, passages, monkeypatch, caplog):
    expected = Reranker(plain("bert-uncased"), batch_size=7).logits(question, passages)
    load_exact_network = loading.load_exact_network

    def load_with_little_memory(*args, **options):
        network = load_exact_network(*args, **options)

        def compute(batch):
            if len(batch.rows) > 2:
                raise RuntimeError(CPU)
            return network(batch)

        return compute

    monkeypatch.setattr(loading, "load_exact_network", load_with_little_memory)
    scarce = Reranker(plain("bert-uncased"), batch_size=7)
    np.testing.assert_allclose(scarce.logits(question, passages), expected, atol=1e-5)
    assert "ran out of memory on cpu" in caplog.text


def test_several_devices_share_the_batches_each_on_its_own_thread():
    networks = [Network(pause=0.02), Network(pause=0.02)]
    assert run(Workers("tiny", ["cuda:0", "cuda:1"], networks), size=1) == SUMS
    assert sorted(networks[0].seen + networks[1].seen) == sorted((1, n) for n in LENGTHS)
    assert min(len(network.seen) for network in networks) >= 3
    assert networks[0].threads.isdisjoint(networks[1].threads)


def test_a_device_short_of_memory_halves_its_own_batches_alone():
    scarce, ample = Network(20, FAILURES[0], pause=0.01), Network(pause=0.01)
    assert run(Workers("tiny", ["cuda:0", "cuda:1"], [scarce, ample]), size=4) == SUMS
    assert all(rows >= 1 for rows, _ in ample.seen)
    assert max(rows for rows, _ in ample.seen) == 4 or max(rows for rows, _ in scarce.seen) == 4


def test_a_failure_on_one_device_stops_the_others_soon():
    broken, slow = Network(0, RuntimeError("device-side assert")), Network(pause=0.05)
    with pytest.raises(ModelError, match="device-side assert"):
        run(Workers("tiny", ["cuda:0", "cuda:1"], [broken, slow]), size=1)
    assert len(slow.seen) < len(LENGTHS) - 1


def test_a_reranker_on_two_devices_gives_the_scores_of_one(plain, question, passages, monkeypatch):
    one = Reranker(plain("xlm-roberta"), batch_size=2)
    load_exact_network, loaded = loading.load_exact_network, []

    def load(config, device, **options):
        loaded.append(device)
        return load_exact_network(config, device, **options)

    monkeypatch.setattr(loading, "resolve_devices", lambda names: tuple(names.split(",")))
    monkeypatch.setattr(loading, "load_exact_network", load)
    two = Reranker(plain("xlm-roberta"), batch_size=2, device="cpu,cpu")
    assert loaded == ["cpu", "cpu"]
    assert two.device == "cpu"
    for _ in range(3):
        np.testing.assert_array_equal(two.score(question, passages * 3), one.score(question, passages * 3))
