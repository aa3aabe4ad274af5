"""BM25 on a Lucene index: Pyserini's scores, SciFact's published figures, and searches from several threads."""

import math
import pickle
import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from bioqa import Article, BM25Retriever, Index, SearchOptions, build_index, read_questions
from bioqa.errors import UsageError
from bioqa.index.filters import Filters
from bioqa.index.jvm import cast, java
from bioqa.index.query import QueryBuilder
from bioqa.retrieve.bm25 import unpack_hits
from bioqa.types import Candidate
from tests.support import DEMO, assert_same_results, pyserini_results


@pytest.mark.slow
def test_pyserini_finds_the_same_documents_with_the_same_scores(demo_index):
    questions = [question.body for question in read_questions(DEMO / "questions.json")]
    questions += ["β-blockers in heart failure", "CRISPR-Cas9's off-target effects", "IL-6 TNF-α vitamin D3"]
    assert len(questions) == 50
    # Pyserini asks for the words as they are; ours are folded.
    theirs = pyserini_results(demo_index, [q.replace("β", "beta").replace("α", "alpha") for q in questions])
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        for question, expected in zip(questions, theirs, strict=True):
            assert_same_results([(hit.id, hit.score) for hit in retriever.search(question, 10)], expected)


@pytest.mark.parametrize("k", [1, 2, 7, 60, 1000])
def test_the_top_k_are_lucenes_own_for_every_k(demo_index, k):
    questions = [
        "disease",
        "gene patients disease",
        "Which gene is mutated in Marfan syndrome?",
        "a treatment of the disease",
    ]
    with Index(demo_index, threads=1) as index:
        searcher = index.searcher(index.commit, 0.9, 0.4)
        build = QueryBuilder().build
        every = java("org.apache.lucene.search.MatchAllDocsQuery")()
        for query in (*(build(question) for question in questions), every):
            found = unpack_hits(java("bioqa.Searcher").search(searcher, query, k))
            hits = searcher.search(cast("org.apache.lucene.search.Query", query), len(index)).scoreDocs
            ids = [article.id for article in index.articles([hit.doc for hit in hits])]
            expected = sorted(zip(hits, ids, strict=True), key=lambda row: (-row[0].score, row[1]))[:k]
            assert list(found.keys) == [hit.doc for hit, _ in expected]
            assert list(found.scores) == [hit.score for hit, _ in expected]
            assert found.ids == [id for _, id in expected]


def test_candidates_are_a_sequence_of_their_rows(demo_index):
    with Index(demo_index) as index:
        found = BM25Retriever(index).search("Which gene is mutated in Marfan syndrome?", 5)
    each = [Candidate(*row) for row in zip(found.ids, found.scores, found.keys, strict=True)]
    assert len(found) == len(each) == 5
    assert list(found) == each
    assert found == each
    assert found != each[:4]
    assert (found[0], found[-1], found[1:3]) == (each[0], each[-1], each[1:3])
    assert pickle.loads(pickle.dumps(found)) == found
    assert repr(found) == repr(each)
    with pytest.raises(IndexError):
        found[5]


@pytest.mark.slow
@pytest.mark.shared_data
def test_scifact_reaches_the_published_bm25_through_our_commands(shared_data, tmp_path, bioqa):
    index, run = tmp_path / "index", tmp_path / "run.txt"
    assert bioqa("index", "build", index, shared_data / "scifact").code == 0
    search = bioqa("search", index, "--questions", shared_data / "scifact", "--no-rerank", "--top", 1000, "--run", run)
    assert search.code == 0, search.err
    from bioqa.corpus.beir import read_beir_qrels

    qrels = read_beir_qrels(shared_data / "scifact" / "qrels" / "test.tsv")
    ranked: dict[str, list[str]] = {}
    for line in run.read_text().splitlines():
        question, _, document, *_ = line.split()
        ranked.setdefault(question, []).append(document)
    ndcg, recall = [], []
    for question, relevant in qrels.items():
        gains = [relevant.get(document, 0) for document in ranked[question]]
        ideal = sorted(relevant.values(), reverse=True)
        ndcg.append(_dcg(gains[:10]) / _dcg(ideal[:10]))
        recall.append(sum(gains[:100]) / len(relevant))
    assert len(ndcg) == 300
    assert statistics.mean(ndcg) == pytest.approx(0.6789, abs=0.003)
    assert statistics.mean(recall) == pytest.approx(0.9253, abs=0.003)


def _dcg(gains: list[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def test_k1_and_b_change_the_scores(demo_index):
    question = "Which gene is mutated in Marfan syndrome?"
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        usual = retriever.search(question, 1)
        assert retriever.search(question, 1, SearchOptions(k1=2.0, b=1.0))[0].score != usual[0].score
        assert retriever.search(question, 1) == usual


@pytest.mark.parametrize(("k1", "b"), [(-1, 0.4), (0.9, 1.5), (0.9, -0.1), (float("nan"), 0.4)])
def test_impossible_parameters_are_refused(k1, b):
    with pytest.raises(UsageError, match=r"must be"):
        SearchOptions(k1=k1, b=b)


def test_a_question_of_stop_words_finds_nothing(demo_index):
    with Index(demo_index) as index:
        assert BM25Retriever(index).search("to be or not to be", 10) == []


def test_a_built_index_and_the_file_it_came_from_agree(tmp_path, corpus):
    build_index(tmp_path / "index", [corpus])
    with Index(tmp_path / "index") as index:
        retriever = BM25Retriever(index)
        candidates = retriever.search("cholesterol", 10)
        assert [article.id for article in retriever.articles(candidates)] == ["3"]


def test_eight_threads_with_different_options_find_what_one_thread_finds(demo_index):
    questions = [question.body for question in read_questions(DEMO / "questions.json")][:12]
    options = [
        SearchOptions(),
        SearchOptions(k1=2.0, b=1.0),
        SearchOptions(title_weight=2.0),
        SearchOptions(syntax="lucene"),
        SearchOptions(rm3=True),
        SearchOptions(filters=Filters(since="2020")),
        SearchOptions(filters=Filters(mesh=("Humans",)), title_weight=0.5),
        SearchOptions(k1=1.2, b=0.75, rm3=True),
    ]
    questions = [question.replace("?", "").replace("/", " ") for question in questions]
    searches = [(question, one) for question in questions for one in options]
    with Index(demo_index) as index:
        expected = []
        for question, one in searches:
            expected.append(BM25Retriever(index).search(question, 20, one))
        assert len({tuple(found.ids) + tuple(found.scores) for found in expected[: len(options)]}) > 4
        retriever = BM25Retriever(index)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda search: retriever.search(search[0], 20, search[1]), searches * 2))
    assert found == expected * 2


def test_similar_articles_are_others_that_share_terms_and_headings(demo_index):
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        article = index.get("99000136")
        found = retriever.similar(article, 20)
        assert len(found) == 20
        assert article.id not in found.ids
        assert list(found.scores) == sorted(found.scores, reverse=True)
        texts = [one.default_text() for one in retriever.articles(found[:2])]
        assert all("Dravet" in text for text in texts)
        assert list(retriever.similar(article, 3)) == list(found[:3])
        reviews = retriever.similar(article, 20, SearchOptions(filters=Filters(type=("Case Reports",))))
        assert reviews
        assert all("Case Reports" in one.publication_types for one in retriever.articles(reviews))
        by_heading = retriever.similar(Article("x", "", "", mesh=("Epilepsies, Myoclonic",)), 100)
        assert by_heading
        assert all("Epilepsies, Myoclonic" in one.mesh for one in retriever.articles(by_heading))
        assert article.id in retriever.similar(replace(article, id="x"), 1).ids, "it need not be in the index"
        assert not retriever.similar(Article("x", "", ""), 5)


@pytest.mark.parametrize(
    "options", [SearchOptions(rm3=True), SearchOptions(title_weight=1.0), SearchOptions(syntax="lucene")]
)
def test_options_for_questions_are_refused_for_similar_articles(demo_index, options):
    with Index(demo_index) as index, pytest.raises(UsageError, match="are for questions"):
        BM25Retriever(index).similar(index.get("99000136"), 5, options)
