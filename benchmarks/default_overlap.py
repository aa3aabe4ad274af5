"""Effect of text shared by the default reranker's training pairs and the passages that it is evaluated on.

    python -m benchmarks.default_overlap

`bioqa pairs check` (in `make default-reranker`) finds no held-out question, no near-duplicate of one and no held-out passage in
the training pairs. A snippet can still contain another snippet, though, and SciFact's train and test claims share articles.
Here a question is "touched" if one of its relevant passages contains a passage of the training pairs (of either label) or is
contained in one, for texts of 40 characters and more, compared in normal form. nDCG@10 is reported separately for touched and
untouched questions: of BM25, and of the reranker combined with BM25 on BM25's first 100. Scores come from the suites' cache in
build/ if they are there. The pairs are those that `make default-reranker` leaves in build/pairs.
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
from bioqa.bench.run_collection import BenchOptions, CollectionRuns, run_collection
from bioqa.bench.suite import read_suite
from bioqa.evaluate.ranking import evaluate_run
from bioqa.evaluate.significance import paired_test
from bioqa.pairs.duplicates import normalize
from bioqa.pairs.read_pairs import read_pairs

SUITES = Path(__file__).parent / "suites"
PAIRS = Path("build/pairs")
FILES = ("titles", "more-titles", "snippets", "claims", "evidence")
SETS = ("bioasq-snippets", "scifact", "pubmedqa")
MIN_LENGTH, WORDS = 40, 4
"""Minimum length of a compared text in characters; number of first words by which texts are looked up."""


def training_passages() -> set[str]:
    """The passages of all training pairs, in normal form."""
    texts = (
        normalize(text)
        for name in FILES
        for text in read_pairs(PAIRS / f"{name}-train.parquet").column("passage").to_pylist()
    )
    return {text for text in texts if len(text) >= MIN_LENGTH}


def contained(parts: Iterable[str], texts: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each (part, text) where the text contains the part, starting at a word."""
    by_first_words = defaultdict(list)
    for part in parts:
        by_first_words[tuple(part.split()[:WORDS])].append(part)
    for text in texts:
        words = text.split()
        for start in range(len(words) - WORDS + 1):
            for part in by_first_words.get(tuple(words[start : start + WORDS]), ()):
                if part in text:
                    yield part, text


def touched_passages(relevant: dict[str, str], passages: set[str]) -> set[str]:
    """The ids of relevant passages that contain a training passage or are contained in one."""
    long = {text for text in relevant.values() if len(text) >= MIN_LENGTH}
    touched = {text for _, text in contained(passages, relevant.values())}
    touched |= {part for part, _ in contained(long, passages)}
    return {id for id, text in relevant.items() if text in touched}


def passage_texts(runs: CollectionRuns, ids: Iterable[str]) -> dict[str, str]:
    """The texts of passages, in normal form, by id."""
    with Index(runs.index) as index:
        found = {id: index.get(id) for id in ids}
    return {id: normalize(article.default_text()) for id, article in found.items() if article}


def evaluate_questions(runs: CollectionRuns, questions: set[str]) -> dict[str, Any]:
    """nDCG@10 on these questions."""
    if not questions:
        return {"questions": 0}
    qrels = {id: judgements for id, judgements in runs.collection.qrels.items() if id in questions}
    systems = next(iter(runs.first.values())), runs.reranked["bm25", "default-interpolated"]
    bm25, both = (
        evaluate_run(qrels, {id: scores for id, scores in system.run().items() if id in questions}, [MEASURE])[MEASURE]
        for system in systems
    )
    return {
        "questions": len(qrels),
        "BM25": round(mean(bm25.values()), 4),
        "with BM25": round(mean(both.values()), 4),
        "p": paired_test(bm25, both),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cache", type=Path, default=DATA / "suites")
    options = parser.parse_args()
    passages = training_passages()
    found: dict[str, Any] = {}
    for name in SETS:
        suite = read_suite(SUITES / f"{name}.toml")
        runs = run_collection(suite, read_collection(suite.collections[0]), BenchOptions(options.cache, note=print))
        touched = touched_passages(passage_texts(runs, set().union(*runs.relevant.values())), passages)
        questions = {id for id, relevant in runs.relevant.items() if relevant & touched}
        found[name] = {
            "relevant_passages_touched": len(touched),
            "touched": evaluate_questions(runs, questions),
            "not touched": evaluate_questions(runs, runs.relevant.keys() - questions),
        }
    result = {
        "what": "default reranker with BM25, by whether training pairs share text with a question's relevant passages"
    }
    write_result(RESULTS / "default_overlap.json", result | {"collections": found, "environment": environment()})


if __name__ == "__main__":
    main()
