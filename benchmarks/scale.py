"""Build and search at growing sizes: citations per second, index bytes per citation, peak memory, query latency, a projection.

    python -m benchmarks.scale --sizes 100000 300000 1000000

Citations are made by ``pubmed_files.py`` and stay in ``<data>`` for the next run. Each index is built by the command ``bioqa index
build`` and searched in a process of its own with the questions of the BioASQ test split, one after another, after a first pass over
some of them. The result goes to ``benchmarks/results/scale.json``.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import DATA, RESULTS, environment, write_result
from benchmarks.process_tree import MEMORY_NOTE, time_tree
from benchmarks.pubmed_files import PER_FILE, density, pubmed_files, test_questions

SIZES = (100_000, 300_000, 1_000_000)
PUBMED = 41_000_000
DEPTHS = (10, 100)
WARM_UP = 100


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50 and p95 in milliseconds."""
    ordered = sorted(seconds)
    return {f"p{share}_ms": round(ordered[len(ordered) * share // 100] * 1000, 2) for share in (50, 95)}


def latencies(index: str, count: int) -> dict[str, dict[str, float]]:
    """Percentiles of the query time at each depth, in this process."""
    from bioqa import BM25Retriever, Index

    questions = test_questions()[:count]
    figures = {}
    with Index(index) as opened:
        retriever = BM25Retriever(opened)
        for depth in DEPTHS:
            for question in questions[:WARM_UP]:
                retriever.search(question, depth)
            seconds = []
            for question in questions:
                started = time.perf_counter()
                retriever.search(question, depth)
                seconds.append(time.perf_counter() - started)
            figures[f"top {depth}"] = percentiles(seconds)
    return figures


def measure(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one size."""
    files = pubmed_files(options.data, size, options.per_file)
    index, report = options.data / f"scale-{size}", options.data / f"scale-{size}.json"
    shutil.rmtree(index, ignore_errors=True)
    print(f"building {index}", file=sys.stderr)
    build = [
        sys.executable,
        "-m",
        "bioqa",
        "index",
        "build",
        str(index),
        *map(str, files),
        "--workers",
        str(options.workers),
    ]
    built = time_tree(build)
    search = [
        sys.executable,
        "-m",
        "benchmarks.scale",
        "--limit",
        str(options.limit),
        "--latencies",
        str(index),
        str(report),
    ]
    searched = time_tree(search)
    stored = sum(file.stat().st_size for file in index.iterdir())
    figures = {
        "citations": size,
        "build_s": round(built.wall, 1),
        "citations_per_s": round(size / built.wall),
        "build_cpu_s": round(built.cpu, 1),
        "build_peak_rss_mib": round(built.peak_rss_mib),
        "build_peak_private_mib": round(built.peak_private_mib),
        "index_mib": round(stored / 2**20, 1),
        "index_bytes_per_citation": round(stored / size),
        "search_peak_rss_mib": round(searched.peak_rss_mib),
        "search_peak_private_mib": round(searched.peak_private_mib),
        "latency": json.loads(report.read_text()),
    }
    report.unlink()
    if not options.keep:
        shutil.rmtree(index)
    return figures


def line(points: Sequence[tuple[float, float]], at: float) -> float:
    """The value at ``at`` of the least-squares line through the points, or of the line from the origin if there is one point."""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if not spread:
        return mean_y / mean_x * at
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return mean_y + slope * (at - mean_x)


def project(measured: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A projection to all of PubMed, from the largest size's rate and bytes and the linear trend of the latency."""
    last = measured[-1]
    latency = {
        depth: {
            name: round(line([(size["citations"], size["latency"][depth][name]) for size in measured], PUBMED), 1)
            for name in figures
        }
        for depth, figures in last["latency"].items()
    }
    return {
        "note": "a projection, not a measurement: rate and bytes per citation of the largest size measured; latency on the "
        "least-squares line through the sizes measured, with the whole index in memory; synthetic metadata",
        "citations": PUBMED,
        "build_hours": round(PUBMED / last["citations_per_s"] / 3600, 2),
        "index_gib": round(PUBMED * last["index_bytes_per_citation"] / 2**30, 1),
        "latency": latency,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--per-file", type=int, default=PER_FILE, help="citations per file")
    parser.add_argument("--limit", type=int, default=813, help="only the first N questions")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--keep", action="store_true", help="keep the indexes in the data folder")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "scale.json")
    parser.add_argument("--latencies", nargs=2, metavar=("INDEX", "REPORT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.latencies:
        index, report = options.latencies
        Path(report).write_text(json.dumps(latencies(index, options.limit)))
        return

    measured = [measure(size, options) for size in sorted(options.sizes)]
    result = {
        "what": "bioqa index build on synthetic PubMed files, whole process; then the BioASQ test questions one by one",
        "workers": options.workers,
        "citations_per_file": options.per_file,
        "per_citation": density(pubmed_files(options.data, options.sizes[0], options.per_file)[:1]),
        "questions": min(options.limit, len(test_questions())),
        "sizes": measured,
        "projection": project(measured),
        "memory": MEMORY_NOTE,
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
