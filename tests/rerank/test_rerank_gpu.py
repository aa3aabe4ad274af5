"""gpu: its own arithmetic on packed tokens, tested on the CPU with padded attention, and on a GPU if there is one."""

import json
import logging
import shutil
import threading

import numpy as np
import pytest
import torch

from bioqa.errors import ModelError, UsageError
from bioqa.rerank import load_model as loading
from bioqa.rerank.batching import make_batches
from bioqa.rerank.engines import gpu
from bioqa.rerank.engines.gpu import GpuNetwork, Spans, attend_padded
from bioqa.rerank.model_folder.config import read_config
from bioqa.rerank.model_folder.tokenizer import load_tokenizer
from bioqa.rerank.pair_tokenizer import CHUNK, FIRST_CHUNK, Padding, TokenizedPair
from bioqa.rerank.reranker import Reranker
from bioqa.rerank.workers import Workers
from tests.tiny_models import build, edit_json

RUNNABLE = ("bert-cased", "bert-uncased", "xlm-roberta")
ROUNDING = 0.05
"""How far 16 bits may shift a score, as a share of the spread of the exact ones: much, as the weights of tiny models are wide."""


@pytest.fixture
def on_cpu(monkeypatch):
    """Offer the engine on the CPU, as if it were a GPU."""
    monkeypatch.setattr(gpu, "DEVICES", ("cuda", "cpu"))


@pytest.fixture
def fp32(monkeypatch, on_cpu):
    monkeypatch.setattr(gpu, "working_dtype", lambda device: torch.float32)


def of_many_lengths(passages):
    return [passage[:length] for passage in passages for length in (5, 17, 40, 90, 200)]


@pytest.mark.parametrize("batch_size", [1, 32])
@pytest.mark.parametrize("architecture", RUNNABLE)
def test_in_fp32_scores_are_the_exact_ones(architecture, batch_size, plain, question, passages, fp32):
    texts = of_many_lengths(passages)
    exact = Reranker(plain(architecture), engine="exact").logits(question, texts)
    found = Reranker(plain(architecture), engine="gpu", batch_size=batch_size).logits(question, texts)
    assert np.ptp(exact) > 0.5
    np.testing.assert_allclose(found, exact, atol=1e-4)


@pytest.mark.parametrize("architecture", RUNNABLE)
def test_in_16_bits_scores_are_near_the_exact_ones_and_repeat(architecture, plain, question, passages, on_cpu):
    texts = of_many_lengths(passages)
    exact = Reranker(plain(architecture), engine="exact").logits(question, texts)
    reranker = Reranker(plain(architecture), engine="gpu")
    found = reranker.logits(question, texts)
    assert 0 < np.abs(found - exact).max() < ROUNDING * np.ptp(exact)
    assert found.tolist() == reranker.logits(question, texts).tolist()
    alone = [float(reranker.logits(question, [text])[0]) for text in texts]
    np.testing.assert_allclose(found, alone, atol=ROUNDING * np.ptp(exact))


def test_the_default_reranker_in_16_bits(question, on_cpu):
    texts = [f"The CFTR gene, number {n}, is mutated in cystic fibrosis" + " and in some others" * n for n in range(12)]
    found = Reranker(engine="gpu").logits(question, texts)
    assert np.abs(found - Reranker(engine="exact").logits(question, texts)).max() < 0.15


def test_more_pairs_than_a_chunk_keep_their_order(plain, question, fp32):
    rng = np.random.default_rng(0)
    words = np.array(["gene", "malaria", "cell", "aspirin", "pain", "protein"])
    texts = [" ".join(rng.choice(words, size=n)) for n in rng.integers(1, 12, size=4 * FIRST_CHUNK + 7)]
    exact = Reranker(plain("bert-uncased"), engine="exact").logits(question, texts)
    for batch_size in (1, 3):
        reranker = Reranker(plain("bert-uncased"), engine="gpu", batch_size=batch_size)
        np.testing.assert_allclose(reranker.logits(question, texts), exact, atol=1e-4)


def test_chunks_grow_and_contain_every_pair_once(plain):
    tokenizer = load_tokenizer(read_config("tiny", plain("bert-uncased"))).for_pairs(64)
    pairs = [("gene", " ".join(["cell"] * (n % 7))) for n in range(CHUNK + 3 * FIRST_CHUNK)]
    chunks = list(tokenizer.encode_chunks(pairs))
    assert [len(chunk) for chunk in chunks][:2] == [FIRST_CHUNK, 2 * FIRST_CHUNK]
    assert max(len(chunk) for chunk in chunks) <= CHUNK
    assert [len(one.ids) for chunk in chunks for one in chunk] == [4 + n % 7 for n in range(len(pairs))]
    assert list(tokenizer.encode_chunks([])) == []


def test_truncation_is_reported_for_each_pair(plain, question, on_cpu):
    reranker = Reranker(plain("bert-uncased"), engine="gpu")
    pairs = [(question, "aspirin " * (200 if n % 3 == 0 else 2)) for n in range(FIRST_CHUNK + 10)]
    exact = Reranker(plain("bert-uncased"), engine="exact").score_pairs(pairs)
    scores = reranker.score_pairs(pairs)
    assert scores.truncated.tolist() == [n % 3 == 0 for n in range(len(pairs))]
    assert scores.unread.tolist() == exact.unread.tolist()


def test_padded_attention_keeps_to_each_pair():
    torch.manual_seed(0)
    lengths = [3, 1, 7, 2]
    query, key, value = torch.randn(3, sum(lengths), 2, 8)
    starts = torch.tensor([0, 3, 4, 11, 13], dtype=torch.int32)
    spans, first = Spans(starts, 7), Spans(torch.arange(5, dtype=torch.int32), 1)
    found = attend_padded(query, key, value, spans, spans)
    of_first = attend_padded(query[starts[:-1]], key, value, first, spans)
    for begin, end in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        own = slice(begin, end)
        weights = torch.einsum("qhd,khd->hqk", query[own], key[own]).div(8**0.5).softmax(2)
        torch.testing.assert_close(found[own], torch.einsum("hqk,khd->qhd", weights, value[own]))
    torch.testing.assert_close(of_first, found[starts[:-1].long()])


def test_padding_on_the_left_changes_nothing(plain, question, passages, tmp_path, on_cpu):
    config = read_config("tiny", plain("bert-uncased"))
    tokenizer = load_tokenizer(config).for_pairs(64)
    pairs = list(tokenizer.encode([(question, p) for p in passages]))
    network = GpuNetwork(config, "cpu", use_segment_ids=True, dtype=torch.float32)
    (right,), (left,) = (make_batches(pairs, 8, Padding(tokenizer.padding.id, 0, side)) for side in (False, True))
    assert (right.mask != left.mask).any()
    assert network(right).tolist() == network(left).tolist()


def test_segment_ids_are_used_only_if_the_tokenizer_provides_them(plain):
    config = read_config("tiny", plain("bert-uncased"))
    ids = np.arange(5, 15, dtype=np.int32)
    two_segments, one_segment = np.repeat(np.array([0, 1], np.int32), 5), np.zeros(10, np.int32)
    pairs = [TokenizedPair(ids, segment_ids, False) for segment_ids in (two_segments, one_segment)]
    (batch,) = make_batches(pairs, 2, Padding(0, 0, False))
    with_segments, without = (
        GpuNetwork(config, "cpu", use_segment_ids=use, dtype=torch.float32)(batch) for use in (True, False)
    )
    assert abs(with_segments[0] - with_segments[1]) > 1e-3
    assert without[0] == pytest.approx(without[1], abs=1e-6) == pytest.approx(with_segments[1], abs=1e-6)


def test_an_id_beyond_the_embeddings_is_reported(plain, tmp_path, question, on_cpu):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    small = build(tmp_path / "small", vocab_size=20)
    shutil.copy(small / "model.safetensors", folder)
    edit_json(folder / "config.json", vocab_size=20)
    with pytest.raises(ModelError, match=r"index out of range.*tokenizer may not match its weights"):
        Reranker(folder, engine="gpu").score(question, ["gene"])


def test_the_exact_engine_is_suggested_for_values_that_overflow_16_bits(plain, question, on_cpu, monkeypatch):
    def load_overflowing(config, device, *, use_segment_ids):
        return lambda batch: np.full(len(batch.rows), np.nan, np.float32)

    monkeypatch.setattr(gpu, "GpuNetwork", load_overflowing)
    reranker = Reranker(plain("bert-uncased"), engine="gpu")
    with pytest.raises(ModelError, match=r"nan for pair 1; .*--engine exact"):
        reranker.score(question, ["gene"])


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_gpus_without_bf16_use_fp16(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert gpu.working_dtype(torch.device("cuda:0")) == dtype


def test_the_engine_is_refused_on_unsupported_devices_and_models(plain, monkeypatch):
    with pytest.raises(UsageError, match=r"gpu runs on CUDA GPUs, not on cpu: use --device cuda.*another engine"):
        Reranker(plain("bert-uncased"), engine="gpu", device="cpu")
    monkeypatch.setattr(loading, "resolve_devices", lambda names: (names,))
    with pytest.raises(ModelError, match=r"gpu cannot run .*DebertaV2.*--engine exact"):
        Reranker(plain("deberta-v2"), engine="gpu", device="cuda:0")
    with pytest.raises(UsageError, match="cpu-int8 runs on the CPU, not on cuda:0: use --device cpu"):
        Reranker(plain("bert-uncased"), engine="cpu-int8", device="cuda:0")


class Recorded:
    """A network that only knows its device."""

    def __init__(self, config, device, *, use_segment_ids, pad_id=0):
        self.device = device


@pytest.mark.parametrize(
    ("architecture", "devices", "engine"),
    [
        ("bert-uncased", ("cpu",), "cpu-int8"),
        ("bert-uncased", ("cuda:0",), "gpu"),
        ("xlm-roberta", ("cuda:0", "cuda:1"), "gpu"),
        ("bert-uncased", ("mps",), "exact"),
        ("deberta-v2", ("cuda:0",), "exact"),
        ("deberta-v2", ("cpu",), "exact"),
    ],
)
def test_auto_picks_the_fastest_engine_that_supports_the_model(
    architecture, devices, engine, plain, monkeypatch, tmp_path
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "resolve_devices", lambda names: devices)
    monkeypatch.setattr(gpu, "GpuNetwork", Recorded)
    monkeypatch.setattr(loading, "load_exact_network", Recorded)
    model = loading.load_model(plain(architecture))
    assert model.engine == engine
    if engine != "cpu-int8":
        assert tuple(network.device for network in model.networks) == model.devices == devices
    assert model.packed == (engine == "gpu")


def test_weights_that_do_not_match_the_config_are_reported(plain, tmp_path, on_cpu):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    edit_json(folder / "config.json", intermediate_size=40)
    with pytest.raises(ModelError, match=r"do not match its config: bert\.encoder\.layer\.0\.intermediate\.dense"):
        Reranker(folder, engine="gpu")


def test_doctor_lists_the_engines_and_why_others_cannot_run(plain, bioqa, monkeypatch, tmp_path):
    def engines(architecture):
        checks = json.loads(bioqa("doctor", "--reranker", plain(architecture), "--json").out)
        return next(check["found"] for check in checks if check["name"] == "Engines")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "resolve_device", lambda name: "cpu")
    assert engines("bert-uncased") == "exact; cpu-int8; not gpu: PyTorch sees no CUDA GPU here"
    monkeypatch.setattr(loading, "resolve_device", lambda name: "cuda:0")
    assert engines("bert-uncased") == "exact; cpu-int8; gpu"
    assert engines("deberta-v2").count("it is DebertaV2ForSequenceClassification") == 2


class PendingNetwork:
    """Scores each pair with the sum of its ids, but only when it is waited for; batches of more tokens than there is room for fail
    then, or as soon as they are started.
    """

    def __init__(self, room=10**9, at_once=False, failure=None):
        self.room, self.at_once = room, at_once
        self.failure = failure or torch.OutOfMemoryError("CUDA out of memory.")
        self.events = []
        self.lock = threading.Lock()

    def __call__(self, batch):
        self.events.append("started")
        if self.at_once:
            self.check(batch)

        def wait():
            self.events.append("waited")
            self.check(batch)
            return batch.ids.sum(axis=1).astype(np.float32)

        return wait

    def check(self, batch):
        if batch.ids.size > self.room:
            raise self.failure


LENGTHS = [5, 9, 3, 8, 8, 2, 7, 9, 1, 4, 6, 9, 8]
SUMS = [n * (n - 1) / 2 for n in LENGTHS]


def run(workers, size=4):
    pairs = [TokenizedPair(np.arange(n, dtype=np.int32), np.zeros(n, np.int32), False) for n in LENGTHS]
    return workers.logits(make_batches(pairs, size, Padding(0, 0, False)), len(LENGTHS)).tolist()


def test_all_batches_are_started_before_the_first_is_waited_for():
    network = PendingNetwork()
    assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    assert network.events == ["started"] * 4 + ["waited"] * 4


def test_the_number_of_batches_in_flight_is_limited(monkeypatch):
    monkeypatch.setattr("bioqa.rerank.workers.MAX_IN_FLIGHT", 2)
    network = PendingNetwork()
    assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    assert network.events == ["started"] * 3 + ["waited", "started"] + ["waited"] * 3


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("room", [9, 20, 35])
def test_pending_batches_that_do_not_fit_are_halved(room, at_once, caplog):
    network = PendingNetwork(room, at_once)
    with caplog.at_level(logging.WARNING):
        assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    [warning] = caplog.messages
    assert "tiny ran out of memory on cuda:0 with 4 pairs of 9 tokens" in warning


def test_several_devices_have_their_own_pending_batches():
    networks = [PendingNetwork(), PendingNetwork(room=20)]
    assert run(Workers("tiny", ["cuda:0", "cuda:1"], networks), size=2) == SUMS
    assert all(network.events.count("started") >= network.events.count("waited") for network in networks)


def test_other_failures_of_pending_batches_are_errors():
    network = PendingNetwork(0, failure=RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(ModelError, match="failed on 4 pairs of 9 tokens: CUDA error: an illegal memory access"):
        run(Workers("tiny", ["cuda:0"], [network]))
    with pytest.raises(ModelError, match="out of memory on cuda:0 with a single pair of 9 tokens"):
        run(Workers("tiny", ["cuda:0"], [PendingNetwork(8)]))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("architecture", RUNNABLE)
def test_on_a_gpu(architecture, plain, question, passages):
    texts = of_many_lengths(passages)
    exact = Reranker(plain(architecture), engine="exact", device="cpu").logits(question, texts)
    reranker = Reranker(plain(architecture), device="cuda")
    assert reranker.engine == "gpu"
    found = reranker.logits(question, texts)
    assert 0 < np.abs(found - exact).max() < ROUNDING * np.ptp(exact)
    assert found.tolist() == reranker.logits(question, texts).tolist()
    alone = [float(reranker.logits(question, [text])[0]) for text in texts]
    np.testing.assert_allclose(found, alone, atol=ROUNDING * np.ptp(exact))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_flash_attention_on_a_gpu():
    device = torch.device("cuda:0")
    if torch.cuda.get_device_capability(device)[0] < 8:
        pytest.skip("needs compute capability 8")
    assert gpu.best_attention(device, torch.bfloat16, 12, 64) is gpu.attend_packed
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 13, 2, 64, dtype=torch.bfloat16, device=device)
    spans = Spans(torch.tensor([0, 3, 4, 11, 13], dtype=torch.int32, device=device), 7)
    single = Spans(torch.arange(5, dtype=torch.int32, device=device), 1)
    for query_spans, rows in ((spans, query), (single, query[spans.starts[:-1].long()])):
        packed, padded = (attend(rows, key, value, query_spans, spans) for attend in (gpu.attend_packed, attend_padded))
        torch.testing.assert_close(packed, padded, atol=0.02, rtol=0.02)
