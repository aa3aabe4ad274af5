"""What folding does to retrieval: nDCG@10 and R@100 of BM25 with Anserini's analyzer and with bioqa's, which folds words.

    python -m benchmarks.folding

The same passages are indexed twice in one process, and asked the same questions. Collections: the questions of BioASQ's dev split
against the snippets of all splits; those of its train split, among which more have such letters; and SciFact's test claims. Of
each, questions that have a letter outside ASCII, and those that have or name a Greek letter, are also shown by themselves.
``mean_score_change`` is the mean relative change of the scores of passages that both find, over questions in ASCII: folded forms
add to the mean length of passages and to the frequencies of words. The result goes to ``benchmarks/results/folding.json``.
"""

import argparse
import re
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, environment, shared_data, write_result
from bioqa.bench.collection import TestCollection, read_collection
from bioqa.bench.suite import CollectionSpec
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.evaluate.ranking import evaluate_run, means
from bioqa.index.document import CONTENTS, index_analyzer, query_analyzer, to_row
from bioqa.index.folding import GREEK
from bioqa.index.jvm import cast, java
from bioqa.retrieve.bm25 import unpack_hits
from bioqa.types import Article, Question

DEPTH = 100
BATCH = 512
MEASURES = ("ndcg@10", "recall@100")
NAMES_GREEK = re.compile(rf"\b({'|'.join(GREEK.values())})\b|[{''.join(GREEK)}]", re.IGNORECASE)


def collections(data: Path) -> list[TestCollection]:
    """The test collections."""
    files = tuple(str(data / "bioasq" / f"{split}.json.gz") for split in ("train", "dev", "test"))
    bioasq = [
        CollectionSpec(f"bioasq-snippets-{split}", "bioasq-snippets", passages=files, questions=file)
        for split, file in (("dev", files[1]), ("train", files[0]))
    ]
    scifact = CollectionSpec("scifact-test", "beir", folder=str(data / "scifact"), split="test")
    return [read_collection(spec) for spec in (*bioasq, scifact)]


def passages(collection: TestCollection) -> Iterable[Article]:
    """The passages of a collection."""
    if collection.passages is not None:
        yield from collection.passages()
    for source in expand_sources(collection.sources) if collection.sources else []:
        yield from (record for record in read_source(source) if isinstance(record, Article))


def search(
    articles: Sequence[Article], questions: Sequence[Question], analyzers: tuple[Any, Any]
) -> dict[str, dict[str, float]]:
    """Question id → passage id → score of the best passages, in a new index with the first analyzer, by the second one."""
    with tempfile.TemporaryDirectory() as folder:
        directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(folder))
        writer = java("org.apache.lucene.index.IndexWriter")(
            directory, java("org.apache.lucene.index.IndexWriterConfig")(analyzers[0])
        )
        for start in range(0, len(articles), BATCH):
            rows = [value for article in articles[start : start + BATCH] for value in to_row(article)]
            java("bioqa.DocumentWriter").add(writer, rows, start)
        writer.close()
        reader = java("org.apache.lucene.index.DirectoryReader").open(directory)
        searcher = java("bioqa.Searcher").open(cast("org.apache.lucene.index.IndexReader", reader), None)
        searcher.setSimilarity(java("org.apache.lucene.search.similarities.BM25Similarity")(0.9, 0.4))
        bag = java("io.anserini.search.query.BagOfWordsQueryGenerator")()
        found = {}
        for question in questions:
            hits = unpack_hits(
                java("bioqa.Searcher").search(searcher, bag.buildQuery(CONTENTS, analyzers[1], question.body), DEPTH)
            )
            found[question.id] = dict(zip(hits.ids, hits.scores, strict=True))
        reader.close()
        directory.close()
    return found


def compare(
    collection: TestCollection, questions: Sequence[Question], runs: dict[str, dict[str, dict[str, float]]]
) -> dict[str, Any]:
    """The measures of both runs over some of the questions."""
    qrels = {one.id: collection.qrels[one.id] for one in questions}
    figures = {}
    for name, run in runs.items():
        values = means(evaluate_run(qrels, {one.id: run[one.id] for one in questions}, MEASURES))
        figures[name] = {measure: round(value, 4) for measure, value in values.items()}
    before, after = runs.values()
    changed = sum(list(before[one.id])[:10] != list(after[one.id])[:10] for one in questions)
    plain = [one.id for one in questions if one.body.isascii()]
    changes = [
        abs(after[id][passage] / score - 1)
        for id in plain
        for passage, score in before[id].items()
        if passage in after[id]
    ]
    return {
        "questions": len(questions),
        **figures,
        "questions_with_another_top_10": changed,
        "mean_score_change": round(statistics.mean(changes), 6) if changes else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "folding.json")
    options = parser.parse_args()
    figures = {}
    for collection in collections(shared_data()):
        anserini = java("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")
        analyzers = {"anserini": (anserini, anserini), "folded": (index_analyzer(), query_analyzer())}
        articles = list(passages(collection))
        runs = {name: search(articles, collection.questions, pair) for name, pair in analyzers.items()}
        groups = {
            collection.name: collection.questions,
            f"{collection.name}, letters outside ASCII": [
                one for one in collection.questions if not one.body.isascii()
            ],
            f"{collection.name}, Greek letters": [one for one in collection.questions if NAMES_GREEK.search(one.body)],
        }
        for name, questions in groups.items():
            if questions:
                figures[name] = compare(collection, questions, runs)
    write_result(options.out, {"environment": environment(), "bm25": {"k1": 0.9, "b": 0.4}, "collections": figures})


if __name__ == "__main__":
    main()
