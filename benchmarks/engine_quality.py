"""What rounding to 8 bits costs: the default reranker on the engines exact and cpu-int8, on the bioasq-snippets test split.

    python benchmarks/engine_quality.py

Runs ``suites/engines.toml`` (going on where a killed run was) and compares its two runs: nDCG@10 and BioASQ's MAP@10 of both, the
share of the first ten results that they have in common, and how far scores are apart. The result goes to
``benchmarks/results/engine_quality.json``.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path

from bioqa.cli import main as bioqa
from bioqa.evaluate.runs import read_run
from machine import DATA, RESULTS, environment, write_result

SUITE = Path(__file__).parent / "suites" / "engines.toml"
TOP = 10


def overlap(exact: Sequence[str], rounded: Sequence[str]) -> float:
    """Share of the first results of the one that are among those of the other, 0 to 1."""
    return len(set(exact[:TOP]) & set(rounded[:TOP])) / max(1, len(exact[:TOP]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=DATA / "engines")
    parser.add_argument(
        "--cache", type=Path, default=DATA / "suites", help="of indexes and scores, to share with other suites"
    )
    parser.add_argument("--questions", type=int)
    options = parser.parse_args()
    command = ["bench", "run", str(SUITE), "--out", str(options.folder), "--cache", str(options.cache)]
    code = bioqa(command + (["--questions", str(options.questions)] if options.questions else []))
    if code:
        raise SystemExit(code)
    report = json.loads((options.folder / "report.json").read_text(encoding="utf-8"))
    (collection,) = report["collections"]
    measures = {system["name"]: system["measures"] for system in collection["systems"]}
    engines = {
        system["rerank"]["setting"]["engine"]: system["name"] for system in collection["systems"] if system["rerank"]
    }
    if set(engines) != {"exact", "cpu-int8"}:
        raise SystemExit(
            f"The suite ran on {', '.join(engines)}: run it where there is no GPU, with onnxruntime installed."
        )
    names = {engine: engines[engine] for engine in ("exact", "cpu-int8")}
    files = {system["name"]: options.folder / system["run"] for system in collection["systems"]}
    runs = {engine: read_run(files[name]) for engine, name in names.items()}
    ranked = {
        engine: {question: sorted(found, key=lambda id, found=found: -found[id]) for question, found in run.items()}
        for engine, run in runs.items()
    }
    apart = [
        abs(score - runs["cpu-int8"][question][id])
        for question, found in runs["exact"].items()
        for id, score in found.items()
    ]
    result = {
        "what": "the default reranker on two engines, bioasq-snippets test split, first 100 candidates",
        "questions": len(runs["exact"]),
        "measures": {engine: measures[name] for engine, name in names.items()},
        "overlap_of_first_10": round(
            statistics.mean(overlap(ranked["exact"][q], ranked["cpu-int8"][q]) for q in ranked["exact"]), 4
        ),
        "logits_apart": {"mean": round(statistics.mean(apart), 4), "max": round(max(apart), 4)},
        "environment": environment(),
    }
    write_result(RESULTS / "engine_quality.json", result)


if __name__ == "__main__":
    main()
