"""Articles longer than the model reads: windows, aggregation, truncation, and the count of what was not read."""

import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from bioqa import Article, MemoryRetriever, Pipeline, PipelineOptions, Question
from bioqa import Reranker as AnyReranker
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.answer import Coverage
from bioqa.pipeline.options import AGGREGATIONS
from bioqa.pipeline.windows import score_articles, score_questions, windows

Reranker = partial(AnyReranker, engine="exact")
QUESTION = "Which gene?"
KINDS = (
    "The gene is mutated.",
    "Drugs treat pain.",
    "Mosquitoes are parasites.",
    "Aspirin is used in children.",
    "Cancer!",
)
SENTENCES = random.Random(3).choices(KINDS, k=48)
LONG_ARTICLE = Article("9", "Gene", " ".join(SENTENCES))
SHORT_ARTICLE = Article("5", "Aspirin", "Aspirin inhibits inflammation and pain.")
LONG_QUESTION = "which drugs are used to treat malaria in children " * 4 + "which gene is mutated?"


@pytest.fixture(scope="module")
def reranker(plain):
    return Reranker(plain("bert-uncased"), device="cpu")


def texts_of_windows(reranker, overlap=0):
    """The windows of LONG_ARTICLE, put together here from the runs of sentences that fit."""
    room = reranker.max_passage_tokens(QUESTION) - reranker.count_tokens(["Gene"])[0]
    runs = windows(reranker.count_tokens(SENTENCES), room, overlap)
    return ["Gene\n" + " ".join(SENTENCES[begin:end]) for begin, end in runs]


@pytest.mark.parametrize("overlap", [0, 1, 2])
@pytest.mark.parametrize(
    ("aggregation", "aggregate"), [("maxp", np.max), ("meanp", np.mean), ("firstp", lambda logits: logits[0])]
)
def test_the_logits_of_windows_are_aggregated_as_asked(aggregation, aggregate, overlap, reranker):
    texts = texts_of_windows(reranker, overlap)
    logits = reranker.logits(QUESTION, texts)
    assert len(texts) > 3
    assert logits.max() - logits.min() > 1e-3
    found = score_articles(reranker, QUESTION, [SHORT_ARTICLE, LONG_ARTICLE], aggregation=aggregation, overlap=overlap)
    assert found.logits[1] == pytest.approx(aggregate(logits), abs=1e-5)
    assert found.probabilities[1] == pytest.approx(1 / (1 + np.exp(-found.logits[1])), abs=1e-6)
    assert found.windows.tolist() == [1, 1 if aggregation == "firstp" else len(texts)]
    assert found.logits[0] == pytest.approx(reranker.logits(QUESTION, [SHORT_ARTICLE.default_text()])[0], abs=1e-5)


def test_truncate_reads_as_many_tokens_as_fit_and_counts_the_characters_after_them(reranker):
    text = LONG_ARTICLE.default_text()
    found = score_articles(reranker, QUESTION, [SHORT_ARTICLE, LONG_ARTICLE], aggregation="truncate")
    assert found.windows.tolist() == [1, 1]
    assert found.truncated.tolist() == [False, True]
    read = text[: len(text) - found.unread[1]]
    room = reranker.max_passage_tokens(QUESTION)
    assert reranker.count_tokens([read]) == [room]
    assert found.logits[1] == pytest.approx(reranker.logits(QUESTION, [read])[0], abs=1e-5)
    assert found.characters.tolist() == [len(SHORT_ARTICLE.default_text()), len(text)]


def test_firstp_counts_the_text_after_the_first_window_as_not_read(reranker):
    first = texts_of_windows(reranker)[0]
    found = score_articles(reranker, QUESTION, [LONG_ARTICLE], aggregation="firstp")
    assert found.unread.tolist() == [len(LONG_ARTICLE.default_text()) - len(first)]


def test_of_a_sentence_longer_than_a_window_the_end_is_not_read(reranker):
    sentence = "The gene " + "protein " * 100 + "is mutated."
    article = Article("9", "Gene", f"{sentence} Aspirin is used.")
    found = score_articles(reranker, QUESTION, [article])
    room = reranker.max_passage_tokens(QUESTION) - 1
    read = "The gene " + "protein " * (room - 3) + "protein"
    assert found.windows.tolist() == [2]
    assert found.unread.tolist() == [len(sentence) - len(read)]


def test_a_title_that_leaves_no_room_is_read_as_the_first_sentence(reranker):
    title = "the gene of the protein " * 8
    article = Article("9", title.strip(), " ".join(SENTENCES[:6]))
    assert reranker.count_tokens([title])[0] > reranker.max_passage_tokens(QUESTION) // 2
    found = score_articles(reranker, QUESTION, [article])
    assert not found.truncated.any()
    whole = Article("9", (title * 20).strip(), "")
    assert score_articles(reranker, QUESTION, [whole]).truncated.tolist() == [True]


def test_labels_of_sections_that_do_not_fit_lead_to_windows_not_to_truncation(reranker):
    """The sentences would fit, but with the labels the text does not."""
    from bioqa.types import Section

    room = reranker.max_passage_tokens(QUESTION)
    parts, sections = "", []
    for word in ("gene", "pain", "cell", "cancer"):
        text = (word + " ") * (room // 4 - 1) + "."
        sections.append(Section("LABEL", "", len(parts), len(parts) + 7, len(parts) + 7 + len(text)))
        parts += f"LABEL: {text}"
    article = Article("9", "", parts, tuple(sections))
    assert reranker.count_tokens([article.default_text()])[0] > room
    found = score_articles(reranker, QUESTION, [article])
    assert found.windows.tolist() == [1]
    assert not found.truncated.any()


def test_a_question_longer_than_half_the_limit_is_read_whole(reranker):
    asked = reranker.count_tokens([LONG_QUESTION])[0]
    room = reranker.max_length - reranker.overhead_tokens - asked
    assert asked > reranker.max_length / 2
    assert reranker.max_passage_tokens(LONG_QUESTION) == room
    other = LONG_QUESTION.replace("gene is mutated?", "pain is used ?")  # its end alone differs
    for aggregation in AGGREGATIONS:
        found = score_articles(reranker, LONG_QUESTION, [LONG_ARTICLE], aggregation=aggregation)
        assert found.logits[0] != score_articles(reranker, other, [LONG_ARTICLE], aggregation=aggregation).logits[0]
    passage = "aspirin " * room
    expected = reranker.logits(LONG_QUESTION, [passage])
    found = reranker.score_pairs([(LONG_QUESTION, passage + "gene " * 90)], whole_questions=True)
    np.testing.assert_allclose(found.logits, expected, atol=1e-5)
    assert found.unread.tolist() == [len("gene " * 90) + 1]


def test_a_question_that_leaves_too_little_room_is_refused(reranker):
    for question in (LONG_QUESTION + " and pain" * 5, "gene " * 200):
        asked = reranker.count_tokens([question])[0]
        with pytest.raises(QuestionError, match=rf"has (at least )?{asked} tokens; .* reads 64 .* 16 of them reserved"):
            score_articles(reranker, question, [SHORT_ARTICLE])
        with pytest.raises(QuestionError, match="Shorten the question"):
            reranker.score_pairs([(question, "gene")], whole_questions=True)
    assert len(reranker.score("gene " * 200, ["gene"])) == 1  # as sentence-transformers does


@pytest.mark.parametrize(("aggregation", "overlap", "message"), [("best", 0, "'best'"), ("maxp", -1, "not -1")])
def test_unknown_aggregations_and_negative_overlaps_are_refused(aggregation, overlap, message, reranker):
    with pytest.raises(UsageError, match=message):
        score_articles(reranker, QUESTION, [SHORT_ARTICLE], aggregation=aggregation, overlap=overlap)


def test_windows_overlap_by_as_many_sentences_as_fit_and_always_advance():
    rng = random.Random(7)
    for _ in range(500):
        lengths = [rng.randint(1, 40) for _ in range(rng.randint(1, 20))]
        room, overlap = rng.randint(10, 90), rng.randint(0, 3)
        runs = list(windows(lengths, room, overlap))
        assert runs[0][0] == 0
        assert runs[-1][1] == len(lengths)
        for begin, end in runs:
            assert sum(lengths[begin:end]) <= room or end == begin + 1
            assert end == len(lengths) or sum(lengths[begin : end + 1]) > room
        for (first, middle), (begin, _) in pairwise(runs):
            assert first < begin <= middle
            shared = middle - begin
            assert shared == overlap or begin - 1 == first or sum(lengths[begin - 1 : middle + 1]) > room
            assert shared <= overlap


def test_several_questions_at_once_get_the_scores_of_each_alone(reranker):
    asked = [
        (QUESTION, [LONG_ARTICLE, SHORT_ARTICLE]),
        ("What is used to treat pain?", []),
        (LONG_QUESTION, [LONG_ARTICLE]),
    ]
    together = score_questions(reranker, asked)
    for (question, articles), found in zip(asked, together, strict=True):
        alone = score_articles(reranker, question, articles)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-5)
        assert found.windows.tolist() == alone.windows.tolist()
        assert found.unread.tolist() == alone.unread.tolist()
    assert score_questions(reranker, []) == []


def test_what_was_read_is_counted(reranker):
    sentence = "The gene " + "protein " * 100 + "is mutated."
    articles = [SHORT_ARTICLE, LONG_ARTICLE, Article("9", "Gene", sentence)]
    coverage = Coverage()
    for aggregation in ("maxp", "truncate"):
        coverage += score_articles(reranker, QUESTION, articles, aggregation=aggregation).coverage
    assert (coverage.scored, coverage.split, coverage.truncated) == (6, 1, 3)
    assert coverage.characters == 2 * sum(len(article.default_text()) for article in articles)
    both = coverage + Coverage(1, 1, 1, 10, 5)
    assert (both.scored, both.characters - coverage.characters, both.unread - coverage.unread) == (7, 10, 5)


@pytest.mark.parametrize("architecture", ["bert-uncased", "xlm-roberta"])
def test_calls_again_and_from_four_threads_give_the_same_scores(architecture, plain):
    reranker = Reranker(plain(architecture), batch_size=4)
    articles = [LONG_ARTICLE, SHORT_ARTICLE, Article("1", "Gene", " ".join(SENTENCES[3:20]))]
    alone = score_articles(reranker, QUESTION, articles).logits
    for _ in range(3):
        np.testing.assert_array_equal(score_articles(reranker, QUESTION, articles).logits, alone)
    with ThreadPoolExecutor(4) as pool:
        for logits in pool.map(lambda _: score_articles(reranker, QUESTION, articles).logits, range(16)):
            np.testing.assert_array_equal(logits, alone)


def test_a_pipeline_scores_long_articles_as_asked(reranker):
    retriever = MemoryRetriever([LONG_ARTICLE, SHORT_ARTICLE])
    for aggregation in AGGREGATIONS:
        pipeline = Pipeline(retriever, reranker, PipelineOptions(aggregation=aggregation, overlap=1))
        answer = pipeline.answer(QUESTION)
        [hit] = answer.hits
        expected = score_articles(reranker, QUESTION, [LONG_ARTICLE], aggregation=aggregation, overlap=1)
        assert hit.logit == pytest.approx(expected.logits[0], abs=1e-5)
        split, truncated = (0, 1) if aggregation in {"firstp", "truncate"} else (1, 0)
        assert (answer.coverage.split, answer.coverage.truncated) == (split, truncated)
        assert answer.coverage.unread == expected.unread[0]
        [ranked] = pipeline.run([Question("q", QUESTION)])
        assert ranked.results[0][1] == pytest.approx(hit.logit, abs=1e-5)
        assert ranked.windows == expected.windows[0]


def test_an_article_that_fits_is_scored_as_one_text(reranker):
    found = score_articles(reranker, QUESTION, [SHORT_ARTICLE])
    assert found.windows.tolist() == [1]
    assert found.logits[0] == pytest.approx(reranker.logits(QUESTION, [SHORT_ARTICLE.default_text()])[0], abs=1e-5)


def test_maxp_reads_a_long_article_to_the_end(reranker):
    found = score_articles(reranker, QUESTION, [LONG_ARTICLE, SHORT_ARTICLE])
    assert found.windows[0] > 1
    assert not found.truncated.any()
    assert reranker.score_pairs([(QUESTION, LONG_ARTICLE.default_text())]).truncated[0]


def test_a_sentence_longer_than_the_model_reads_is_truncated(reranker):
    article = Article("9", "Gene", "The gene " + "protein " * 100 + "is mutated. Aspirin is used.")
    assert score_articles(reranker, QUESTION, [article]).truncated.tolist() == [True]


def test_no_article_has_no_score(reranker):
    assert score_articles(reranker, QUESTION, []).logits.shape == (0,)


def test_windows_have_every_sentence_once_within_the_room_and_as_many_as_fit():
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
