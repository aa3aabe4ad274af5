"""What the default reranker's training pairs share with the texts that it is judged by, and how it does where they share nothing.

    python -m benchmarks.default_overlap

`bioqa pairs check` (in `make default-reranker`) finds no held-out question, no near-duplicate of one and no held-out passage in
the training pairs. A snippet can still hold another, though, and train and test claims of SciFact have articles in common. Here a
question counts as touched where one of its relevant passages holds a passage of the training pairs, of either label, or stands in
one (from 40 characters on). nDCG@10 is told apart for the questions that are touched and those that are not: BM25 and, with BM25,
the reranker on its first 100, from the suites' scores, which are taken from build/ where they are kept. The pairs are those that
`make default-reranker` leaves in build/pairs.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.default_decision import MEASURE
from benchmarks.machine import DATA, RESULTS, environment, write_result
from bioqa import Index
from bioqa.bench.collection import read_collection
from bioqa.bench.run_cache import CollectionRuns, Work, run_collection
from bioqa.bench.suite import read_suite
from bioqa.evaluate.ranking import evaluate
from bioqa.evaluate.significance import compare
from bioqa.pairs.read_pairs import read_pairs

SUITES = Path(__file__).parent / "suites"
PAIRS = Path("build/pairs")
FILES = ("titles", "more-titles", "snippets", "claims", "evidence")
SETS = ("bioasq-snippets", "scifact", "pubmedqa")
SHORTEST, WORDS = 40, 4
"""What is compared has so many characters, and is found by its first words."""


def plain(text: str) -> str:
    """A text in lower case, with single spaces."""
    return " ".join(text.lower().split())


def trained() -> set[str]:
    """The passages of all training pairs."""
    texts = (
        plain(text)
        for name in FILES
        for text in read_pairs(PAIRS / f"{name}-train.parquet").column("passage").to_pylist()
    )
    return {text for text in texts if len(text) >= SHORTEST}


def held(parts: Iterable[str], holders: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each part with each text that holds it from a word on."""
    starting = defaultdict(list)
    for part in parts:
        starting[tuple(part.split()[:WORDS])].append(part)
    for holder in holders:
        words = holder.split()
        for place in range(len(words) - WORDS + 1):
            for part in starting.get(tuple(words[place : place + WORDS]), ()):
                if part in holder:
                    yield part, holder


def touching(relevant: dict[str, str], passages: set[str]) -> set[str]:
    """The ids of relevant passages that hold a training passage or stand in one."""
    long = {text for text in relevant.values() if len(text) >= SHORTEST}
    touched = {holder for _, holder in held(passages, relevant.values())} | {part for part, _ in held(long, passages)}
    return {id for id, text in relevant.items() if text in touched}


def texts(runs: CollectionRuns, ids: Iterable[str]) -> dict[str, str]:
    """The texts of passages."""
    with Index(runs.index) as index:
        found = {id: index.get(id) for id in ids}
    return {id: plain(article.default_text()) for id, article in found.items() if article}


def judged(runs: CollectionRuns, asked: set[str]) -> dict[str, Any]:
    """nDCG@10 over some of the questions."""
    if not asked:
        return {"questions": 0}
    qrels = {id: of for id, of in runs.collection.qrels.items() if id in asked}
    systems = next(iter(runs.first.values())), runs.reranked["bm25", "default-interpolated"]
    bm25, both = (
        evaluate(qrels, {id: scores for id, scores in system.run().items() if id in asked}, [MEASURE])[MEASURE]
        for system in systems
    )
    return {
        "questions": len(qrels),
        "BM25": round(mean(bm25.values()), 4),
        "with BM25": round(mean(both.values()), 4),
        "p": compare(bm25, both),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DATA / "suites")
    options = parser.parse_args()
    passages = trained()
    found: dict[str, Any] = {}
    for name in SETS:
        suite = read_suite(SUITES / f"{name}.toml")
        runs = run_collection(suite, read_collection(suite.collections[0]), Work(options.cache, note=print))
        touched = touching(texts(runs, set().union(*runs.relevant.values())), passages)
        asked = {id for id, relevant in runs.relevant.items() if relevant & touched}
        found[name] = {
            "relevant_passages_touched": len(touched),
            "touched": judged(runs, asked),
            "not touched": judged(runs, runs.relevant.keys() - asked),
        }
    result = {"what": "default reranker with BM25, by whether training pairs touch a question's relevant passages"}
    write_result(RESULTS / "default_overlap.json", result | {"collections": found, "environment": environment()})


if __name__ == "__main__":
    main()
