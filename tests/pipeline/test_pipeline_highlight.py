"""Answer sentences: the best sentences of articles for a question."""

import numpy as np
import pytest

from bioqa.pipeline.highlight import OVERLAP_WEIGHT, POSITION_WEIGHT, best_sentences, overlap
from bioqa.rerank.reranker import Reranker
from bioqa.types import Article

ARTICLES = [
    Article("1", "CFTR", "It was a study. The CFTR gene is mutated in cystic fibrosis. Patients had pain. It ended."),
    Article("2", "Aspirin and the CFTR gene", ""),
    Article("3", "", ""),
    Article("4", "Malaria", "Malaria is caused by parasites."),
]


@pytest.fixture
def reranker(tiny_reranker):
    return Reranker(tiny_reranker)


def test_a_sentence_is_ranked_by_its_logit_its_overlap_and_its_position(reranker, question):
    best = best_sentences(reranker, question, ARTICLES, per_article=3)
    assert [len(snippets) for snippets in best] == [3, 1, 0, 1]
    for article, snippets in zip(ARTICLES, best, strict=True):
        assert {snippet.document for snippet in snippets} <= {article.id}
        texts = [s.text if s.section == "title" else f"{article.title}\n{s.text}" for s in snippets]
        expected = reranker.probabilities(question, texts)
        assert [snippet.probability for snippet in snippets] == pytest.approx(expected.tolist(), abs=1e-5)
        positions = [article.abstract[: snippet.begin].count(".") / 3 for snippet in snippets]
        shares = overlap(question, [snippet.text for snippet in snippets])
        ranked_by = (
            reranker.logits(question, texts) + OVERLAP_WEIGHT * np.array(shares) - POSITION_WEIGHT * np.array(positions)
        )
        assert ranked_by.tolist() == sorted(ranked_by, reverse=True)
    assert {"It was a study.", "The CFTR gene is mutated in cystic fibrosis."} <= {s.text for s in best[0]}


def test_all_sentences_are_scored_in_one_call(reranker, question, monkeypatch):
    calls = []
    score_pairs = reranker.score_pairs
    monkeypatch.setattr(reranker, "score_pairs", lambda pairs, **how: calls.append(pairs) or score_pairs(pairs, **how))
    best_sentences(reranker, question, ARTICLES)
    assert [len(pairs) for pairs in calls] == [6]
    assert {q for q, _ in calls[0]} == {question}


def test_the_title_is_a_sentence_only_if_there_is_no_abstract(question):
    best = best_sentences(None, question, ARTICLES)
    assert {snippet.section for snippet in best[0]} == {"abstract"}
    assert [(snippet.section, snippet.text) for snippet in best[1]] == [("title", "Aspirin and the CFTR gene")]


def test_without_a_reranker_shared_words_decide(question):
    best = best_sentences(None, question, ARTICLES)
    assert best[0][0].text == "The CFTR gene is mutated in cystic fibrosis."
    assert best[0][1].text == "It was a study."
    assert best[0][0].probability is None


def test_overlap_counts_distinct_words_without_case_and_stop_words():
    question = "Which gene is mutated in cystic fibrosis?"
    assert overlap(question, ["GENE gene", "Cystic fibrosis: the mutated gene", "which is in", ""]) == [0.25, 1, 0, 0]
    assert overlap("What is it?", ["It is."]) == [0]


@pytest.mark.parametrize("use", [True, False])
def test_no_articles(use, reranker, question):
    assert best_sentences(reranker if use else None, question, []) == []


def test_no_sentences_wanted(reranker, question):
    assert best_sentences(reranker, question, ARTICLES, per_article=0) == [(), (), (), ()]
