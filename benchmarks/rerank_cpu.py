"""Reranking on a CPU: bioqa's engines compared with sentence-transformers and with the processor's limit.

    python -m benchmarks.rerank_cpu

There are two models: ``minilm`` is the default reranker (6 layers, 384 wide); ``bert-base`` has its tokenizer and random weights
(12 layers, 768 wide), as time does not depend on the weights. Each question has 100 passages of its own, real abstracts with their
titles or BioASQ snippets, truncated to 512 tokens. The contenders take turns in one process, for several rounds over several
questions:

- ``bioqa, cpu-int8`` and ``bioqa, exact``;
- ``sentence-transformers``: ``CrossEncoder.predict`` with default settings, fp32 in batches of 32;
- ``sentence-transformers, bf16``: its documented setting for processors with bfloat16 instructions. (Its ONNX and OpenVINO
  backends cannot be installed beside the versions that bioqa is tested with.)

The floor is the time of all multiplications of the model at the highest rate that onnxruntime's 8-bit matrix product reaches here
on matrices of the model's own shapes. It includes attention, which cpu-int8 computes in fp32, and all of the last layer, of which
cpu-int8 computes little but the first position: 7% of bert-base's multiplications and 14% of minilm's are skipped.
Cold start and peak memory are those of whole processes that score ten passages, with the graph in the cache.
The result goes to ``benchmarks/results/rerank_cpu.json``: medians, and ratios of medians.
"""

import argparse
import gzip
import json
import os
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from tqdm import tqdm

from benchmarks.machine import DATA, RESULTS, environment, medians, shared_data, time_process, write_result

PASSAGES = 100
TOKENS = 512
OURS, EXACT, THEIRS, THEIRS_BF16 = (
    "bioqa, cpu-int8",
    "bioqa, exact",
    "sentence-transformers",
    "sentence-transformers, bf16",
)
CONTENDERS = (OURS, EXACT, THEIRS, THEIRS_BF16)
SHAPES = {
    "bert-base": {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12},
    "bert-large": {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
    "bert-tiny": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 2},
}

Score = Callable[[str, Sequence[str]], Any]


def model_folder(name: str) -> Path:
    """The default reranker, or a model of one of ``SHAPES``, created on the first call."""
    from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER

    if name == "minilm":
        return DEFAULT_FOLDER
    folder = DATA / "models" / name
    if not (folder / "model.safetensors").is_file():
        import torch
        from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

        torch.manual_seed(0)
        config = BertConfig(**SHAPES[name], num_labels=1, vocab_size=30522)
        BertForSequenceClassification(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(DEFAULT_FOLDER, model_max_length=TOKENS).save_pretrained(folder)
    return folder


def passages(kind: str, count: int) -> list[str]:
    """``count`` abstracts with their titles, or snippets of the BioASQ test split (and of the others if it has fewer)."""
    if kind == "snippets":
        splits = (bioasq(name) for name in ("test", "dev", "train"))
        texts = (snippet["text"] for split in splits for question in split for snippet in question["snippets"])
        return list(islice(texts, count))
    with gzip.open(shared_data() / "abstracts" / "abstracts-1.jsonl.gz", "rt", encoding="utf-8") as file:
        records = (json.loads(line) for line in file)
        whole = (f"{one['title']}\n{one['text']}" for one in records if one["title"] and len(one["text"]) > 800)
        return [text for text, _ in zip(whole, range(count), strict=False)]


def bioasq(split: str) -> list[dict[str, Any]]:
    """The questions of a BioASQ split."""
    with gzip.open(shared_data() / "bioasq" / f"{split}.json.gz", "rt", encoding="utf-8") as file:
        questions: list[dict[str, Any]] = json.load(file)["questions"]
    return questions


def questions_with_passages(kind: str, questions: int) -> list[tuple[str, list[str]]]:
    """Questions of the BioASQ test split, each with its own passages."""
    bodies = [question["body"] for question in bioasq("test")[:questions]]
    texts = passages(kind, questions * PASSAGES)
    return [(body, texts[number * PASSAGES : (number + 1) * PASSAGES]) for number, body in enumerate(bodies)]


def contender(name: str, folder: Path) -> Score:
    """The function with which a contender scores the passages of a question."""
    if name in (OURS, EXACT):
        from bioqa import Reranker

        reranker = Reranker(folder, device="cpu", max_length=TOKENS, engine=name.removeprefix("bioqa, "))
        return reranker.logits
    import torch
    from sentence_transformers import CrossEncoder

    dtype = torch.bfloat16 if name == THEIRS_BF16 else torch.float32
    model = CrossEncoder(str(folder), device="cpu", max_length=TOKENS, model_kwargs={"dtype": dtype})
    return lambda question, texts: model.predict([(question, text) for text in texts], show_progress_bar=False)


def operations(folder: Path, lengths: Sequence[int]) -> float:
    """Floating-point operations of linear layers and attention for pairs of these lengths; 2 per multiplication."""
    config = json.loads((folder / "config.json").read_text())
    width, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    linear = 2 * (4 * width * width + 2 * width * inner)
    return float(sum(layers * (linear * n + 4 * n * n * width) for n in lengths))


def peak(folder: Path, seconds: float = 2.0) -> float:
    """The highest rate of onnxruntime's uint8 x int8 product at the model's widest layer, in operations per second on all cores."""
    from onnx import TensorProto, helper, numpy_helper

    from bioqa.rerank.engines.cpu_int8 import import_onnxruntime

    onnxruntime = import_onnxruntime()
    config = json.loads((folder / "config.json").read_text())
    width, inner = config["hidden_size"], config["intermediate_size"]
    rates = []
    for rows in (256, 512, 1024, 2048):
        weight = numpy_helper.from_array(np.random.default_rng(0).integers(-127, 128, (width, inner), np.int8), "w")
        node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
        graph = helper.make_graph(
            [node],
            "peak",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, width])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [rows, inner])],
            [weight],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        x = np.full((rows, width), 3, dtype=np.uint8)

        def spin(session: Any = session, x: Any = x) -> int:
            runs, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                session.run(None, {"x": x})
                runs += 1
            return runs

        cores = os.cpu_count() or 1
        with ThreadPoolExecutor(cores) as pool:
            started = time.perf_counter()
            runs = sum(one.result() for one in [pool.submit(spin) for _ in range(cores)])
            rates.append(runs * 2.0 * rows * width * inner / (time.perf_counter() - started))
    return max(rates)


def measure(model: str, kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time all contenders with one model on one kind of passages."""
    folder = model_folder(model)
    scorers = {name: contender(name, folder) for name in CONTENDERS}
    items = questions_with_passages(kind, options.limit)
    seconds: dict[str, list[float]] = {name: [] for name in CONTENDERS}
    for score in scorers.values():
        score(items[0][0], items[0][1][:16])
    for _ in tqdm(range(options.rounds), desc=f"{model}, {kind}"):
        for question, texts in items:
            for name, score in scorers.items():
                started = time.perf_counter()
                score(question, texts)
                seconds[name].append(time.perf_counter() - started)
    lengths = token_counts(folder, items)
    rate = peak(folder)
    floor = operations(folder, lengths) / len(items) / rate
    figures = {name: round(statistics.median(values), 3) for name, values in seconds.items()}
    return {
        "tokens_per_pair": round(statistics.mean(lengths)),
        "seconds_per_question": figures,
        "range": {name: [round(min(values), 3), round(max(values), 3)] for name, values in seconds.items()},
        "times_sentence_transformers": {name: round(figures[THEIRS] / value, 2) for name, value in figures.items()},
        "times_its_best": round(min(figures[THEIRS], figures[THEIRS_BF16]) / figures[OURS], 2),
        "int8_peak_tops": round(rate / 1e12, 2),
        "int8_floor_s": round(floor, 3),
        "share_of_int8_floor": round(floor / figures[OURS], 3),
    }


def token_counts(folder: Path, items: Sequence[tuple[str, Sequence[str]]]) -> list[int]:
    """The number of tokens of every pair, as it is scored."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(TOKENS, strategy="longest_first")
    pairs = [(question, text) for question, texts in items for text in texts]
    return [len(found.ids) for found in tokenizer.encode_batch(pairs)]


def cold_start(model: str, name: str, rounds: int) -> dict[str, float]:
    """Time and memory of whole processes that load the model and score ten abstracts."""
    command = [sys.executable, "-m", "benchmarks.rerank_cpu", "--once", model, name]
    time_process(command)
    return medians([time_process(command) for _ in range(rounds)])


def profile(model: str) -> dict[str, float]:
    """Shares of cpu-int8's time by kind of operation on one question's abstracts, by onnxruntime's profiler."""
    from bioqa import Reranker
    from bioqa.rerank.engines.cpu_int8 import import_onnxruntime

    onnxruntime = import_onnxruntime()
    sessions: list[Any] = []

    class ProfiledSession(onnxruntime.InferenceSession):
        """A session that writes a profile."""

        def __init__(self, graph: bytes, options: Any, **settings: Any) -> None:
            options.enable_profiling = True
            options.profile_file_prefix = str(DATA / "profile")
            super().__init__(graph, options, **settings)
            sessions.append(self)

    DATA.mkdir(parents=True, exist_ok=True)
    with patch.object(onnxruntime, "InferenceSession", ProfiledSession):
        reranker = Reranker(model_folder(model), device="cpu", max_length=TOKENS, engine="cpu-int8")
    ((question, texts),) = questions_with_passages("abstracts", 1)
    reranker.logits(question, texts)
    report = Path(sessions[-1].end_profiling())
    for session in sessions[:-1]:  # those that built the graph
        Path(session.end_profiling()).unlink()
    spent: dict[str, float] = defaultdict(float)
    for event in json.loads(report.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("kernel_time") and event["args"]["op_name"] != "If":
            spent[event["args"]["op_name"]] += event["dur"]
    report.unlink()
    whole = sum(spent.values())
    return {kind: round(value / whole, 3) for kind, value in sorted(spent.items(), key=lambda one: -one[1])[:9]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=2, help="Number of questions.  [default: 2]")
    parser.add_argument("--models", nargs="+", default=["minilm", "bert-base"])
    parser.add_argument("--out", type=Path, default=RESULTS / "rerank_cpu.json")
    parser.add_argument("--once", nargs=2, metavar=("MODEL", "CONTENDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        model, name = options.once
        ((question, texts),) = questions_with_passages("abstracts", 1)
        contender(name, model_folder(model))(question, texts[:10])
        return
    # Before models are loaded into this process: a child's peak memory includes its parent's at the time of the fork.
    starts = {m: {name: cold_start(m, name, 3) for name in (OURS, EXACT, THEIRS)} for m in options.models}
    result = {
        "what": f"one question with {PASSAGES} passages, from strings to scores; medians of rounds x questions",
        "rounds": options.rounds,
        "questions": options.limit,
        "results": {m: {kind: measure(m, kind, options) for kind in ("abstracts", "snippets")} for m in options.models},
        "cold_start_with_10_abstracts": starts,
        "share_of_cpu_int8_time": {m: profile(m) for m in options.models},
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
