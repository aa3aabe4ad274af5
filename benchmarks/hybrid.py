"""Quality of BM25, dense and hybrid retrieval, each with and without the reranker, on the suites' collections.

    python -m benchmarks.hybrid                                  # all collections: hours, as every passage is encoded once
    python -m benchmarks.hybrid --collections bioasq-dev demo --limit 100
    python -m benchmarks.hybrid --collections bioasq-dev --limit 100 --pool 200

Encoding resumes after an interruption. With ``--pool N`` only the passages among BM25's first N for some question and the relevant
ones are encoded: quick, but dense retrieval then has fewer wrong passages to choose from. The reranker scores the first 100
candidates of each retriever once; its logits are combined with the first-stage score at several weights, so the tables show which
weight of fused scores to store in a model's bioqa.json ("first_stage_weights"). Choose weights on dev only. Latencies are of first
stages, one question after another. The result goes to ``benchmarks/results/hybrid.json``.
"""

import argparse
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from benchmarks.machine import DATA, RESULTS, environment, shared_data, write_result
from benchmarks.scale import percentiles
from bioqa.bench.collection import TestCollection, read_collection
from bioqa.bench.run_collection import BenchOptions, collection_index
from bioqa.bench.suite import read_suite
from bioqa.evaluate.measures import measure_runs
from bioqa.evaluate.ranking import means
from bioqa.index.manifest import VectorInfo
from bioqa.types import Article, Question

SUITES = Path(__file__).parent / "suites"
COLLECTIONS = {
    "bioasq-dev": ("bioasq-snippets", "bioasq/dev.json.gz"),
    "bioasq-test": ("bioasq-snippets", "bioasq/test.json.gz"),
    "scifact": ("scifact", None),
    "pubmedqa": ("pubmedqa", None),
    "demo": ("demo", None),
}
"""Name → (suite, questions among the shared data that replace the suite's)."""
MEASURES = ("ndcg@10", "bioasq-map@10", "recall@100", "recall@1000")
FUSION_WEIGHTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
FIRST_STAGE_WEIGHTS = {
    "bm25": (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0),
    "dense": (0.0, 2.0, 5.0, 10.0, 20.0, 40.0),
    "minmax": (0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0),
    "rrf": (0.0, 20.0, 50.0, 100.0, 200.0, 400.0),
}
DEPTH, RERANK_DEPTH = 1000, 100

Run = dict[str, dict[str, float]]


class _Pool:
    """Encodes the articles of a pool only."""

    def __init__(self, encoder: Any, ids: set[str]) -> None:
        self._encoder = encoder
        self._ids = ids

    @property
    def info(self) -> VectorInfo:
        return self._encoder.info  # type: ignore[no-any-return]

    def encode_articles(self, articles: Sequence[Article]) -> NDArray[np.float32]:
        vectors = np.full((len(articles), self.info.dimension), np.nan, np.float32)
        chosen = [at for at, article in enumerate(articles) if article.id in self._ids]
        if chosen:
            vectors[chosen] = self._encoder.encode_articles([articles[at] for at in chosen])
        return vectors


def embedded_index(name: str, collection: TestCollection, options: argparse.Namespace, encoder: Any) -> Path:
    """An index of the collection with vectors, in a folder of its own for each encoder and pool."""
    from bioqa import BM25Retriever, Index, embed_index

    plain = collection_index(collection, BenchOptions(options.data / "indexes"))
    pool = f"-pool{options.pool}-{options.limit}" if options.pool else ""
    path = options.data / f"{name}-{encoder.digest[:12]}{pool}"
    if not path.exists():
        shutil.copytree(plain, path)
    ids: set[str] = set().union(*collection.relevant.values())
    if options.pool:
        with Index(path) as index:
            bodies = [question.body for question in collection.questions]
            for found in BM25Retriever(index).search_many(bodies, options.pool):
                ids.update(found.ids)
    maker = _Pool(encoder, ids) if options.pool else encoder
    with Index(path) as index:
        if options.pool and index.info().with_vector:
            return path  # the rest has no vectors on purpose
    with tqdm(unit=" articles", file=sys.stderr, desc=name) as bar:

        def progress(state: Any) -> None:
            bar.total = state.total
            bar.update(state.done - bar.n)

        embed_index(path, maker, progress=progress)
    return path


def quality(collection: TestCollection, run: Run, measures: Sequence[str] = MEASURES) -> dict[str, float]:
    """Means over the questions, to four decimals."""
    return {name: round(value, 4) for name, value in means(measure_runs(collection.qrels, run, measures)).items()}


def first_stage(retriever: Any, questions: Sequence[Question], depth: int) -> tuple[Run, dict[str, float]]:
    """The run and the latencies of a first stage at the rerank depth."""
    found = retriever.search_many([question.body for question in questions], depth)
    run = {
        question.id: dict(zip(one.ids, map(float, one.scores), strict=True))
        for question, one in zip(questions, found, strict=True)
    }
    seconds = []
    for question in questions[:200]:
        started = time.perf_counter()
        retriever.search(question.body, RERANK_DEPTH)
        seconds.append(time.perf_counter() - started)
    return run, percentiles(seconds)


def reranked(retriever: Any, reranker: Any, collection: TestCollection, name: str) -> dict[str, dict[str, float]]:
    """First-stage weight → quality of the first ``RERANK_DEPTH`` candidates, reranked."""
    from bioqa import Pipeline, PipelineOptions
    from bioqa.pipeline.combine import reweight

    pipeline = Pipeline(
        retriever, reranker, PipelineOptions(top=RERANK_DEPTH, rerank_depth=RERANK_DEPTH, first_stage_weight=0.0)
    )
    ranked = {
        question.id: pipeline.rank(question).candidates
        for question in tqdm(collection.questions, desc=name, file=sys.stderr)
    }
    return {
        f"{weight:g}": quality(
            collection,
            {id: {one.id: one.score for one in reweight(found, weight)} for id, found in ranked.items()},
            MEASURES[:3],
        )
        for weight in FIRST_STAGE_WEIGHTS[retriever.scale]
    }


def measure(name: str, options: argparse.Namespace, encoder: Any, reranker: Any) -> dict[str, Any]:
    """All figures of one collection."""
    from bioqa import BM25Retriever, DenseRetriever, HybridRetriever, Index

    suite, questions = COLLECTIONS[name]
    change = [f"collection.questions={shared_data() / questions}"] if questions else []
    (spec,) = read_suite(SUITES / f"{suite}.toml", change).collections
    collection = read_collection(spec)
    collection = collection.first(options.limit) if options.limit else collection
    path = embedded_index(name, collection, options, encoder)
    figures: dict[str, Any] = {"questions": len(collection.questions), "pool": options.pool}
    with Index(path) as index:
        info = index.info()
        figures |= {"passages": info.documents, "with_vector": info.with_vector}
        words, dense = BM25Retriever(index), DenseRetriever(index, encoder)
        makers: Mapping[str, Callable[[], Any]] = {
            "bm25": lambda: words,
            "dense": lambda: dense,
            "hybrid minmax": lambda: HybridRetriever(words, dense),
            "hybrid rrf": lambda: HybridRetriever(words, dense, "rrf"),
        }
        for system, make in makers.items():
            retriever = make()
            run, latency = first_stage(retriever, collection.questions, DEPTH)
            figures[system] = {"first stage": quality(collection, run), "latency": latency}
            if reranker is not None:
                figures[system]["reranked, by weight"] = reranked(retriever, reranker, collection, f"{name} {system}")
        figures["hybrid minmax, by fusion weight"] = {
            f"{weight:g}": quality(
                collection,
                first_stage(HybridRetriever(words, dense, weight=weight), collection.questions, DEPTH)[0],
            )
            for weight in FUSION_WEIGHTS
        }
    seconds = []
    for question in collection.questions[:200]:
        started = time.perf_counter()
        encoder.encode_query(question.body)
        seconds.append(time.perf_counter() - started)
    figures["question_encoding_ms"] = round(statistics.median(seconds) * 1000, 2)
    return figures


def main() -> None:
    from bioqa import Encoder, Reranker

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collections", nargs="+", choices=COLLECTIONS, default=list(COLLECTIONS))
    parser.add_argument("--model", default="default")
    parser.add_argument("--reranker", default="default", help='"none" for first stages only')
    parser.add_argument("--limit", type=int, help="the first N questions of each collection")
    parser.add_argument(
        "--pool", type=int, help="encode only BM25's first N for each question, and the relevant passages"
    )
    parser.add_argument("--data", type=Path, default=DATA / "hybrid")
    parser.add_argument("--out", type=Path, default=RESULTS / "hybrid.json")
    options = parser.parse_args()
    encoder = Encoder(options.model)
    reranker = None if options.reranker == "none" else Reranker(options.reranker)
    result = {
        "benchmark": "hybrid",
        "encoder": encoder.label,
        "reranker": reranker and reranker.label,
        "collections": {name: measure(name, options, encoder, reranker) for name in options.collections},
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
