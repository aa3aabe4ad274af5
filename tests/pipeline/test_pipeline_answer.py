"""The stages together: order, depth, options, answer sentences, and what an answer reports."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace

import numpy as np
import pytest

from bioqa import (
    Article,
    BM25Retriever,
    Filters,
    Index,
    MemoryRetriever,
    Pipeline,
    PipelineOptions,
    Question,
    Reranker,
    SearchOptions,
)
from bioqa.errors import QuestionError, UsageError
from bioqa.pipeline.rerank_run import plan_run
from bioqa.pipeline.windows import score_articles
from tests.tiny_models import edit_json

QUESTION = "Which gene is mutated in cystic fibrosis?"
ARTICLES = [
    Article("1", "Malaria", "Malaria is caused by Plasmodium parasites. They are transmitted by mosquitoes."),
    Article("2", "Cystic fibrosis", "The CFTR gene is mutated in cystic fibrosis. Patients need treatment."),
    Article("3", "A cell protein", "The gene of the protein is mutated. Drugs are used to treat cancer. " * 6),
    Article("4", "Cystic fibrosis in children", ""),
    Article("5", "Aspirin", "Aspirin inhibits inflammation and pain."),
]


@pytest.fixture(scope="module")
def reranker(plain):
    return Reranker(plain("bert-uncased"), device="cpu")


@pytest.fixture
def retriever():
    return MemoryRetriever(ARTICLES)


@pytest.fixture(scope="module")
def demo_retriever(demo_index):
    with Index(demo_index) as index:
        yield BM25Retriever(index)


def ids(hits):
    return [hit.article.id for hit in hits]


def test_without_a_reranker_hits_are_in_bm25_order(retriever):
    hits = Pipeline(retriever, None, PipelineOptions(top=3)).answer(QUESTION).hits
    assert [hit.rank for hit in hits] == [1, 2, 3]
    expected = [(c.id, c.score) for c in retriever.search(QUESTION, 3)]
    assert [(hit.article.id, hit.first_stage_score) for hit in hits] == expected
    assert all(hit.logit is None and hit.probability is None and hit.score == hit.first_stage_score for hit in hits)


def test_with_a_reranker_hits_are_in_the_order_of_its_logits(retriever, reranker):
    hits = Pipeline(retriever, reranker).answer(QUESTION).hits
    assert set(ids(hits)) == {c.id for c in retriever.search(QUESTION, 10)}
    logits = [hit.logit for hit in hits]
    assert logits == sorted(logits, reverse=True)
    for hit in hits:
        assert hit.score == hit.logit
        assert hit.probability == pytest.approx(1 / (1 + np.exp(-hit.logit)), abs=1e-6)


def test_hits_say_whether_they_reach_the_threshold_on_the_models_own_scale(retriever, plain, tmp_path):
    folder = shutil.copytree(plain("bert-uncased"), tmp_path / "model")
    reranker = Reranker(folder, device="cpu")
    answer = Pipeline(retriever, reranker).answer(QUESTION)
    assert answer.to_dict()["threshold"] is None
    assert [hit.relevant for hit in answer.hits] == [None] * 3
    short = [hit for hit in answer.hits if hit.article.id != "3"]  # article 3 is read in windows
    scores = reranker.score(QUESTION, [hit.article.default_text() for hit in short])
    assert [hit.reranker_score for hit in short] == pytest.approx(scores.tolist(), abs=1e-6)
    # The threshold is between the first hit and the others; all calibrated probabilities are below it.
    threshold = (answer.hits[0].reranker_score + answer.hits[1].reranker_score) / 2
    calibration = {"method": "platt", "a": 0.01, "b": -9.0}
    edit_json(folder / "bioqa.json", threshold=threshold, calibration=calibration)
    strict = Pipeline(retriever, Reranker(folder, device="cpu"))
    answer = strict.answer(QUESTION)
    assert answer.to_dict()["threshold"] == threshold
    assert [hit["relevant"] for hit in answer.to_dict()["hits"]] == [True, False, False]
    assert all(hit.probability < threshold for hit in answer.hits)
    partly = strict.answer(QUESTION, PipelineOptions(rerank_depth=2))
    assert [hit.relevant is None for hit in partly.hits] == [False, False, True]
    assert {
        Pipeline(retriever).answer(QUESTION).hits[0].to_dict()[name] for name in ("relevant", "reranker_score")
    } == {None}


def test_the_first_stage_weight_changes_the_score(retriever, reranker):
    pipeline = Pipeline(retriever, reranker, PipelineOptions(first_stage_weight=3.0))
    answer = pipeline.answer(QUESTION)
    assert answer.first_stage_weight == 3.0
    for hit in answer.hits:
        assert hit.score == pytest.approx(hit.logit + 3 * hit.first_stage_score)
    assert [hit.score for hit in answer.hits] == sorted((hit.score for hit in answer.hits), reverse=True)


def test_hits_beyond_the_rerank_depth_follow_in_bm25_order(retriever, reranker):
    candidates = retriever.search(QUESTION, 10)
    assert len(candidates) == 3
    answer = Pipeline(retriever, reranker, PipelineOptions(rerank_depth=2)).answer(QUESTION)
    assert set(ids(answer.hits)[:2]) == {c.id for c in candidates[:2]}
    assert ids(answer.hits)[2:] == [c.id for c in candidates[2:]]
    assert [hit.logit is None for hit in answer.hits] == [False, False, True]
    scores = [hit.score for hit in answer.hits]
    assert scores == sorted(scores, reverse=True)
    assert scores[2] < scores[1]
    assert answer.hits[2].first_stage_score == candidates[2].score
    assert answer.hits[2].article == next(a for a in ARTICLES if a.id == candidates[2].id)
    assert answer.coverage.scored == 2
    assert all(hit.snippets for hit in answer.hits)


def test_a_deep_run_is_the_reranked_head_and_the_tail_of_bm25(demo_retriever, reranker):
    question = Question("q", "Which gene is mutated in Marfan syndrome?")
    candidates = [c.id for c in demo_retriever.search(question.body, 60)]
    pipeline = Pipeline(demo_retriever, reranker, PipelineOptions(top=60, rerank_depth=8))
    [ranked] = pipeline.run([question])
    found = [id for id, _ in ranked.results]
    assert len(candidates) == 60
    assert set(found[:8]) == set(candidates[:8])
    assert found[8:] == candidates[8:]
    assert found[:8] != candidates[:8]
    scores = [score for _, score in ranked.results]
    assert scores == sorted(scores, reverse=True)
    assert scores[8] < scores[7]
    assert ids(pipeline.answer(question).hits) == found


def test_the_rerank_depth_follows_the_number_of_results(retriever, reranker):
    pipeline = Pipeline(retriever, reranker)
    assert pipeline.resolve_options().rerank_depth == 50
    assert pipeline.resolve_options(PipelineOptions(top=200)).rerank_depth == 200
    assert pipeline.resolve_options(PipelineOptions(top=200, rerank_depth=7)).rerank_depth == 7
    assert Pipeline(retriever).resolve_options(PipelineOptions(rerank_depth=7)).rerank_depth is None


def test_options_of_a_call_replace_those_of_the_pipeline(demo_retriever, reranker):
    pipeline = Pipeline(demo_retriever, reranker, PipelineOptions(top=5, rerank_depth=5, sentences=1))
    usual = pipeline.answer(QUESTION)
    filtered = SearchOptions(k1=2.0, b=0.1, filters=Filters(since="2022"))
    options = PipelineOptions(
        top=3, rerank_depth=4, first_stage_weight=0.5, aggregation="firstp", sentences=2, search=filtered
    )
    other = pipeline.answer(QUESTION, options)
    assert other.options == options
    assert (len(usual.hits), len(other.hits)) == (5, 3)
    assert [len(hit.snippets) for hit in usual.hits] == [1] * 5
    assert max(len(hit.snippets) for hit in other.hits) == 2
    assert all(hit.article.date >= "2022" for hit in other.hits)
    assert any(hit.article.date < "2022" for hit in usual.hits)
    assert ids(other.hits) == ids(Pipeline(demo_retriever, reranker, options).answer(QUESTION).hits)
    assert pipeline.answer(QUESTION).hits == usual.hits
    [ranked] = pipeline.run([Question("q", QUESTION)], options)
    assert [id for id, _ in ranked.results] == ids(other.hits)


def test_answer_sentences_are_where_their_offsets_say(retriever, reranker):
    for hit in Pipeline(retriever, reranker, PipelineOptions(sentences=2)).answer(QUESTION).hits:
        assert 1 <= len(hit.snippets) <= 2
        for snippet in hit.snippets:
            text = hit.article.title if snippet.section == "title" else hit.article.abstract
            assert text[snippet.begin : snippet.end] == snippet.text
            assert snippet.probability is not None


def test_no_sentences_are_scored_if_none_are_wanted(retriever, reranker, monkeypatch):
    pipeline = Pipeline(retriever, reranker, PipelineOptions(sentences=0))
    scored = []
    score_pairs = reranker.score_pairs
    monkeypatch.setattr(
        reranker, "score_pairs", lambda pairs, **k: scored.append(len(pairs)) or score_pairs(pairs, **k)
    )
    assert all(hit.snippets == () for hit in pipeline.answer(QUESTION).hits)
    assert len(scored) == 1


def test_a_run_agrees_with_single_answers(retriever, reranker):
    questions = [Question("a", QUESTION), Question("b", "What are drugs used to treat?")]
    options = PipelineOptions(top=4)
    for pipeline in (Pipeline(retriever, None, options), Pipeline(retriever, reranker, options)):
        found = list(pipeline.run(questions))
        assert [ranked.question for ranked in found] == questions
        for question, ranked in zip(questions, found, strict=True):
            hits = pipeline.answer(question).hits
            assert [id for id, _ in ranked.results] == ids(hits)
            assert [score for _, score in ranked.results] == pytest.approx([hit.score for hit in hits], abs=1e-5)


def test_an_answer_reports_timings_coverage_options_and_index(retriever, reranker):
    answer = Pipeline(retriever, reranker).answer(Question("q7", f" {QUESTION}\n", "factoid"))
    assert answer.question == Question("q7", f" {QUESTION}\n", "factoid")
    assert answer.reranker == reranker.name
    assert list(answer.timings) == ["retrieve", "rerank", "highlight"]
    assert all(0 < seconds < 60 for seconds in answer.timings.values())
    by_id = {article.id: article for article in ARTICLES}
    expected = score_articles(reranker, QUESTION, [by_id[c.id] for c in retriever.search(QUESTION, 50)])
    assert answer.coverage == expected.coverage
    assert (answer.coverage.scored, answer.coverage.split) == (3, 1)
    assert answer.options == PipelineOptions(rerank_depth=50, first_stage_weight=0.0)
    assert (answer.index.name, answer.index.documents) == ("memory", 5)
    assert (answer.missing_fields, answer.unknown_filter_values) == ((), ())

    plain = Pipeline(retriever).answer(QUESTION)
    assert (plain.reranker, plain.first_stage_weight, plain.options.rerank_depth) == (None, None, None)
    assert list(plain.timings) == ["retrieve", "highlight"]
    assert plain.coverage.scored == 0


def test_an_answer_reports_what_filters_excluded_for_want_of_a_field(demo_retriever):
    search = SearchOptions(filters=Filters(mesh=("Marfan Syndrome",), journal=("The Lancet",), since="2000"))
    pipeline = Pipeline(demo_retriever, None, PipelineOptions(search=search))
    answer = pipeline.answer("Which gene is mutated in Marfan syndrome?")
    assert answer.hits == ()
    assert answer.unknown_filter_values == (("journal", "the lancet", ""),)
    assert answer.missing_fields == ()  # the journal filter excludes everything else as well
    search = SearchOptions(filters=Filters(mesh=["Marfan Syndrome"], since="2000"))
    question = "Which gene is mutated in Marfan syndrome?"
    answer = pipeline.answer(question, PipelineOptions(top=400, search=search))
    found = Pipeline(demo_retriever, None, PipelineOptions(top=400)).answer(question).hits
    without = sum(not hit.article.mesh for hit in found)
    assert [(one.field, one.articles) for one in answer.missing_fields] == [("mesh", without)]
    assert 0 < without < len(found)
    assert 0 < len(answer.hits) < len(found)
    assert answer.index.documents == 320


def test_an_answer_as_json(demo_retriever, reranker):
    search = SearchOptions(filters=Filters(mesh=("Marfan Syndrome",), journal=("The Lancet",)))
    answer = Pipeline(demo_retriever, reranker, PipelineOptions(top=2, explain=True)).answer(QUESTION)
    record = json.loads(json.dumps(answer.to_dict()))
    assert list(record) == [
        *("id", "question", "reranker", "first_stage_weight", "threshold", "index", "options", "timings", "coverage"),
        *("missing_fields", "unknown_filter_values", "facets", "hits"),
    ]
    assert (record["id"], record["question"]) == ("question", QUESTION)
    assert record["index"] == asdict(answer.index)
    assert record["options"]["rerank_depth"] == 50
    assert record["options"]["search"]["k1"] == 0.9
    assert record["coverage"] == asdict(answer.coverage)
    assert record["hits"] == [hit.to_dict() for hit in answer.hits]
    for shown, hit in zip(record["hits"], answer.hits, strict=True):
        assert (shown["id"], shown["first_stage_score"]) == (hit.article.id, hit.first_stage_score)
        assert float(hit.explanation.split(" = ")[0]) == pytest.approx(hit.first_stage_score, rel=1e-5)
    other = Pipeline(demo_retriever).answer(QUESTION, PipelineOptions(search=search)).to_dict()
    assert other["unknown_filter_values"] == [{"field": "journal", "value": "the lancet", "nearest": ""}]


@pytest.mark.parametrize("stage", ["memory", "index"])
def test_one_pipeline_serves_several_threads(stage, retriever, demo_retriever, reranker):
    questions = [f"Which {word}?" for word in ("gene", "drugs", "protein", "treatment")]
    options = PipelineOptions(top=5, rerank_depth=5, sentences=1)
    first = demo_retriever if stage == "index" else retriever
    variants = [
        options,
        replace(options, search=SearchOptions(k1=1.2, b=0.75)),
        replace(options, top=3, first_stage_weight=1.0),
    ]
    asked = [(question, own) for question in questions for own in variants]

    def answers(pipeline, map_):
        return [
            [(hit.article.id, hit.score, hit.snippets) for hit in answer.hits]
            for answer in map_(lambda pair: pipeline.answer(*pair), asked)
        ]

    expected = answers(Pipeline(first, reranker, options), map)
    with ThreadPoolExecutor(6) as pool:
        shared = Pipeline(first, reranker, options)
        for _ in range(2):
            assert answers(shared, pool.map) == expected


@pytest.mark.parametrize("question", ["", "  \n", "word " * 1001])
def test_invalid_questions_are_refused(retriever, question):
    with pytest.raises(QuestionError):
        Pipeline(retriever).answer(question)
    with pytest.raises(QuestionError):
        list(Pipeline(retriever).run([Question("q", question)]))


def test_a_question_too_long_for_the_reranker_is_refused_with_its_id(retriever, reranker):
    questions = [Question("a", QUESTION), Question("b", "gene " * 200)]
    Pipeline(retriever).check_questions(questions)
    with pytest.raises(QuestionError, match="Question b: The question has at least 64 tokens"):
        Pipeline(retriever, reranker).check_questions(questions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top": 0}, "number of results must be at least 1, not 0"),
        ({"rerank_depth": 0}, "rerank depth must be at least 1, not 0"),
        ({"first_stage_weight": -0.5}, "weight must be finite and at least 0, not -0.5"),
        ({"first_stage_weight": float("nan")}, "not nan"),
        ({"aggregation": "best"}, "Unknown aggregation 'best'. Choose from maxp, firstp, meanp, truncate"),
        ({"overlap": -1}, "overlap of windows must be at least 0 sentences, not -1"),
        ({"sentences": -1}, "sentences must be at least 0, not -1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        PipelineOptions(**options)


def test_an_option_that_the_retriever_does_not_support_is_refused(retriever):
    unsupported = PipelineOptions(search=SearchOptions(filters=Filters(mesh=("Asthma",))))
    with pytest.raises(UsageError, match="--mesh needs an index"):
        Pipeline(retriever, None, unsupported)
    for call in (
        lambda: Pipeline(retriever).answer(QUESTION, unsupported),
        lambda: list(Pipeline(retriever).run([Question("q", QUESTION)], unsupported)),
    ):
        with pytest.raises(UsageError, match="--mesh needs an index"):
            call()


def test_a_run_is_not_reranked_without_a_reranker(retriever, tmp_path):
    (tmp_path / "run").write_text("q Q0 1 1 2.0 bm25\n")
    plan = plan_run(tmp_path / "run", [Question("q", QUESTION)])
    with pytest.raises(UsageError, match="needs a reranker"):
        list(Pipeline(retriever).rerank(plan))


def test_nothing_found_is_an_answer_without_hits(retriever, reranker):
    answer = Pipeline(retriever, reranker).answer("zebrafish")
    assert answer.hits == ()
    assert answer.coverage.scored == 0


def test_similar_articles_are_reranked_with_the_title_as_the_question(demo_retriever, reranker):
    [article] = demo_retriever.get_many(["99000136"])
    options = PipelineOptions(top=4, rerank_depth=6, sentences=1, first_stage_weight=0.0)
    answer = Pipeline(demo_retriever, reranker, options).similar(article)
    candidates = demo_retriever.similar(article, 6)
    assert (answer.question.id, answer.question.body) == (article.id, article.title)
    scores = score_articles(reranker, article.title, demo_retriever.articles(candidates)).logits
    expected = [candidates[int(position)].id for position in np.argsort(-scores, kind="stable")][:4]
    assert ids(answer.hits) == expected
    assert [hit.relevant for hit in answer.hits] == [None] * 4
    assert all(len(hit.snippets) <= 1 for hit in answer.hits)
    first_stage = Pipeline(demo_retriever).similar(article, PipelineOptions(top=6))
    assert ids(first_stage.hits) == [candidate.id for candidate in candidates]


def test_the_first_sentence_stands_in_for_a_missing_title(retriever):
    asked = Pipeline(retriever).similar(Article("x", "", "Statins lower cholesterol. More text.")).question
    assert asked.body == "Statins lower cholesterol."
    assert (
        Pipeline(retriever).similar(Article("x", "", "", vernacular_title="Les statines")).question.body
        == "Les statines"
    )
    assert len(Pipeline(retriever).similar(Article("x", "word " * 5000, "")).question.body.split()) == 100
    with pytest.raises(QuestionError, match="x has neither title nor abstract"):
        Pipeline(retriever).similar(Article("x", "", " "))
    for options in (PipelineOptions(explain=True), PipelineOptions(facets=("year",))):
        with pytest.raises(UsageError, match="not for similar articles"):
            Pipeline(retriever).similar(Article("x", "Statins", ""), options)


def test_filters_of_similar_articles_count_over_the_whole_index(demo_retriever):
    [article] = demo_retriever.get_many(["99000136"])
    search = SearchOptions(filters=Filters(mesh=("Humans",)))
    answer = Pipeline(demo_retriever).similar(article, PipelineOptions(search=search))
    assert answer.missing_fields == tuple(demo_retriever.missing_field_counts(None, search))
    assert answer.missing_fields[0].articles > 50
