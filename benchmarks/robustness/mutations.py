"""Feed mutated files to every reader; each must succeed or raise one of bioqa's errors, quickly and in little memory.

    python -m benchmarks.robustness.mutations --inputs 10000

Seeds are small valid files of every format that bioqa reads. A mutation flips, deletes, repeats, swaps or inserts bytes (also
control characters, half of a UTF-8 sequence, huge numbers, deep nesting), replaces a value by an odd one, truncates the file, or
gzips part of it. Inputs are tried in worker processes that report their peak memory; one that takes more processor time than
``CPU_SECONDS``, or longer than ``WALL_SECONDS``, counts as a hang. The result goes to
``benchmarks/results/robustness-mutations.json``.
"""

import argparse
import gzip
import io
import json
import multiprocessing
import random
import re
import resource
import shutil
import signal
import tarfile
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import RESULTS, environment, write_result
from bioqa.errors import BioqaError

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "data" / "demo"
CPU_SECONDS, WALL_SECONDS = 10, 120
INSERTED = (
    *(
        b"\x00",
        b"\x1b[31m",
        b"\xff\xfe",
        b"\xe2\x80",
        b"\xf0\x9f\x98",
        b"\n",
        b"\r",
        b"\t",
        b'"',
        b"'",
        b"\\",
        b"{",
        b"[",
        b"<",
    ),
    *(
        b"]]>",
        b"&#x0;",
        b"&lt;",
        b"9" * 400,
        b"1e999",
        b"NaN",
        b"-1",
        b"[" * 3000,
        b'{"a":' * 2000,
        b"<a>" * 2000,
        b"A" * 100_000,
    ),
    *(b"\xef\xbb\xbf", b"null", b"a." * 5000, b"," * 5000),
)
VALUES = (
    *(
        b"null",
        b"true",
        b"false",
        b"0",
        b"-1",
        b"1.5",
        b"1e999",
        b"-1e999",
        b"NaN",
        b"nan",
        b"inf",
        b"-Infinity",
        b"{}",
        b"[]",
    ),
    *(
        b"9" * 400,
        b"9" * 5000,
        b"0x" + b"f" * 5000,
        b"1979-05-27",
        b'""',
        b'" "',
        b'"\\ud800"',
        b'"\\u0000"',
        b'"../../x"',
    ),
    *(
        b'"' + b"a" * 300 + b'"',
        b'"\\u202e\\u001b[31m"',
        b"[[]]",
        b'[{"a": 1}]',
        b'{"a": {}}',
        b"[" * 900 + b"]" * 900,
        b"18446744073709551616",
    ),
)
"""What takes the place of a value of JSON, TOML and tables; such files stay well formed."""
_VALUE = re.compile(rb'"(?:[^"\\\n]|\\.)*"|-?[0-9]+(?:[.][0-9]+)?|true|false|null|\{\}|\[\]')


MODEL_FILES = (
    *("config.json", "config_sentence_transformers.json", "sentence_bert_config.json", "modules.json", "bioqa.json"),
    *("tokenizer_config.json", "tokenizer.json", "model.safetensors"),
)
HEAD_BYTES = 16_384
"""Of the weights, whose header is mutated; the rest is as it was."""


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
    from bioqa.pairs.question_groups import read_groups

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


def _report(path: Path) -> Any:
    from bioqa.bench.compare import compare_results

    return compare_results(path, path)


def _measures(path: Path) -> Any:
    from bioqa.bench.compare import compare_results

    report = path.with_name("report.json")
    report.write_bytes(_REPORT)
    return compare_results(report, report)


def _pubmedqa(path: Path) -> Any:
    from bioqa.bench.collection import read_collection
    from bioqa.bench.suite import CollectionSpec

    groups = _pairs(path)
    return groups, read_collection(CollectionSpec("one", "pubmedqa", corpus=(str(DEMO),), questions=str(path)))


def _checkpoint(path: Path) -> Any:
    from bioqa.io.checkpoint import Checkpoint

    with Checkpoint(path) as checkpoint:
        found = list(checkpoint)
        if checkpoint.header is not None:
            checkpoint.append({"id": "new"})
            assert list(checkpoint) == [*found, {"id": "new"}]
        return found


def _obo(path: Path) -> Any:
    from bioqa.pairs.cell_ontology import read_obo

    return read_obo(path)


def _crosswalk(path: Path) -> Any:
    from bioqa.pairs.cell_ontology import read_crosswalk

    return read_crosswalk(path)


def _listing(path: Path) -> Any:
    from bioqa.fetch.listing import parse_listing, parse_md5

    text = path.read_bytes().decode(errors="replace")
    return [(file.order, file.max_bytes) for file in parse_listing(text, "baseline")], parse_md5(text)


def _threshold(path: Path) -> Any:
    from bioqa.evaluate.classification_report import model_threshold

    return model_threshold(path.parent)


def _run_folder(path: Path) -> Any:
    """A training run that the recipe began before."""
    from bioqa.train.recipe import read_recipe
    from bioqa.train.training_folder import TrainingFolder

    recipe = read_recipe(_RECIPE)
    with tempfile.TemporaryDirectory() as name:
        model = Path(name) / "checkpoints" / "stage-1" / "model"
        model.mkdir(parents=True)
        (model.parents[1] / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
        shutil.copy(path, model.parents[1] / path.name if path.suffix == ".toml" else model / path.name)
        return TrainingFolder(name, recipe, fresh=False, writes=False).stage_summary(1)


_RECIPE = REPOSITORY / "benchmarks" / "recipes" / "default.toml"
_SYSTEM = {"name": "bm25", "measures": {"ndcg@10": 0.5}, "rerank": None, "first_stage_weight": None}
_REPORT = json.dumps(
    {
        "format": 1,
        "suite": "demo",
        "questions": None,
        "environment": {"date": "2026-01-01", "cpu": "x"},
        "settings": {"name": "demo", "first_stages": [{"name": "bm25", "k1": 0.9}]},
        "collections": [{"name": "demo", "systems": [_SYSTEM]}],
    }
).encode()


def _submission(path: Path) -> Any:
    from bioqa.bioasq.phase_a_file import read_phase_a
    from bioqa.bioasq.validate import validate

    return validate(path), validate(path, gold=True), read_phase_a(path)


def _model(file_name: str) -> Callable[[Path], Any]:
    def load(path: Path) -> Any:
        # What odd files are left to takes as long to import as a hang; the first call, with the seed, does it.
        from transformers import AutoModelForSequenceClassification, AutoTokenizer  # noqa: F401

        from bioqa.rerank.reranker import Reranker

        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for file in (REPOSITORY / "bioqa" / "rerank" / "default").iterdir():
                if file.name != file_name:
                    (folder / file.name).symlink_to(file)
            shutil.copy(path, folder / file_name)
            if file_name == "model.safetensors":
                with (
                    (REPOSITORY / "bioqa" / "rerank" / "default" / file_name).open("rb") as rest,
                    (folder / file_name).open("ab") as out,
                ):
                    rest.seek(HEAD_BYTES)
                    shutil.copyfileobj(rest, out)
            return Reranker(folder, device="cpu", engine="cpu-int8").score("What?", ["That."])

    return load


def readers() -> Iterator[Reader]:
    """Every reader with its seed."""
    demo = (DEMO / "demo26n0002.xml").read_bytes()
    records = demo.split(b"</PubmedArticle>")
    yield Reader("seed.xml", b"</PubmedArticle>".join([*records[:8], b"</PubmedArticleSet>"]), _articles)
    yield Reader("update.xml", demo, _skipping_articles)
    lines = [
        {"id": str(n), "title": f"Title {n}", "text": "A text. Another sentence.", "year": 2020} for n in range(20)
    ]
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
    yield Reader(
        "seed.run",
        b"".join(b"q%d Q0 d%d %d %.3f tag\n" % (q, d, d, 9 / (d + 1)) for q in range(3) for d in range(9)),
        _run,
    )
    yield Reader("pairs.csv", b"question,passage,label\nWhich gene?,SCN1A does.,1\nWhich gene?,Nothing.,0\n", _pairs)
    yield Reader("pairs.jsonl", b'{"query": "Which gene?", "pos": ["SCN1A."], "neg": ["None."]}\n', _pairs)
    yield Reader("scored.csv", b"label,score\n1,0.9\n0,0.2\n1,0.7\n", _scored)
    yield Reader("scored.jsonl", b'{"label": 1, "score": 2.5}\n{"label": 0, "score": -1.5}\n', _scored)
    tables = (
        b"Organ_Level,Organ_ID,Annotation_Label,CL_ID\nHeart_L1,UBERON:1,myocyte,CL:1\nLung_L2,UBERON:2,B cell,CL:2\n"
    )
    yield Reader("crosswalk.csv", b"A table of labels\n\n" + tables, _crosswalk)
    term = '[Term]\nid: CL:%d\nname: cell %d\ndef: "A cell." [X:1]\nsynonym: "one cell" EXACT []\nis_a: CL:1 ! cell\n\n'
    yield Reader("cl.obo", "".join(term % (n, n) for n in range(1, 9)).encode(), _obo)
    labelled = {
        str(n): {"QUESTION": "Which gene?", "CONTEXTS": ["One.", "Two."], "final_decision": "yes"} for n in range(1, 4)
    }
    yield Reader("pubmedqa.json", json.dumps(labelled).encode(), _pubmedqa)
    yield Reader(
        "pairs.parquet",
        _parquet([{"question": "Which?", "passage": f"{n}.", "label": n % 2} for n in range(9)]),
        _pairs,
    )
    yield Reader("medquad.tar.gz", _medquad(), _pairs)
    yield Reader("report.json", _REPORT, _report)
    values = {"demo": {"bm25": {"ndcg@10": {str(n): n / 9 for n in range(9)}}}}
    yield Reader("measures.json", json.dumps(values).encode(), _measures)
    records = [
        {"environment": {"date": "2026-01-01"}},
        {"id": "q1", "passages": [["a", 1.5]]},
        {"id": "q2", "passages": []},
    ]
    yield Reader("run.jsonl", "".join(json.dumps(one) + "\n" for one in records).encode(), _checkpoint)
    row = '<a href="pubmed26n%04d.xml.gz">pubmed26n%04d.xml.gz</a>  2026-01-29 14:48  20M\n'
    yield Reader(
        "listing.html", ("<pre>" + "".join(row % (n, n) for n in range(9)) + "</pre>" + "0f" * 16).encode(), _listing
    )
    yield Reader("summary.json", b'{"stage": "one", "steps": 9, "log": [{"loss": 0.5, "step": 1}]}', _run_folder)
    yield Reader("recipe.toml", (REPOSITORY / "benchmarks" / "recipes" / "default.toml").read_bytes(), _recipe)
    yield Reader("suite.toml", (REPOSITORY / "benchmarks" / "suites" / "demo.toml").read_bytes(), _suite)
    for name in MODEL_FILES:
        data = (REPOSITORY / "bioqa" / "rerank" / "default" / name).read_bytes()
        yield Reader(name, data[:HEAD_BYTES] if name == "model.safetensors" else data, _model(name))


def _medquad() -> bytes:
    pair = b'<QAPair><Question qid="1">Which gene?</Question><Answer>SCN1A.</Answer></QAPair>'
    document = b'<Document id="1"><QAPairs>' + pair + b"</QAPairs></Document>"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for number in range(3):
            member = tarfile.TarInfo(f"folder/{number}.xml")
            member.size = len(document)
            archive.addfile(member, io.BytesIO(document))
    return out.getvalue()


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
        kind = rng.randrange(10)
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
        elif kind >= 8:
            values = [one.span() for one in _VALUE.finditer(changed)]
            begin, end = rng.choice(values) if values else (at, at)
            changed[begin:end] = rng.choice(VALUES)
        elif kind == 7 and rng.random() < 0.1:
            changed = bytearray(gzip.compress(bytes(changed))[: rng.choice((20, 10**9))])
    return bytes(changed)


class _Hang(BaseException):
    """A reader took longer than it may."""


def _alarm(*_: object) -> None:
    raise _Hang


def _read_in_time(reader: Reader, path: Path) -> None:
    """Read a file, or raise _Hang."""
    try:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        signal.alarm(WALL_SECONDS)
        reader.read(path)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.alarm(0)


def work(names: list[str], inputs: int, seed: int) -> dict[str, Any]:
    """Try inputs of some readers; what a worker process does."""
    signal.signal(signal.SIGALRM, _alarm)
    signal.signal(signal.SIGPROF, _alarm)
    chosen = [one for one in readers() if one.file_name in names]
    rng = random.Random(seed)
    outcomes: Counter[str] = Counter()
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for (
            reader
        ) in chosen:  # what is loaded once is not part of an input's time, and a seed that cannot be read tests nothing
            path = Path(folder) / reader.file_name
            path.write_bytes(reader.seed)
            reader.read(path)
        for number in range(inputs):
            reader = chosen[number % len(chosen)]
            path = Path(folder) / reader.file_name
            data = mutate(reader.seed, rng)
            path.write_bytes(data)
            try:
                _read_in_time(reader, path)
                outcomes["read"] += 1
            except BioqaError:
                outcomes["refused"] += 1
            except _Hang:
                outcomes["hang"] += 1
                faults.append(f"{reader.file_name}, seed {seed}, input {number}: hangs")
            except Exception as problem:
                outcomes["traceback"] += 1
                place = traceback.extract_tb(problem.__traceback__)[-1]
                faults.append(
                    f"{reader.file_name}, seed {seed}, input {number}: {type(problem).__name__} at {place.name}: {problem}"[
                        :300
                    ]
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"readers": names, "outcomes": dict(outcomes), "faults": faults, "peak_mib": round(peak)}


def work_alone(name: str, inputs: int, seed: int) -> dict[str, Any]:
    """``work`` in a process of its own, whose end is a fault."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, [name], inputs, seed).result()
        except (BrokenProcessPool, _Hang) as problem:
            faults = [f"{name}, seed {seed}: the process ended ({problem!r})"]
            return {"readers": [name], "outcomes": {"killed": inputs}, "faults": faults, "peak_mib": 0}


def measure(inputs: int, seed: int) -> dict[str, Any]:
    """Deal the inputs out to worker processes, one for each kind of reader."""
    names = [one.file_name for one in readers()]
    share = -(-inputs // len(names))
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(work_alone, names, repeat(share), range(seed, seed + len(names))))
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
