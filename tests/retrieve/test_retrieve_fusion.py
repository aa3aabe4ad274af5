"""Fused candidates: scores as documented, both ranks kept, one commit, options of both."""

import pickle

import numpy as np
import pytest

from bioqa import (
    BM25Retriever,
    DenseRetriever,
    HybridRetriever,
    Index,
    Pipeline,
    PipelineOptions,
    SearchOptions,
    embed_index,
)
from bioqa.errors import UsageError
from bioqa.index.build import build_index
from bioqa.pipeline.combine import BM25_SPREAD
from bioqa.retrieve.fusion import FUSIONS, fuse
from bioqa.retrieve.retriever import Retriever
from bioqa.types import Found
from tests.index.vector_encoders import TextEncoder
from tests.support import DEMO

QUESTION = "Which gene is mutated in Marfan syndrome?"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "index"
    build_index(path, [DEMO / "demo26n0001.xml", DEMO / "demo26n0002.xml"])
    encoder = TextEncoder()
    embed_index(path, encoder)
    with Index(path) as index:
        yield BM25Retriever(index), DenseRetriever(index, encoder)


WORDS = [("a", 12.0), ("b", 10.0), ("c", 4.0)]
VECTORS = [("c", 0.9), ("d", 0.8), ("a", 0.5)]


@pytest.mark.parametrize(
    ("fusion", "weight", "expected"),
    [
        ("minmax", 0.5, {"a": 0.5 * 1 + 0, "b": 0.5 * 0.75, "c": 0 + 0.5 * 1, "d": 0.5 * 0.75}),
        ("minmax", 0.2, {"a": 0.8, "b": 0.8 * 0.75, "c": 0.2, "d": 0.2 * 0.75}),
        ("rrf", 0.5, {"a": 1 / 61 + 1 / 63, "b": 1 / 62, "c": 1 / 63 + 1 / 61, "d": 1 / 62}),
        ("wsum", 0.5, {"a": 6 + 0.25, "b": 5 + 0.25, "c": 2 + 0.45, "d": 2 + 0.4}),
        ("minmax", 0.0, {"a": 1, "b": 0.75, "c": 0, "d": 0}),
        ("minmax", 1.0, {"c": 1, "d": 0.75, "a": 0, "b": 0}),
    ],
)
def test_scores_are_fused_as_documented(fusion, weight, expected):
    found = fuse({"bm25": WORDS, "dense": VECTORS}, {"bm25": 1 - weight, "dense": weight}, fusion)
    assert dict(found) == pytest.approx(expected)
    assert found == sorted(found, key=lambda one: (-one[1], one[0]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of numba
def test_rrf_and_min_max_are_those_of_ranx():
    ranx = pytest.importorskip("ranx")
    rng = np.random.default_rng(0)
    runs = []
    for name in ("bm25", "dense"):
        ids = [f"d{n:03}" for n in rng.permutation(60)[:40]]
        scores = np.sort(rng.normal(size=40))[::-1]
        runs.append((name, list(zip(ids, scores.tolist(), strict=True))))
    theirs = [ranx.Run({"q": dict(found)}, name=name) for name, found in runs]
    for fusion, ours in (("rrf", "rrf"), ("wsum", "minmax")):
        params = {"k": 60} if fusion == "rrf" else {"weights": (0.5, 0.5)}
        norm = None if fusion == "rrf" else "min-max"
        fused = ranx.fuse(runs=theirs, norm=norm, method=fusion, params=params).to_dict()["q"]
        assert dict(fuse(dict(runs), {"bm25": 0.5, "dense": 0.5}, ours)) == pytest.approx(fused, abs=1e-6)


def test_lists_of_one_score_and_of_none_are_fused():
    one = fuse({"bm25": [("a", 3.0)], "dense": []}, {"bm25": 0.5, "dense": 0.5}, "minmax")
    assert one == [("a", 0.5)]
    assert fuse({"bm25": [], "dense": []}, {"bm25": 0.5, "dense": 0.5}, "wsum") == []


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_candidate_keeps_its_ranks_and_scores_in_both(fusion, parts):
    words, dense = parts
    hybrid = HybridRetriever(words, dense, fusion)
    found = hybrid.search(QUESTION, 30)
    assert isinstance(hybrid, Retriever)
    lists = {"bm25": words.search(QUESTION, 200), "dense": dense.search(QUESTION, 200)}
    expected = fuse(
        {n: [(c.id, c.score) for c in one] for n, one in lists.items()}, {"bm25": 0.5, "dense": 0.5}, fusion
    )
    assert [one.id for one in found] == [id for id, _ in expected[:30]]
    assert [one.score for one in found] == pytest.approx([score for _, score in expected[:30]], rel=1e-6)
    for name, one in lists.items():
        places = {c.id: Found(rank, c.score) for rank, c in enumerate(one, start=1)}
        assert found.found[name] == [places.get(c.id) for c in found]
    assert any(place is None for place in hybrid.search(QUESTION, 250).found["bm25"])
    assert found[3:9].found["dense"] == found.found["dense"][3:9]
    assert pickle.loads(pickle.dumps(found)).found == found.found
    assert [one.id for one in hybrid.articles(found)] == [one.id for one in found]


def test_scores_do_not_depend_on_the_number_of_results(parts):
    hybrid = HybridRetriever(*parts)
    assert list(hybrid.search(QUESTION, 100))[:5] == list(hybrid.search(QUESTION, 5))


def test_searches_alone_and_together_agree(parts):
    hybrid = HybridRetriever(*parts)
    questions = [QUESTION, "sepsis", "zzzz"]
    together = hybrid.search_many(questions, 20)
    assert [list(hybrid.search(question, 20)) for question in questions] == [list(one) for one in together]
    assert len(together[2]) == 20  # no word matches, but vectors do


def test_the_weight_is_the_indexs_unless_given(parts, monkeypatch):
    from dataclasses import replace

    words, dense = parts
    assert HybridRetriever(words, dense).weight == 0.5
    manifest = words.index.manifest
    stored = replace(manifest, vectors=replace(manifest.vectors, fusion_weight=0.3))
    monkeypatch.setattr(type(words.index), "manifest", stored)
    assert HybridRetriever(words, dense).weight == 0.3
    assert HybridRetriever(words, dense, weight=0).weight == 0


def test_weights_0_and_1_rank_as_one_of_them(parts):
    words, dense = parts
    assert [c.id for c in HybridRetriever(words, dense, weight=1).search(QUESTION, 20)] == [
        c.id for c in dense.search(QUESTION, 20)
    ]
    assert [c.id for c in HybridRetriever(words, dense, weight=0).search(QUESTION, 5)] == [
        c.id for c in words.search(QUESTION, 5)
    ]


def test_similar_articles_are_fused_too(parts):
    words, dense = parts
    [article] = words.index.articles_of(words.index.commit, [3])
    found = HybridRetriever(words, dense).similar(article, 10)
    lists = {"bm25": words.similar(article, 200), "dense": dense.similar(article, 200)}
    expected = fuse(
        {n: [(c.id, c.score) for c in one] for n, one in lists.items()}, {"bm25": 0.5, "dense": 0.5}, "minmax"
    )
    assert [one.id for one in found] == [id for id, _ in expected[:10]]
    assert article.id not in {one.id for one in found}


def test_explanations_show_both(parts):
    hybrid = HybridRetriever(*parts)
    text = hybrid.explain(QUESTION, hybrid.search(QUESTION, 1)[0])
    assert text.splitlines()[0].endswith("= minmax of 0.5 × BM25 and 0.5 × dense")
    assert "\nBM25: " in text
    assert "inner product of the vectors" in text


def test_bad_arguments_are_refused(parts):
    words, dense = parts
    for arguments in ({"fusion": "sum"}, {"weight": 1.5}, {"weight": float("nan")}):
        with pytest.raises(UsageError):
            HybridRetriever(words, dense, **arguments)
    with pytest.raises(UsageError, match="--retriever bm25"):
        HybridRetriever(words, dense).search("a AND b", 3, SearchOptions(syntax="lucene"))
    with Index(words.index.path) as other, pytest.raises(UsageError, match="the same Index"):
        HybridRetriever(BM25Retriever(other), dense)


class _Reranker:
    """Scores nothing: for how the pipeline weighs first-stage scores."""

    name, device, threshold = "made", "cpu", None
    first_stage_weight, first_stage_weights = 0.6, {"minmax": 4.0}

    def score_pairs(self):
        raise NotImplementedError


def test_a_weight_chosen_for_bm25_is_not_used_for_fused_scores(parts, monkeypatch):
    words, dense = parts
    weights = {
        name: Pipeline(one, _Reranker()).resolve_options().first_stage_weight
        for name, one in {
            "bm25": words,
            "dense": dense,
            "minmax": HybridRetriever(words, dense),
            "rrf": HybridRetriever(words, dense, "rrf"),
        }.items()
    }
    assert weights == {"bm25": 0.6, "dense": 0.0, "minmax": 4.0, "rrf": 0.0}
    monkeypatch.setattr(_Reranker, "first_stage_weights", {})
    hybrid = Pipeline(HybridRetriever(words, dense), _Reranker())
    assert hybrid.resolve_options().first_stage_weight == pytest.approx(0.6 * BM25_SPREAD)


def test_hits_say_where_they_were_found(parts):
    words, dense = parts
    answer = Pipeline(HybridRetriever(words, dense), None, PipelineOptions(top=5)).answer(QUESTION)
    found = dense.search(QUESTION, 200)
    for hit in answer.hits:
        rank = [one.id for one in found].index(hit.article.id) + 1 if hit.article.id in [c.id for c in found] else None
        assert (hit.first_stage["dense"].rank if "dense" in hit.first_stage else None) == rank
        assert hit.to_dict()["first_stage"].keys() <= {"bm25", "dense"}
    assert "first_stage" not in Pipeline(words).answer(QUESTION).hits[0].to_dict()
