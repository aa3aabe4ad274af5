"""Reranking on a GPU: bioqa's engine gpu compared with sentence-transformers and with the GPU's limit.

    python -m benchmarks.rerank_gpu
    python -m benchmarks.rerank_gpu --models bert-large --kinds snippets    # one part; the others in the result are kept
    python -m benchmarks.rerank_gpu --trial                                 # check the script: a tiny model, on the CPU

The models have the shapes of BERT-base and BERT-large and random weights, as time does not depend on the weights. They score 10,000
real abstracts with their titles and 100,000 BioASQ snippets (each of some 53,000 with one or two questions), truncated to 512
tokens; all times are from strings to scores, including tokenizing. Each question comes before 100 passages. The contenders take
turns, for several rounds:

- ``bioqa, gpu`` with default settings;
- ``sentence-transformers``: ``CrossEncoder.predict`` in bf16 and in fp16, with PyTorch's attention (sdpa) and, if the package
  flash_attn is installed, FlashAttention 2, in batches of ``THEIR_BATCHES`` pairs. The fastest of these settings on a part of the
  passages takes part in the rounds.

The peak is the highest rate of PyTorch's bf16 matrix product, of random numbers, for a large square matrix and the model's own
shapes. ``share_of_peak`` counts only what bioqa computes, the last layer at the first position; ``whole_model`` counts all layers
for both contenders, as is usual elsewhere. ``latency`` is that of one question with 100 abstracts per call, one call after another.
``profile`` has the shares of the GPU's time by kind of kernel during one run on the part, and ``idle`` the share of the wall time
in which the GPU was idle. The result goes to ``benchmarks/results/rerank_gpu.json``: medians, and ratios of medians.
"""

import argparse
import importlib.util
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.machine import RESULTS, environment, write_result
from benchmarks.rerank_cpu import PASSAGES, TOKENS, bioasq, model_folder, operations, passages, token_counts

COUNTS = {"abstracts": 10_000, "snippets": 100_000}
PARTS = {"abstracts": 2_000, "snippets": 10_000}
THEIR_BATCHES = (32, 64, 128, 256, 512)
OUR_BATCHES = (16, 32, 64)
KERNELS = {
    "attention": r"flash|fmha|attention",
    "normalisation": r"layer_?norm",
    "GELU": r"gelu",
    "matrix products": r"gemm|nvjet|cutlass|xmma|splitk|addmm|matmul|linear",
    "copies": r"memcpy|memset|copy",
    "embedding and rows": r"embedding|index|gather",
    "other element by element": r"elementwise|add|mul|arange",
}
"""Kind → pattern in the names of its kernels (on a CPU, operations); the first match counts."""

Pairs = Sequence[tuple[str, str]]
Score = Callable[[Pairs], Any]


def pairs(kind: str, count: int) -> list[tuple[str, str]]:
    """``count`` pairs of question and passage; if there are fewer passages, they are repeated with other questions."""
    questions = [question["body"] for question in bioasq("test")]
    texts = passages(kind, count)
    return [(questions[n // PASSAGES % len(questions)], texts[n % len(texts)]) for n in range(count)]


def ours(folder: Path, device: str, batch_size: int = 32) -> Score:
    from bioqa import Reranker

    reranker = Reranker(folder, device=device, max_length=TOKENS, engine="gpu", batch_size=batch_size)
    return lambda texts: reranker.score_pairs(texts).logits


def theirs(folder: Path, device: str, dtype: str, attention: str, batch_size: int) -> Score:
    import torch
    from sentence_transformers import CrossEncoder

    options = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    model = CrossEncoder(str(folder), device=device, max_length=TOKENS, model_kwargs=options)
    return lambda texts: model.predict(list(texts), batch_size=batch_size, show_progress_bar=False)


def timed(score: Score, texts: Pairs) -> float:
    """Seconds from strings to scores in memory."""
    started = time.perf_counter()
    found = np.asarray(score(texts))
    seconds = time.perf_counter() - started
    if found.shape != (len(texts),) or not np.isfinite(found).all():
        raise RuntimeError(f"{found.shape} scores for {len(texts)} pairs, or scores that are not finite")
    return seconds


def time_settings(folder: Path, device: str, part: Pairs, batches: Sequence[int]) -> dict[str, float]:
    """Seconds of sentence-transformers on a part of the pairs by setting (arguments of ``theirs``), without those that fail."""
    kinds = ["sdpa", *(["flash_attention_2"] if importlib.util.find_spec("flash_attn") else [])]
    found = {}
    for dtype, attention, batch_size in tqdm(list(product(("bfloat16", "float16"), kinds, batches)), desc="settings"):
        try:
            score = theirs(folder, device, dtype, attention, batch_size)
            score(part[:batch_size])
            found[f"{dtype} {attention} {batch_size}"] = timed(score, part)
        except (ImportError, RuntimeError, ValueError) as error:  # out of memory, or the attention lacks the model
            why = str(error).partition("\n")[0] or type(error).__name__
            print(f"{dtype} {attention} {batch_size}: {why}", file=sys.stderr)
    return dict(sorted(found.items(), key=lambda one: one[1]))


def peak(folder: Path, device: str, square: int, rows: int) -> float:
    """The highest rate of bf16 matrix products, in operations per second."""
    import torch

    config = json.loads((folder / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    rates = []
    for m, k, n in ((square, square, square), (rows, width, inner), (rows, inner, width), (rows, width, 3 * width)):
        left = torch.randn(m, k, dtype=torch.bfloat16, device=device)
        right = torch.randn(n, k, dtype=torch.bfloat16, device=device).T
        out = torch.empty(m, n, dtype=torch.bfloat16, device=device)
        for _ in range(3):
            torch.mm(left, right, out=out)
        repeats = 20
        seconds = []
        for _ in range(5):
            wait(device)
            started = time.perf_counter()
            for _ in range(repeats):
                torch.mm(left, right, out=out)
            wait(device)
            seconds.append((time.perf_counter() - started) / repeats)
        rates.append(2.0 * m * k * n / statistics.median(seconds))
    return max(rates)


def wait(device: str) -> None:
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def computed(folder: Path, lengths: Sequence[int]) -> float:
    """The part of ``operations`` that bioqa computes: in the last layer only keys and values, and the rest at one position."""
    config = json.loads((folder / "config.json").read_text())
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    others = operations(folder, lengths) * (layers - 1) / layers
    first = 2 * (2 * width * width + 2 * width * inner)
    return others + sum(4 * n * width * width + 4 * n * width + first for n in lengths)


def latency(score: Score, questions: Sequence[Pairs], calls: int) -> dict[str, float]:
    """Milliseconds of calls with one question each: median, 99th percentile, minimum and maximum."""
    for texts in questions[:3]:
        timed(score, texts)
    seconds = [timed(score, questions[call % len(questions)]) for call in range(calls)]
    values = {"p50": np.percentile(seconds, 50), "p99": np.percentile(seconds, 99)}
    values |= {"least": min(seconds), "most": max(seconds)}
    return {name: round(float(value) * 1e3, 2) for name, value in values.items()}


def profile(score: Score, texts: Pairs, device: str) -> dict[str, Any]:
    """Shares of the device's time by kind of kernel, the longest kernels, and the idle share of the wall time."""
    from torch.profiler import ProfilerActivity, profile

    on_gpu = device.startswith("cuda")
    wall = timed(score, texts)  # without the profiler, which slows down launches
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as found:
        score(texts)
        wait(device)
    times = {
        event.key: event.self_device_time_total if on_gpu else event.self_cpu_time_total
        for event in found.key_averages()
    }
    total = sum(times.values()) or 1
    kinds = dict.fromkeys([*KERNELS, "other"], 0.0)
    for name, microseconds in times.items():
        kind = next((kind for kind, sign in KERNELS.items() if re.search(sign, name.lower())), "other")
        kinds[kind] += microseconds / total
    longest = sorted(times, key=times.__getitem__, reverse=True)[:8]
    return {
        "shares": {kind: round(share, 3) for kind, share in kinds.items() if share >= 0.0005},
        "longest": {name[:100]: round(times[name] / total, 3) for name in longest},
        "idle": round(max(0.0, 1 - total / 1e6 / wall), 3),
    }


def measure(model: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time both contenders with one model on one kind of passages."""
    folder, device = model_folder(model), options.device
    texts = pairs(kind, options.counts[kind])
    part = texts[: options.parts[kind]]
    tried = time_settings(folder, device, part, options.batches)
    dtype, attention, batch_size = next(iter(tried)).split()
    scorers = {
        "bioqa, gpu": ours(folder, device),
        "sentence-transformers": theirs(folder, device, dtype, attention, int(batch_size)),
    }
    for score in scorers.values():
        score(part)
    seconds: dict[str, list[float]] = {name: [] for name in scorers}
    rates = []
    for _ in tqdm(range(options.rounds), desc=f"{model}, {kind}"):
        for name, score in scorers.items():
            seconds[name].append(timed(score, texts))
        rates.append(peak(folder, device, options.square, options.rows))
    lengths = token_counts(folder, [(question, [text]) for question, text in texts])
    rate = statistics.median(rates)
    figures = {name: statistics.median(values) for name, values in seconds.items()}
    mine = figures["bioqa, gpu"]
    found = {
        "pairs": len(texts),
        "tokens": sum(lengths),
        "seconds": {name: round(value, 3) for name, value in figures.items()},
        "range": {name: [round(min(values), 3), round(max(values), 3)] for name, values in seconds.items()},
        "times_sentence_transformers": round(figures["sentence-transformers"] / mine, 2),
        "bf16_peak_tflops": round(rate / 1e12, 1),
        "share_of_peak": round(computed(folder, lengths) / mine / rate, 3),
        "whole_model": {name: round(operations(folder, lengths) / value / rate, 3) for name, value in figures.items()},
        "tokenizing_alone_s": round(tokenizing(folder, texts), 3),
        "sentence_transformers_settings": {name: round(value, 3) for name, value in tried.items()},
        "our_batches": {f"{size} x 1024": round(batched(folder, device, size, part), 3) for size in OUR_BATCHES},
        "profile": profile(scorers["bioqa, gpu"], part, device),
    }
    if kind == "abstracts":
        calls = [texts[start : start + PASSAGES] for start in range(0, len(part), PASSAGES)]
        found["latency_ms"] = {name: latency(score, calls, options.calls) for name, score in scorers.items()}
    return found | {"rounds": options.rounds, "environment": environment() | hardware(device)}


def batched(folder: Path, device: str, batch_size: int, part: Pairs) -> float:
    """Seconds of bioqa on a part with another batch size, the better of two."""
    score = ours(folder, device, batch_size)
    return min(timed(score, part) for _ in range(2))


def tokenizing(folder: Path, texts: Pairs) -> float:
    """Seconds of tokenizing alone, which overlaps with the GPU's work."""
    from bioqa.rerank.model_folder.config import read_config
    from bioqa.rerank.model_folder.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(read_config(folder.name, folder)).for_pairs(TOKENS)
    started = time.perf_counter()
    for _ in tokenizer.encode_chunks(texts):
        pass
    return time.perf_counter() - started


def hardware(device: str) -> dict[str, Any]:
    """The GPU, and the version of CUDA."""
    import torch

    if not device.startswith("cuda"):
        return {"device": device}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "device_memory_gib": round(properties.total_memory / 2**30),
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
    }


def options_of(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options; exits with a message if there is no GPU to measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", nargs="+", default=["bert-base", "bert-large"])
    parser.add_argument("--kinds", nargs="+", default=list(COUNTS), choices=list(COUNTS))
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", type=Path, default=RESULTS / "rerank_gpu.json")
    parser.add_argument(
        "--trial",
        action="store_true",
        help="check the script: a tiny model and few pairs on the CPU; only prints the result",
    )
    options = parser.parse_args(arguments)
    options.counts, options.parts, options.batches = COUNTS, PARTS, THEIR_BATCHES
    options.square, options.rows, options.calls = 8192, 32768, 300
    if options.trial:
        options.models, options.device, options.rounds = ["bert-tiny"], "cpu", 1
        options.counts, options.parts = {"abstracts": 200, "snippets": 400}, {"abstracts": 100, "snippets": 100}
        options.batches, options.square, options.rows, options.calls = (32, 64), 256, 512, 3
        return options
    import torch

    if not torch.cuda.is_available():
        parser.exit(
            1,
            "PyTorch sees no CUDA GPU here, and this script measures one; use --trial to check the script on the CPU.\n",
        )
    return options


def main() -> None:
    options = options_of()
    if options.trial:
        from bioqa.rerank.engines import gpu

        gpu.DEVICES = ("cuda", "cpu")
    kept = json.loads(options.out.read_text()) if options.out.is_file() and not options.trial else {}
    result = {
        "what": "from strings to scores, medians of rounds; each part names the machine it was measured on",
        "results": kept.get("results", {}),
    }
    for model in options.models:
        for kind in options.kinds:
            result["results"].setdefault(model, {})[kind] = measure(model, kind, options)
            if not options.trial:
                write_result(options.out, result)
    if options.trial:
        print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
