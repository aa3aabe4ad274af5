"""The two stages together: order, depth, windows, answer sentences."""

import random

import numpy as np
import pytest

from bioqa import Article, MemoryIndex, Question, Reranker, SearchEngine
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.windows import score_articles, windows
from tests.tiny_models import build

QUESTION = "Which gene is mutated in cystic fibrosis?"
ARTICLES = [
    Article("1", "Malaria", "Malaria is caused by Plasmodium parasites. They are transmitted by mosquitoes."),
    Article("2", "Cystic fibrosis", "The CFTR gene is mutated in cystic fibrosis. Patients need treatment."),
    Article("3", "A cell protein", "The gene of the protein is mutated. Drugs are used to treat cancer. " * 6),
    Article("4", "Cystic fibrosis in children", ""),
    Article("5", "Aspirin", "Aspirin inhibits inflammation and pain."),
]


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    return Reranker(build(tmp_path_factory.mktemp("model") / "tiny", "bert-uncased"), device="cpu")


@pytest.fixture
def index():
    return MemoryIndex(ARTICLES)


def test_without_a_reranker_hits_are_in_bm25_order(index):
    hits = SearchEngine(index).search(QUESTION, top=3)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [(hit.article.id, hit.bm25) for hit in hits] == [(c.id, c.score) for c in index.search(QUESTION, 3)]
    assert all(hit.logit is None and hit.probability is None and hit.score == hit.bm25 for hit in hits)


def test_with_a_reranker_hits_are_in_the_order_of_its_logits(index, reranker):
    hits = SearchEngine(index, reranker).search(QUESTION, top=10)
    assert {hit.article.id for hit in hits} == {c.id for c in index.search(QUESTION, 10)}
    logits = [hit.logit for hit in hits]
    assert logits == sorted(logits, reverse=True)
    for hit in hits:
        assert hit.score == hit.logit
        assert hit.probability == pytest.approx(1 / (1 + np.exp(-hit.logit)), abs=1e-6)


def test_only_candidates_within_the_depth_are_reranked(index, reranker):
    candidates = {c.id for c in index.search(QUESTION, 2)}
    engine = SearchEngine(index, reranker, depth=2)
    assert {hit.article.id for hit in engine.search(QUESTION, top=2)} == candidates
    assert engine.coverage.scored == 2
    with pytest.raises(UsageError, match="only 2 candidates"):
        engine.search(QUESTION, top=3)


def test_the_depth_follows_the_results_asked_for(index, reranker):
    engine = SearchEngine(index, reranker)
    assert engine.rerank_depth(10) == 50
    assert engine.rerank_depth(200) == 200


def test_answer_sentences_stand_where_their_offsets_say(index, reranker):
    for hit in SearchEngine(index, reranker, sentences=2).search(QUESTION, top=5):
        assert 1 <= len(hit.snippets) <= 2
        for snippet in hit.snippets:
            text = hit.article.title if snippet.section == "title" else hit.article.abstract
            assert text[snippet.begin : snippet.end] == snippet.text
            assert snippet.probability is not None


def test_a_run_agrees_with_single_searches(index, reranker):
    questions = [Question("a", QUESTION), Question("b", "What are drugs used to treat?")]
    for engine in (SearchEngine(index), SearchEngine(index, reranker)):
        for question, results in engine.run(questions, top=4):
            hits = engine.search(question.body, top=4)
            assert [id for id, _ in results] == [hit.article.id for hit in hits]
            assert [score for _, score in results] == pytest.approx([hit.score for hit in hits], abs=1e-5)


@pytest.mark.parametrize("question", ["", "  \n", "word " * 1001])
def test_questions_that_cannot_be_asked_are_refused(index, question):
    with pytest.raises(QuestionError):
        SearchEngine(index).search(question)


def test_less_than_one_result_is_refused(index):
    with pytest.raises(UsageError, match="1 or more"):
        SearchEngine(index).search(QUESTION, top=0)
    with pytest.raises(UsageError, match="1 or more"):
        SearchEngine(index, depth=0)


def test_nothing_found_is_an_empty_list(index, reranker):
    assert SearchEngine(index, reranker).search("zebrafish") == []


def test_an_article_that_fits_is_scored_as_one_text(reranker):
    short = ARTICLES[1]
    found = score_articles(reranker, QUESTION, [short])
    assert found.windows.tolist() == [1]
    assert found.logits[0] == pytest.approx(reranker.logits(QUESTION, [short.default_text()])[0], abs=1e-5)


def test_a_long_article_counts_as_its_best_window_and_nothing_is_cut(reranker):
    question = "Which gene?"
    text = "The gene is mutated. Drugs treat pain. Mosquitoes are parasites. Aspirin is used. " * 5
    article = Article("9", "Gene", text.strip())
    assert reranker.max_length == 64
    found = score_articles(reranker, question, [article, ARTICLES[4]])
    assert found.windows[0] > 1
    assert found.windows[1] == 1
    assert not found.truncated.any()
    whole = reranker.score_pairs([(question, article.default_text())])
    assert whole.truncated[0]
    sentences = [sentence + "." for sentence in text.strip().rstrip(".").split(". ")]
    lengths = reranker.count_tokens(sentences)
    room = 64 - reranker.overhead_tokens - sum(reranker.count_tokens([question, "Gene"]))
    texts = ["Gene\n" + " ".join(sentences[begin:end]) for begin, end in windows(lengths, room)]
    logits = reranker.logits(question, texts)
    assert found.logits[0] == pytest.approx(logits.max(), abs=1e-5)


def test_a_sentence_longer_than_the_model_reads_is_reported_as_cut(reranker):
    article = Article("9", "Gene", "The gene " + "protein " * 100 + "is mutated. Aspirin is used.")
    assert score_articles(reranker, "Which gene?", [article]).truncated.tolist() == [True]


def test_no_article_gives_no_score(reranker):
    assert score_articles(reranker, QUESTION, []).logits.shape == (0,)


def test_windows_hold_every_sentence_once_within_the_room_and_as_many_as_fit():
    rng = random.Random(7)
    for _ in range(300):
        lengths = [rng.randint(1, 40) for _ in range(rng.randint(1, 20))]
        room = rng.randint(10, 90)
        runs = list(windows(lengths, room))
        assert [place for begin, end in runs for place in range(begin, end)] == list(range(len(lengths)))
        for begin, end in runs:
            assert sum(lengths[begin:end]) <= room or end == begin + 1
            assert end == len(lengths) or sum(lengths[begin : end + 1]) > room
    assert list(windows([], 10)) == []
