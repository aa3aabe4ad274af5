"""The cost of quantization to 8 bits: a reranker with the engines exact and cpu-int8, on the bioasq-snippets test split.

    python -m benchmarks.engine_quality
    python -m benchmarks.engine_quality --model bert-base --limit 60

The model is the default reranker, or one of BERT-base's size that ``grown_bert_base.py`` creates. Runs ``suites/engines.toml``
(interrupted runs resume) and compares its runs, with the first-stage score added (at the default reranker's weight) and with the
reranker alone: nDCG@10 and BioASQ's MAP@10 with both engines, the overlap of their first ten results, and the differences between
scores. The result goes to ``benchmarks/results/engine_quality.json``, beside that of the other model.
"""

import argparse
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.grown_bert_base import tuned
from benchmarks.machine import DATA, RESULTS, environment, write_result
from bioqa.cli.main import main as bioqa
from bioqa.io.trec import read_run
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER
from bioqa.rerank.model_folder.settings import read_settings

SUITE = Path(__file__).parent / "suites" / "engines.toml"
TOP = 10
ENGINES = ("exact", "cpu-int8")
RANKINGS = {"with BM25": "", "reranker alone": "-alone"}
"""Ranking → suffix of the names of its systems in the suite."""

Run = Mapping[str, Mapping[str, float]]


def overlap(exact: Mapping[str, float], rounded: Mapping[str, float]) -> float:
    """The share of the first ``TOP`` results that both rankings have in common, 0 to 1."""
    first = [set(sorted(found, key=lambda id, found=found: -found[id])[:TOP]) for found in (exact, rounded)]
    return len(first[0] & first[1]) / max(1, len(first[0]))


def compare_engines(runs: dict[str, Run], measures: dict[str, Any], suffix: str) -> dict[str, Any]:
    """Compare the two engines on one of ``RANKINGS``."""
    exact, rounded = (runs[engine + suffix] for engine in ENGINES)
    differences = [
        abs(score - rounded[question][id]) for question, found in exact.items() for id, score in found.items()
    ]
    return {
        "measures": {engine: measures[engine + suffix] for engine in ENGINES},
        "overlap_of_first_10": round(statistics.mean(overlap(exact[q], rounded[q]) for q in exact), 4),
        "scores_apart": {"mean": round(statistics.mean(differences), 4), "max": round(max(differences), 4)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("default", "bert-base"), default="default")
    parser.add_argument(
        "--cache", type=Path, default=DATA / "suites", help="Folder of indexes and scores, to share with other suites."
    )
    parser.add_argument("--limit", type=int, help="Only the first N questions.")
    options = parser.parse_args()
    folder = DATA / "engines" / options.model
    command = ["bench", "run", str(SUITE), "--out", str(folder), "--cache", str(options.cache)]
    if options.model != "default":
        command += ["--set", f"reranker.model={tuned()}"]
        for engine in ENGINES:
            command += [
                "--set",
                f"reranker.{engine}.first-stage-weight={read_settings(DEFAULT_FOLDER).first_stage_weight}",
            ]
    code = bioqa(command + (["--limit", str(options.limit)] if options.limit else []))
    if code:
        raise SystemExit(code)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    (collection,) = report["collections"]
    systems = {one["name"].removeprefix("bm25 + "): one for one in collection["systems"] if one["rerank"]}
    measures = {name: one["measures"] for name, one in systems.items()}
    runs = {name: read_run(folder / one["run"]) for name, one in systems.items()}
    found = {
        "questions": len(runs["exact"]),
        "rankings": {name: compare_engines(runs, measures, suffix) for name, suffix in RANKINGS.items()},
        "environment": environment(),
    }
    out = RESULTS / "engine_quality.json"
    models = json.loads(out.read_text(encoding="utf-8"))["models"] if out.exists() else {}
    what = "rerankers on two engines, bioasq-snippets test split, first 100 candidates"
    write_result(out, {"what": what, "models": models | {options.model: found}})


if __name__ == "__main__":
    main()
