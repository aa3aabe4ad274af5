"""Choose the default reranker's settings on the BioASQ dev split: threshold, calibration, first-stage weight.

    python -m benchmarks.default_decision

Runs the suite ``bioasq-snippets`` on the dev questions (an interrupted run resumes). The first-stage weight is the one of a grid
with the highest nDCG@10; the threshold (highest F1) and Platt scaling are fitted on gold snippets and BM25's hard negatives. Writes
``bioqa/rerank/default/bioqa.json``, or that of the folder ``--model``.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from scipy.special import logit as log_odds

from benchmarks.machine import DATA, environment
from bioqa.bench.collection import read_collection
from bioqa.bench.run_collection import BenchOptions, RerankRun, run_collection
from bioqa.bench.suite import read_suite
from bioqa.evaluate.classification import best_threshold, calibration_error, classification_measures
from bioqa.evaluate.ranking import evaluate_run
from bioqa.io.trec import Qrels
from bioqa.rerank.activations import probabilities
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
from bioqa.train.calibration import fit

SUITE = Path(__file__).parent / "suites" / "bioasq-snippets.toml"
GRID = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3)
MEASURE = "ndcg@10"


def ndcg(run: RerankRun, qrels: Qrels, weight: float) -> dict[str, float]:
    """nDCG@10 of each question with a first-stage weight."""
    return evaluate_run(qrels, replace(run, first_stage_weight=weight).run(), [MEASURE])[MEASURE]


def weights(run: RerankRun, qrels: Qrels) -> dict[float, float]:
    """Mean nDCG@10 with each first-stage weight."""
    return {weight: round(mean(ndcg(run, qrels, weight).values()), 4) for weight in GRID}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DATA / "suites")
    parser.add_argument(
        "--model",
        type=Path,
        help="model folder to evaluate and to write the settings to, instead of the default reranker",
    )
    options = parser.parse_args()
    model = options.model.expanduser().resolve() if options.model else DEFAULT_FOLDER
    questions = "${BIOQA_SHARED_DATA}/bioasq/dev.json.gz"
    settings = [f"collection.questions={questions}", "collection.name=bioasq-snippets-dev"]
    if options.model:
        settings.append(f"reranker.model={model}")
    suite = read_suite(SUITE, settings)
    collection = read_collection(suite.collections[0])
    runs = run_collection(suite, collection, BenchOptions(options.cache, note=print))
    run = next(iter(runs.reranked.values()))
    tried = weights(run, collection.qrels)
    best = max(tried, key=lambda weight: tried[weight])

    pairs = run.pairs(runs.relevant)
    logits = log_odds(np.clip(pairs.scores.astype(np.float64), 1e-7, 1 - 1e-7))
    calibration = fit(logits, pairs.labels, "platt")
    threshold = best_threshold(pairs.labels, pairs.scores)[1]
    calibrated = probabilities(logits.astype(np.float32), calibration.a, calibration.b)
    measures = classification_measures(pairs.labels, pairs.scores, threshold, probabilities=calibrated)
    chosen: dict[str, Any] = {
        "threshold": threshold,
        "threshold_chosen_by": "highest F1 on dev: gold snippets and BM25's hard negatives",
        "calibration": {"method": "platt", "a": calibration.a, "b": calibration.b},
        "ece_before": calibration_error(pairs.labels, probabilities(logits.astype(np.float32))),
        "ece_after": measures.calibration_error,
        "first_stage_weight": best,
        "first_stage_weights_tried": {f"{weight:g}": value for weight, value in tried.items()},
        "dev": {
            "n": measures.n,
            "positives": measures.positives,
            "average_precision": measures.average_precision,
            "f1": measures.f1,
            "mcc": measures.mcc,
        },
        "engine": run.facts["engine"],
        "date": environment()["date"],
    }
    text = json.dumps(chosen, indent=1) + "\n"
    (model / "bioqa.json").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
