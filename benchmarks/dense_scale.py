"""Dense search at growing sizes: seconds to commit vectors, bytes per article, recall, query latency, and a projection.

    python -m benchmarks.dense_scale --sizes 100000 300000 1000000

The articles have a short title each; their vectors are random ones of 384 dimensions, most of whose variance is in 40 directions,
as with those of real texts, so that no hours of encoding are needed. The vectors are committed by ``embed_index``; recall compares
the first 100 results with those of comparing all vectors. Latencies are of one question after another, encoding excluded, with and
without a filter that a tenth of the articles pass. Indexes stay in ``<data>`` only with ``--keep``. The result goes to
``benchmarks/results/dense_scale.json``.
"""

import argparse
import json
import shutil
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import DATA, RESULTS, environment, write_result
from benchmarks.scale import PUBMED, percentiles
from bioqa.index.manifest import VectorInfo
from bioqa.types import Article

SIZES = (100_000, 300_000, 1_000_000)
DIMENSION, DIRECTIONS, NOISE = 384, 40, 0.3
QUESTIONS, EXACT_QUESTIONS, WARM_UP = 300, 50, 50


class _Vectors:
    """A random vector for each number: a mix of ``DIRECTIONS`` and noise of ``NOISE`` times its length."""

    info = VectorInfo("random", "random vectors", DIMENSION, "cosine")

    def __init__(self) -> None:
        self._directions = np.random.default_rng(0).normal(size=(DIRECTIONS, DIMENSION)).astype(np.float32)

    def make(self, numbers: NDArray[np.int64], seed: int) -> NDArray[np.float32]:
        rng = np.random.default_rng([seed, int(numbers[0])])
        mixed = rng.normal(size=(len(numbers), DIRECTIONS)).astype(np.float32) @ self._directions
        noise = rng.normal(size=(len(numbers), DIMENSION)).astype(np.float32) * (NOISE * DIRECTIONS**0.5)
        vectors = mixed + noise
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return unit

    def encode_articles(self, articles: Sequence[Article]) -> NDArray[np.float32]:
        return self.make(np.array([int(article.id) for article in articles]), 1)

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.concatenate([self.make(np.array([int(text)]), 2) for text in texts])


def build(folder: Path, size: int) -> Path:
    """An index of ``size`` articles without vectors, built by several sources as PubMed's are."""
    from bioqa import build_index

    sources = folder / f"articles-{size}"
    sources.mkdir(parents=True, exist_ok=True)
    per_file = 30_000
    for begin in range(0, size, per_file):
        with (sources / f"{begin:09}.jsonl").open("w", encoding="utf-8") as out:
            for number in range(begin, min(begin + per_file, size)):
                record = {"id": str(number), "title": f"Article {number}", "text": "", "journal": f"J{number % 10}"}
                out.write(json.dumps(record) + "\n")
    path = folder / f"dense-{size}"
    shutil.rmtree(path, ignore_errors=True)
    build_index(path, [sources])
    shutil.rmtree(sources)
    return path


def folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())


def timed(retriever: Any, options: Any, k: int) -> dict[str, float]:
    """Percentiles of the query time, in this process."""
    seconds = []
    for number in range(WARM_UP + QUESTIONS):
        started = time.perf_counter()
        retriever.search(str(number), k, options)
        seconds.append(time.perf_counter() - started)
    return percentiles(seconds[WARM_UP:])


def measure(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one size."""
    from bioqa import DenseRetriever, Filters, Index, SearchOptions, embed_index

    vectors = _Vectors()
    path = build(options.data, size)
    before = folder_bytes(path)
    started = time.perf_counter()
    embed_index(path, vectors)
    seconds = time.perf_counter() - started
    figures: dict[str, Any] = {
        "embed_s": round(seconds, 1),
        "articles_per_s": round(size / seconds),
        "vector_bytes_per_article": round((folder_bytes(path) - before) / size, 1),
    }
    filtered = SearchOptions(filters=Filters(journal=("J3",)))
    with Index(path) as index:
        graph, exact = DenseRetriever(index, vectors), DenseRetriever(index, vectors, exact=True)
        for k in (10, 100, 200):
            figures[f"top {k}"] = timed(graph, SearchOptions(), k)
        figures["top 100, filtered"] = timed(graph, filtered, 100)
        questions = [str(number) for number in range(EXACT_QUESTIONS)]
        recalls = []
        for question in questions:
            found, best = ({one.id for one in each.search(question, 100)} for each in (graph, exact))
            recalls.append(len(found & best) / len(best))
        figures["recall@100"] = round(statistics.mean(recalls), 4)
    if not options.keep:
        shutil.rmtree(path)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES))
    parser.add_argument("--data", type=Path, default=DATA / "dense")
    parser.add_argument("--out", type=Path, default=RESULTS / "dense_scale.json")
    parser.add_argument("--keep", action="store_true", help="keep the indexes")
    options = parser.parse_args()
    sizes = {str(size): measure(size, options) for size in options.sizes}
    largest = sizes[str(max(options.sizes))]
    result = {
        "benchmark": "dense_scale",
        "dimension": DIMENSION,
        "sizes": sizes,
        "projection": {
            "articles": PUBMED,
            "vectors_gb": round(largest["vector_bytes_per_article"] * PUBMED / 1e9, 1),
            "commit_hours": round(PUBMED / largest["articles_per_s"] / 3600, 1),
        },
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
