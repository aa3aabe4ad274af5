"""Feed mutated files to every reader; each must succeed or raise one of bioqa's errors, quickly and in little memory.

    python -m benchmarks.robustness.mutations --inputs 10000

Seeds are small valid files of every format that bioqa reads. A mutation flips, deletes, repeats, swaps or inserts bytes (also
control characters, half of a UTF-8 sequence, huge numbers, deep nesting), truncates the file, or gzips part of it. Inputs are
tried in worker processes that report their peak memory; one that takes longer than ``LIMIT_SECONDS`` counts as a hang. The result
goes to ``benchmarks/results/robustness-mutations.json``.
"""

import argparse
import gzip
import json
import multiprocessing
import random
import resource
import shutil
import signal
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import RESULTS, environment, write_result
from bioqa.errors import BioqaError

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "data" / "demo"
LIMIT_SECONDS = 10
INSERTED = (
    b"\x00", b"\x1b[31m", b"\xff\xfe", b"\xe2\x80", b"\xf0\x9f\x98", b"\n", b"\r", b"\t", b'"', b"'", b"\\", b"{", b"[", b"<", b"]]>", b"&#x0;",
    b"&lt;", b"9" * 400, b"1e999", b"NaN", b"-1", b"[" * 3000, b'{"a":' * 2000, b"<a>" * 2000, b"A" * 100_000, b"\xef\xbb\xbf", b"null",
)  # fmt: skip


class Reader(NamedTuple):
    """What reads a file, from a seed with a fitting name."""

    file_name: str
    seed: bytes
    read: Callable[[Path], Any]


def _articles(path: Path) -> int:
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources

    return sum(1 for source in expand_sources([path]) for _ in read_source(source))


def _skipping_articles(path: Path) -> int:
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources

    return sum(1 for source in expand_sources([path]) for _ in read_source(source, on_bad=lambda problem: None))


def _questions(path: Path) -> Any:
    from bioqa.corpus.questions import read_questions

    return read_questions(path)


def _qrels(path: Path) -> Any:
    from bioqa.corpus.qrels import read_qrels

    return read_qrels(path)


def _run(path: Path) -> Any:
    from bioqa.io.trec import iter_run, read_run

    return read_run(path), list(iter_run(path))


def _pairs(path: Path) -> Any:
    from bioqa.pairs.import_pairs import read_groups

    return read_groups([path])


def _scored(path: Path) -> Any:
    from bioqa.evaluate.scored_pairs import read_scored

    return read_scored(path, None, None)


def _recipe(path: Path) -> Any:
    from bioqa.train.recipe import read_recipe

    return read_recipe(path)


def _suite(path: Path) -> Any:
    from bioqa.bench.suite import read_suite

    return read_suite(path)


def _submission(path: Path) -> Any:
    from bioqa.bioasq.answers import read_answers
    from bioqa.bioasq.validate import validate

    return validate(path), read_answers(path)


def _model(file_name: str) -> Callable[[Path], Any]:
    def load(path: Path) -> Any:
        from bioqa.rerank.reranker import Reranker

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in (REPOSITORY / "bioqa" / "rerank" / "default").iterdir():
                if file.name != file_name:
                    (folder / file.name).symlink_to(file)
            shutil.copy(path, folder / file_name)
            return Reranker(folder, device="cpu", engine="cpu-int8").score("What?", ["That."])

    return load


def readers() -> Iterator[Reader]:
    """Every reader with its seed."""
    demo = (DEMO / "demo26n0002.xml").read_bytes()
    yield Reader("seed.xml", demo[:60_000] + demo[-3000:], _articles)
    yield Reader("update.xml", demo, _skipping_articles)
    lines = [{"id": str(n), "title": f"Title {n}", "text": "A text. Another sentence.", "year": 2020} for n in range(20)]
    jsonl = "".join(json.dumps(one) + "\n" for one in lines).encode()
    yield Reader("seed.jsonl", jsonl, _articles)
    yield Reader("seed.jsonl.gz", gzip.compress(jsonl), _skipping_articles)
    yield Reader("seed.parquet", _parquet(lines), _articles)
    questions = json.loads((DEMO / "questions.json").read_text())["questions"][:4]
    yield Reader("questions.json", json.dumps({"questions": questions}).encode(), _questions)
    yield Reader("gold.json", json.dumps({"questions": questions}).encode(), _submission)
    yield Reader("questions.tsv", b"q1\tWhich gene?\nq2\tWhat treats asthma?\n", _questions)
    yield Reader("queries.jsonl", b'{"_id": "q1", "text": "Which gene?"}\n{"_id": "q2", "text": "What?"}\n', _questions)
    yield Reader("qrels.txt", b"q1 0 a 1\nq1 0 b 0\nq2 0 c 2\n", _qrels)
    yield Reader("qrels.tsv", b"query-id\tcorpus-id\tscore\nq1\ta\t1\nq2\tb\t1\n", _qrels)
    yield Reader("seed.run", b"".join(b"q%d Q0 d%d %d %.3f tag\n" % (q, d, d, 9 / (d + 1)) for q in range(3) for d in range(9)), _run)
    yield Reader("pairs.csv", b"question,passage,label\nWhich gene?,SCN1A does.,1\nWhich gene?,Nothing.,0\n", _pairs)
    yield Reader("pairs.jsonl", b'{"query": "Which gene?", "pos": ["SCN1A."], "neg": ["None."]}\n', _pairs)
    yield Reader("scored.csv", b"label,score\n1,0.9\n0,0.2\n1,0.7\n", _scored)
    yield Reader("scored.jsonl", b'{"label": 1, "score": 2.5}\n{"label": 0, "score": -1.5}\n', _scored)
    yield Reader("recipe.toml", (REPOSITORY / "benchmarks" / "recipes" / "default.toml").read_bytes(), _recipe)
    yield Reader("suite.toml", (REPOSITORY / "benchmarks" / "suites" / "demo.toml").read_bytes(), _suite)
    for name in ("config.json", "tokenizer_config.json", "bioqa.json", "modules.json"):
        yield Reader(name, (REPOSITORY / "bioqa" / "rerank" / "default" / name).read_bytes(), _model(name))


def _parquet(lines: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = pa.BufferOutputStream()
    parquet.write_table(pa.Table.from_pylist(lines), out)
    return bytes(out.getvalue())


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The data with one to eight random changes."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 8))):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(8)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at : at + rng.choice((1, 3, 50, 5000))]
        elif kind == 2:
            changed[at:at] = rng.choice(INSERTED)
        elif kind == 3:
            changed[at:at] = changed[at : at + rng.choice((1, 10, 1000))] * rng.choice((1, 2, 20))
        elif kind == 4:
            other = rng.randrange(len(changed) + 1)
            piece = bytes(changed[at : at + 40])
            changed[other : other + 40] = piece
        elif kind == 5 and rng.random() < 0.3:
            del changed[at:]
        elif kind == 6 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 7 and rng.random() < 0.1:
            changed = bytearray(gzip.compress(bytes(changed))[: rng.choice((20, 10**9))])
    return bytes(changed)


class _Hang(BaseException):
    """A reader took longer than ``LIMIT_SECONDS``."""


def _alarm(*_: object) -> None:
    raise _Hang


def work(names: list[str], inputs: int, seed: int) -> dict[str, Any]:
    """Try inputs of some readers; what a worker process does."""
    signal.signal(signal.SIGALRM, _alarm)
    chosen = [one for one in readers() if one.file_name in names]
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(inputs):
            reader = chosen[number % len(chosen)]
            path = Path(folder) / reader.file_name
            data = mutate(reader.seed, rng)
            path.write_bytes(data)
            signal.alarm(LIMIT_SECONDS)
            try:
                reader.read(path)
                outcomes["read"] += 1
            except BioqaError:
                outcomes["refused"] += 1
            except _Hang:
                outcomes["hang"] += 1
                faults.append(f"{reader.file_name}, seed {seed}, input {number}: hangs")
            except Exception as problem:
                outcomes["traceback"] += 1
                place = traceback.extract_tb(problem.__traceback__)[-1]
                faults.append(f"{reader.file_name}, seed {seed}, input {number}: {type(problem).__name__} at {place.name}: {problem}"[:300])
            finally:
                signal.alarm(0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"readers": names, "outcomes": dict(outcomes), "faults": faults, "peak_mib": round(peak)}


def measure(inputs: int, seed: int) -> dict[str, Any]:
    """Deal the inputs out to worker processes, one for each kind of reader."""
    names = [one.file_name for one in readers()]
    share = -(-inputs // len(names))
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        results = pool.starmap(work, [([name], share, seed + n) for n, name in enumerate(names)], chunksize=1)
    outcomes: Counter[str] = Counter()
    for one in results:
        outcomes.update(one["outcomes"])
    return {
        "inputs": sum(outcomes.values()),
        "outcomes": dict(outcomes),
        "peak_mib": max(one["peak_mib"] for one in results),
        "peak_mib_by_reader": {one["readers"][0]: one["peak_mib"] for one in results},
        "faults": [fault for one in results for fault in one["faults"]],
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    result = measure(options.inputs, options.seed)
    what = "mutated files given to every reader: read, refused with a sentence, or a fault"
    write_result(RESULTS / "robustness-mutations.json", {"what": what, **result, "environment": environment()})


if __name__ == "__main__":
    main()
