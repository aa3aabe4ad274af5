"""Measure a reranker on the bioasq-snippets collection: BM25's top candidates, and the same ones reranked.

    python benchmarks/bioasq_snippets.py --split test --depth 100

Passages are all distinct snippet texts of the BioASQ train, dev and test files; queries are the questions of one split; relevant
are a question's own snippets. Only retrieved candidates are reranked: what BM25 missed stays missed. The result goes to
``benchmarks/results/bioasq_snippets-<split>.json``.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from ranx import Qrels, Run, compare
from tqdm import tqdm

from bioqa import Index, Question, Reranker, SearchEngine, build_index
from machine import RESULTS, environment, write_result
from train_default_reranker import load_questions

SPLITS = ("train", "dev", "test")
MEASURES = ("ndcg@10", "mrr@10", "recall@100")


def build_collection(folder: Path) -> tuple[Path, dict[str, str]]:
    """An index of all distinct snippets, and the id of each text."""
    texts = dict.fromkeys(text for split in SPLITS for _, snippets in load_questions(split) for text in snippets)
    ids = {text: f"s{number}" for number, text in enumerate(texts)}
    passages = folder / "passages.jsonl"
    with passages.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": id, "text": text}) + "\n" for text, id in ids.items())
    build_index(folder / "index", [passages])
    return folder / "index", ids


def run(
    engine: SearchEngine, questions: list[Question], depth: int, label: str
) -> tuple[dict[str, dict[str, float]], float]:
    """Scores of each question's results, and the seconds it took."""
    started = time.monotonic()
    bar = tqdm(engine.run(questions, depth), total=len(questions), desc=label)
    results = {question.id: dict(found) for question, found in bar}
    return results, time.monotonic() - started


def bioasq_map(qrels: dict[str, dict[str, int]], results: dict[str, dict[str, float]]) -> float:
    """Mean over questions of BioASQ's average precision: sum of P(r) at relevant ranks r up to 10, over min(relevant, 10)."""
    precisions = []
    for question, relevant in qrels.items():
        found, total = 0, 0.0
        for rank, passage in enumerate(list(results[question])[:10], start=1):
            if passage in relevant:
                found += 1
                total += found / rank
        precisions.append(total / min(len(relevant), 10))
    return sum(precisions) / len(precisions)


def figures(run: Run, qrels: dict[str, dict[str, int]], results: dict[str, dict[str, float]]) -> dict[str, float]:
    """The measures of one run."""
    scores = {measure: float(run.mean_scores[measure]) for measure in MEASURES}
    scores["map@10"] = bioasq_map(qrels, results)
    return {measure: round(score, 4) for measure, score in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--depth", type=int, default=100)
    parser.add_argument("--questions", type=int, default=None, help="only the first so many")
    parser.add_argument("--reranker", default="default")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    asked = load_questions(options.split)[: options.questions]
    with tempfile.TemporaryDirectory() as folder:
        path, ids = build_collection(Path(folder))
        questions = [Question(f"q{number}", body) for number, (body, _) in enumerate(asked)]
        qrels = {
            f"q{number}": {ids[text]: 1 for text in snippets} for number, (_, snippets) in enumerate(asked) if snippets
        }
        questions = [question for question in questions if question.id in qrels]
        with Index(path) as index:
            reranker = Reranker(options.reranker)
            first, first_seconds = run(SearchEngine(index), questions, options.depth, "BM25")
            engine = SearchEngine(index, reranker, depth=options.depth)
            second, second_seconds = run(engine, questions, options.depth, "reranked")

    runs = [Run(first, name="bm25"), Run(second, name="reranked")]
    report = compare(Qrels(qrels), runs, list(MEASURES), stat_test="student", max_p=0.001)
    result = {
        "collection": "bioasq-snippets",
        "split": options.split,
        "questions": len(questions),
        "passages": len(ids),
        "rerank_depth": options.depth,
        "reranker": reranker.name,
        "bm25": figures(runs[0], qrels, first),
        "reranked": figures(runs[1], qrels, second),
        "p_value_student": {m: float(report.comparisons["bm25", "reranked"][m]["p_value"]) for m in MEASURES[:2]},
        "seconds": {"bm25": round(first_seconds, 1), "reranked": round(second_seconds, 1)},
        "environment": environment(),
    }
    write_result(options.out or RESULTS / f"bioasq_snippets-{options.split}.json", result)


if __name__ == "__main__":
    main()
