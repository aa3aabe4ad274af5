"""gpu: its own arithmetic on packed tokens, here on the CPU, where attention is padded; on a GPU only where there is one."""

import logging
import shutil
import threading

import numpy as np
import pytest
import torch

from bioqa.cli.doctor import _model
from bioqa.errors import ModelError, UsageError
from bioqa.rerank import load_model as models
from bioqa.rerank.batching import batches
from bioqa.rerank.engines import gpu
from bioqa.rerank.engines.gpu import GpuNetwork, Spans, attend_padded
from bioqa.rerank.model_folder.config import read_config
from bioqa.rerank.model_folder.tokenizer import load_tokenizer
from bioqa.rerank.reranker import Reranker
from bioqa.rerank.tokens import CHUNK, FIRST_CHUNK, Padding, PairTokenizer, Tokens
from bioqa.rerank.workers import Workers
from tests.tiny_models import build, edit_json

RUNNABLE = ("bert-cased", "bert-uncased", "xlm-roberta")
ROUNDING = 0.05
"""Of the spread of the exact scores, what 16 bits may shift one by; the tiny models' wide weights make this more than usual."""


@pytest.fixture
def on_cpu(monkeypatch):
    """Offer the engine on the CPU, as if it were a GPU."""
    monkeypatch.setattr(gpu, "DEVICES", ("cuda", "cpu"))


@pytest.fixture
def fp32(monkeypatch, on_cpu):
    monkeypatch.setattr(gpu, "working_type", lambda device: torch.float32)


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


def test_chunks_grow_and_hold_every_pair_once(plain):
    source = load_tokenizer(read_config("tiny", plain("bert-uncased")))
    tokenizer = PairTokenizer(source.backend, 64, source.padding, segments=True)
    pairs = [("gene", " ".join(["cell"] * (n % 7))) for n in range(CHUNK + 3 * FIRST_CHUNK)]
    chunks = list(tokenizer.encode_chunks(pairs))
    assert [len(chunk) for chunk in chunks][:2] == [FIRST_CHUNK, 2 * FIRST_CHUNK]
    assert max(len(chunk) for chunk in chunks) <= CHUNK
    assert [len(one.ids) for chunk in chunks for one in chunk] == [4 + n % 7 for n in range(len(pairs))]
    assert list(tokenizer.encode_chunks([])) == []


def test_truncation_is_told_of_each_pair(plain, question, on_cpu):
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
    settings = read_config("tiny", plain("bert-uncased"))
    source = load_tokenizer(settings)
    pairs = list(
        PairTokenizer(source.backend, 64, source.padding, segments=True).encode([(question, p) for p in passages])
    )
    network = GpuNetwork(settings, "cpu", segments=True, dtype=torch.float32)
    (right,), (left,) = (batches(pairs, 8, Padding(source.padding.id, 0, side)) for side in (False, True))
    assert (right.mask != left.mask).any()
    assert network(right).tolist() == network(left).tolist()


def test_segments_are_read_only_where_the_model_has_them(plain):
    settings = read_config("tiny", plain("bert-uncased"))
    ids = np.arange(5, 15, dtype=np.int32)
    pairs = [Tokens(ids, np.repeat(np.array([0, 1], np.int32), 5), False), Tokens(ids, np.zeros(10, np.int32), False)]
    (batch,) = batches(pairs, 2, Padding(0, 0, False))
    with_segments, without = (
        GpuNetwork(settings, "cpu", segments=segments, dtype=torch.float32)(batch) for segments in (True, False)
    )
    assert abs(with_segments[0] - with_segments[1]) > 1e-3
    assert without[0] == pytest.approx(without[1], abs=1e-6) == pytest.approx(with_segments[1], abs=1e-6)


def test_an_id_that_the_model_does_not_know_is_a_sentence(plain, tmp_path, question, on_cpu):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    small = build(tmp_path / "small", vocab_size=20)
    shutil.copy(small / "model.safetensors", folder)
    edit_json(folder / "config.json", vocab_size=20)
    with pytest.raises(ModelError, match=r"index out of range.*may not belong together"):
        Reranker(folder, engine="gpu").score(question, ["gene"])


def test_values_out_of_the_range_of_16_bits_lead_to_the_exact_engine(plain, question, on_cpu, monkeypatch):
    reranker = Reranker(plain("bert-uncased"), engine="gpu")
    worker = reranker._workers._workers[0]
    monkeypatch.setattr(worker, "_network", lambda batch: np.full(len(batch.rows), np.nan, np.float32))
    with pytest.raises(ModelError, match=r"nan for pair 1; .*--engine exact"):
        reranker.score(question, ["gene"])


@pytest.mark.parametrize(
    ("capability", "dtype"), [((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)]
)
def test_gpus_without_bf16_use_fp16(capability, dtype, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert gpu.working_type(torch.device("cuda:0")) == dtype


def test_the_engine_is_refused_where_it_cannot_run(plain, monkeypatch):
    with pytest.raises(UsageError, match=r"gpu runs on CUDA GPUs, not on cpu: use --device cuda.*another engine"):
        Reranker(plain("bert-uncased"), engine="gpu", device="cpu")
    monkeypatch.setattr(models, "resolve_devices", lambda names: (names,))
    with pytest.raises(ModelError, match=r"gpu cannot run .*DebertaV2.*--engine exact"):
        Reranker(plain("deberta-v2"), engine="gpu", device="cuda:0")
    with pytest.raises(UsageError, match="cpu-int8 runs on the CPU, not on cuda:0: use --device cpu"):
        Reranker(plain("bert-uncased"), engine="cpu-int8", device="cuda:0")


class Recorded:
    """A network that only says where it is."""

    def __init__(self, settings, device, *, segments):
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
def test_auto_takes_the_fastest_engine_that_can(architecture, devices, engine, plain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(models, "resolve_devices", lambda names: devices)
    monkeypatch.setattr(gpu, "GpuNetwork", Recorded)
    monkeypatch.setattr(
        models, "load_network", lambda settings, device, segments: Recorded(settings, device, segments=0)
    )
    model = models.load_model(plain(architecture))
    assert model.engine == engine
    if engine != "cpu-int8":
        assert tuple(network.device for network in model.networks) == model.devices == devices
    assert model.packed == (engine == "gpu")


def test_weights_of_other_names_are_left_to_the_exact_engine(plain, tmp_path, on_cpu):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    edit_json(folder / "config.json", intermediate_size=40)
    with pytest.raises(ModelError, match=r"do not fit its config: bert\.encoder\.layer\.0\.intermediate\.dense"):
        Reranker(folder, engine="gpu")


def test_doctor_says_which_engines_are_there_and_why_not_the_others(plain, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(models, "resolve_device", lambda name: "cpu")
    checks = {check.name: check.found for check in _model(str(plain("bert-uncased")))}
    assert checks["Engines"] == "exact; cpu-int8; gpu not: PyTorch sees no CUDA GPU here"
    monkeypatch.setattr(models, "resolve_device", lambda name: "cuda:0")
    checks = {check.name: check.found for check in _model(str(plain("bert-uncased")))}
    assert checks["Engines"] == "exact; cpu-int8; gpu"
    checks = {check.name: check.found for check in _model(str(plain("deberta-v2")))}
    assert checks["Engines"].count("it is DebertaV2ForSequenceClassification") == 2


class Deferring:
    """Gives each pair the sum of its ids, but only when asked for; batches of more tokens than there is room for fail then, or
    already when they are begun.
    """

    def __init__(self, room=10**9, at_once=False, failure=None):
        self.room, self.at_once = room, at_once
        self.failure = failure or torch.OutOfMemoryError("CUDA out of memory.")
        self.events = []
        self.lock = threading.Lock()

    def __call__(self, batch):
        self.events.append("begun")
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
    pairs = [Tokens(np.arange(n, dtype=np.int32), np.zeros(n, np.int32), False) for n in LENGTHS]
    return workers.logits(batches(pairs, size, Padding(0, 0, False)), len(LENGTHS)).tolist()


def test_all_batches_are_begun_before_any_is_waited_for():
    network = Deferring()
    assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    assert network.events == ["begun"] * 4 + ["waited"] * 4


def test_of_a_long_list_the_first_batches_are_waited_for_on_the_way(monkeypatch):
    monkeypatch.setattr("bioqa.rerank.workers.AHEAD", 2)
    network = Deferring()
    assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    assert network.events == ["begun"] * 3 + ["waited", "begun"] + ["waited"] * 3


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("room", [9, 20, 35])
def test_deferred_batches_that_do_not_fit_are_halved(room, at_once, caplog):
    network = Deferring(room, at_once)
    with caplog.at_level(logging.WARNING):
        assert run(Workers("tiny", ["cuda:0"], [network])) == SUMS
    [warning] = caplog.messages
    assert "tiny ran out of memory on cuda:0 with 4 pairs of 9 tokens" in warning


def test_several_devices_defer_each_their_own():
    networks = [Deferring(), Deferring(room=20)]
    assert run(Workers("tiny", ["cuda:0", "cuda:1"], networks), size=2) == SUMS
    assert all(network.events.count("begun") >= network.events.count("waited") for network in networks)


def test_other_deferred_failures_are_errors():
    network = Deferring(0, failure=RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(ModelError, match="failed on 4 pairs of 9 tokens: CUDA error: an illegal memory access"):
        run(Workers("tiny", ["cuda:0"], [network]))
    with pytest.raises(ModelError, match="out of memory on cuda:0 with one pair of 9 tokens"):
        run(Workers("tiny", ["cuda:0"], [Deferring(8)]))


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
    for asking, rows in ((spans, query), (single, query[spans.starts[:-1].long()])):
        packed, padded = (attend(rows, key, value, asking, spans) for attend in (gpu.attend_packed, attend_padded))
        torch.testing.assert_close(packed, padded, atol=0.02, rtol=0.02)
