"""What goes beside the default reranker's weights, chosen on the BioASQ dev split: threshold, calibration, weight of BM25.

    python benchmarks/default_decision.py

Runs the suite ``bioasq-snippets`` on the dev questions (going on where a killed run was). The weight of BM25 is the one of a grid
with the highest nDCG@10; threshold (highest F1) and Platt scaling are fitted to gold snippets against BM25's hard negatives. Writes
``bioqa/rerank/default/bioqa.json``.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import logit

from bioqa.evaluate.classification import best_threshold, calibration_error, classify
from bioqa.evaluate.collection import read_collection
from bioqa.evaluate.ranking import evaluate, means
from bioqa.evaluate.suite import read_suite
from bioqa.evaluate.systems import RerankRun, Work, run_collection
from bioqa.rerank.activations import probabilities
from bioqa.rerank.locate import DEFAULT_FOLDER
from bioqa.train.calibration import fit
from machine import DATA, environment

SUITE = Path(__file__).parent / "suites" / "bioasq-snippets.toml"
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3)
MEASURE = "ndcg@10"


def weights(run: RerankRun, qrels: dict[str, dict[str, int]]) -> dict[float, float]:
    """nDCG@10 with each weight of BM25."""
    found = {}
    for weight in GRID:
        scores = {
            id: {passage: value + weight * bm25 for passage, bm25, value in one.passages}
            for id, one in run.reranked.items()
        }
        found[weight] = round(means(evaluate(qrels, scores, [MEASURE]))[MEASURE], 4)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DATA / "suites")
    parser.add_argument("--out", type=Path, default=DEFAULT_FOLDER / "bioqa.json")
    options = parser.parse_args()
    questions = "${BIOQA_SHARED_DATA}/bioasq/dev.json.gz"
    suite = read_suite(SUITE, [f"collection.questions={questions}", "collection.name=bioasq-snippets-dev"])
    collection = read_collection(suite.collections[0])
    runs = run_collection(suite, collection, Work(options.cache, note=print))
    run = next(iter(runs.reranked.values()))
    tried = weights(run, collection.qrels)
    best = max(tried, key=lambda weight: tried[weight])

    pairs = run.pairs(runs.relevant)
    logits = logit(np.clip(pairs.scores.astype(np.float64), 1e-7, 1 - 1e-7))
    calibration = fit(logits, pairs.labels, "platt")
    threshold = best_threshold(pairs.labels, pairs.scores)[1]
    likely = probabilities(logits.astype(np.float32), calibration.a, calibration.b)
    measures = classify(pairs.labels, pairs.scores, threshold, probabilities=likely)
    decision: dict[str, Any] = {
        "threshold": threshold,
        "threshold_chosen_by": "highest F1 on dev: gold snippets against BM25's hard negatives",
        "calibration": {"method": "platt", "a": calibration.a, "b": calibration.b},
        "ece_before": calibration_error(pairs.labels, probabilities(logits.astype(np.float32))),
        "ece_after": measures.calibration_error,
        "bm25_weight": best,
        "bm25_weights_tried": {f"{weight:g}": value for weight, value in tried.items()},
        "dev": {
            "n": measures.n,
            "positives": measures.positives,
            "average_precision": measures.average_precision,
            "f1": measures.f1,
            "mcc": measures.mcc,
        },
        "engine": run.setting["engine"],
        "date": environment()["date"],
    }
    text = json.dumps(decision, indent=1) + "\n"
    options.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
