"""Ids with white space make the round trip through every command, with the same results as clean ids."""

import json

import pytest

from bioqa.io.trec import read_run
from tests.support import write_jsonl
from tests.tiny_models import one_thread, tiny_reranker  # noqa: F401

WORDS = ("gene", "protein", "cancer", "cell", "malaria", "aspirin")
CLEAN = tuple(f"{n:02}" for n in range(12))
ODD = ("00 Heart failure", "01_Lung", "02 Lung", "03\u00a0é", "04%20x", "05 50%", *(f"{n:02} x" for n in range(6, 12)))


def write_files(folder, ids, question_ids):
    """A corpus, questions and judgements in BEIR's format; article n has word n % 6 n + 1 times."""
    folder.mkdir()
    texts = (" ".join([WORDS[n % 6]] * (n + 1) + [WORDS[(n + 1) % 6]]) for n in range(12))
    write_jsonl(folder / "corpus.jsonl", [{"id": id, "text": text} for id, text in zip(ids, texts, strict=True)])
    (folder / "questions.tsv").write_text(
        "".join(f"{id}\tWhich {word}?\n" for id, word in zip(question_ids, WORDS, strict=True))
    )
    judged = "".join(f"{id}\t{ids[n]}\t1\n" for n, id in enumerate(question_ids))
    (folder / "qrels.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    (folder / "suite.toml").write_text(
        """name = "ids"
description = "d"
measures = ["ndcg@10"]
baseline = "bm25"
[[collection]]
name = "c"
kind = "articles"
corpus = ["corpus.jsonl"]
questions = "questions.tsv"
qrels = "qrels.tsv"
[[first-stage]]
name = "bm25"
depth = 5
"""
    )


@pytest.fixture
def results(bioqa, tmp_path, tiny_reranker):  # noqa: F811
    """The results of all commands on files with the given ids of articles and questions."""

    def call(*arguments):
        done = bioqa(*arguments)
        assert done.code == 0, done.err
        return done.out

    def compute(name, ids, question_ids):
        folder = tmp_path / name
        write_files(folder, ids, question_ids)
        asked = ["--questions", folder / "questions.tsv"]
        qrels = folder / "qrels.tsv"
        call("index", "build", folder / "index", folder / "corpus.jsonl")
        call("search", folder / "index", *asked, "--no-rerank", "--run", folder / "bm25.run")
        model = ["--reranker", tiny_reranker, "--device", "cpu"]
        rerank = ["rerank", "--run", folder / "bm25.run", *asked, *model]
        call(*rerank, "--index", folder / "index", "--out", folder / "index.run")
        call(*rerank, "--corpus", folder / "corpus.jsonl", "--out", folder / "corpus.run")
        tuned = call(
            "index", "tune", folder / "index", *asked, "--qrels", qrels, "--k1", "0.9", "--b", "0.4,0.9", "--json"
        )
        call("bench", "run", folder / "suite.toml", "--out", folder / "bench")
        report = json.loads((folder / "bench" / "report.json").read_text(encoding="utf-8"))
        (system,) = report["collections"][0]["systems"]
        written = folder / "bench" / "runs" / "c" / "bm25.run"
        runs = [folder / "bm25.run", folder / "index.run", folder / "corpus.run", written]
        article, question = dict(zip(ids, CLEAN, strict=True)), dict(zip(question_ids, CLEAN, strict=False))
        return {
            "runs": [
                {question[q]: {article[d]: s for d, s in of.items()} for q, of in read_run(run).items()} for run in runs
            ],
            "eval": [json.loads(call("eval", qrels, run, "--json"))["runs"][0]["means"] for run in runs],
            "tune": json.loads(tuned),
            "bench": system["measures"],
        }

    return compute


def test_ids_with_white_space_make_the_round_trip(results):
    clean = results("clean", CLEAN, CLEAN[:6])
    odd = results("odd", ODD, ("q 1", "q_1", "q%201", "#4", "q  5", "50% 6"))
    assert clean["eval"][0]["nDCG@10"] > 0.5
    assert odd == clean
