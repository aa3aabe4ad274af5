"""Dense search finds what comparing all vectors finds, among the articles that pass the filters."""

import random
from functools import cache

import numpy as np
import pytest

from bioqa import Article, Candidate, DenseRetriever, Filters, Index, SearchOptions, embed_index
from bioqa.errors import IndexStateError, QuestionError, UsageError
from bioqa.index.build import build_index
from bioqa.retrieve.retriever import Retriever
from tests.index.vector_encoders import TextEncoder
from tests.support import write_jsonl

MANY = 10_500
"""More than are all compared."""
CLUSTERS = 300


class Clustered(TextEncoder):
    """Vectors around ``CLUSTERS`` centres, as real ones are; the number in a text says around which."""

    @cache  # noqa: B019 - the encoder lives as long as the tests
    def vector(self, text):
        centre = np.random.default_rng(int(text.split()[-1]) % CLUSTERS).normal(size=self.info.dimension)
        noise = super().vector(text) * np.sqrt(self.info.dimension) * 0.8
        values = (centre + noise).astype(np.float32)
        return values / np.linalg.norm(values) if self.info.similarity == "cosine" else values


@pytest.fixture(scope="module", params=["cosine", pytest.param("dot", marks=pytest.mark.slow)])
def large(request, tmp_path_factory):
    """An index of ``MANY`` articles in several segments, some replaced, with its encoder."""
    folder = tmp_path_factory.mktemp("large")
    rng = random.Random(0)
    records = [
        {
            "id": str(n),
            "title": f"Gene {n}",
            "text": f"Cell {n}",
            "date": f"{rng.randint(1990, 2020)}",
            "journal": f"J{n % 7}",
        }
        for n in range(MANY)
    ]
    for part in range(3):
        write_jsonl(folder / f"{part}.jsonl", records[part::3])
    write_jsonl(folder / "3.jsonl", [{**one, "title": "Replaced"} for one in records[:100]])
    build_index(folder / "index", [folder / "0.jsonl"], workers=1)
    from bioqa.index.update import update_index

    for part in (1, 2, 3):
        update_index(folder / "index", [folder / f"{part}.jsonl"], compact_above=1)
    encoder = Clustered(dimension=64, similarity=request.param)
    embed_index(folder / "index", encoder)
    with Index(folder / "index") as index:
        yield index, encoder, records


QUESTIONS = [f"question {n * 37}" for n in range(40)]


def brute_force(index, encoder, question, keep=lambda record: True, records=()):
    """Every article's inner product with the question, best first."""
    texts = {r["id"]: ("Replaced" if int(r["id"]) < 100 else r["title"]) + "\n" + r["text"] for r in records if keep(r)}
    vectors = np.array([encoder.vector(text) for text in texts.values()])
    scores = vectors @ encoder.vector(question)
    return sorted(zip(texts, scores.tolist(), strict=True), key=lambda one: (-one[1], one[0]))


def recall(found, best):
    return len({one.id for one in found} & {id for id, _ in best}) / len(best)


def test_exact_search_is_brute_force(large):
    index, encoder, records = large
    retriever = DenseRetriever(index, encoder, exact=True)
    for question in QUESTIONS[:5]:
        best = brute_force(index, encoder, question, records=records)[:100]
        found = retriever.search(question, 100)
        assert [one.score for one in found] == pytest.approx([score for _, score in best], abs=1e-4)
        assert recall(found, best) >= 0.99


def test_the_graph_finds_nearly_all_of_the_nearest(large):
    index, encoder, _ = large
    exact, graph = DenseRetriever(index, encoder, exact=True), DenseRetriever(index, encoder)
    recalls = []
    for one, other in zip(graph.search_many(QUESTIONS, 100), exact.search_many(QUESTIONS, 100), strict=True):
        recalls.append(len({c.id for c in one} & {c.id for c in other}) / 100)
        scores = {c.id: c.score for c in other}
        assert all(c.score == scores[c.id] for c in one if c.id in scores)
    assert np.mean(recalls) >= 0.98


def test_searches_alone_and_together_agree(large):
    index, encoder, _ = large
    retriever = DenseRetriever(index, encoder)
    together = retriever.search_many(QUESTIONS[:6], 20)
    assert [list(retriever.search(question, 20)) for question in QUESTIONS[:6]] == [list(one) for one in together]
    assert retriever.search_many([], 3) == []


@pytest.mark.parametrize(
    ("filters", "keep"),
    [
        (Filters(journal=("J3",)), lambda r: r["journal"] == "J3"),
        (Filters(since="2000", until="2015"), lambda r: "2000" <= r["date"] <= "2015"),
        (Filters(since="2019", journal=("J1",)), lambda r: r["date"] >= "2019" and r["journal"] == "J1"),
    ],
    ids=["few", "many", "very few"],
)
def test_filters_hold(filters, keep, large):
    index, encoder, records = large
    retriever = DenseRetriever(index, encoder)
    passing = {record["id"] for record in records if keep(record)}
    recalls = []
    for question in QUESTIONS[:10]:
        found = retriever.search(question, 50, SearchOptions(filters=filters))
        assert {one.id for one in found} <= passing
        recalls.append(recall(found, brute_force(index, encoder, question, keep, records)[:50]))
    assert np.mean(recalls) >= 0.98


def test_a_filter_that_nothing_passes_finds_nothing(large):
    index, encoder, _ = large
    retriever = DenseRetriever(index, encoder)
    assert list(retriever.search("question 1", 5, SearchOptions(filters=Filters(journal=("none",))))) == []


def test_equal_scores_are_in_the_order_of_their_ids(tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"id": str(n), "title": "Same", "text": "text"} for n in (3, 20, 1, 10, 2)])
    build_index(tmp_path / "index", [tmp_path / "c.jsonl"])
    encoder = TextEncoder()
    embed_index(tmp_path / "index", encoder)
    with Index(tmp_path / "index") as index:
        found = DenseRetriever(index, encoder).search("question", 3)
        assert [one.id for one in found] == ["1", "10", "2"]
        assert found[0].score == pytest.approx(
            float(encoder.vector("question") @ encoder.vector("Same\ntext")), abs=1e-6
        )
        assert isinstance(DenseRetriever(index, encoder), Retriever)


def test_negative_scores_are_ranked_and_explained(demo_vectors):
    index, encoder = demo_vectors
    retriever = DenseRetriever(index, encoder)
    found = retriever.search("Which gene is mutated in Marfan syndrome?", 400)
    scores = [one.score for one in found]
    assert len(found) == len(index)
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0 < scores[0]
    for one in (found[0], found[-1]):
        text = retriever.explain("Which gene is mutated in Marfan syndrome?", one)
        assert text.startswith(f"{one.score:.6f} = inner product of the vectors (16 dimensions, made)")


def test_an_article_without_a_vector_is_explained(tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"id": str(n), "title": f"T {n}", "text": "text"} for n in range(3)])
    build_index(tmp_path / "index", [tmp_path / "c.jsonl"])
    encoder = TextEncoder(without=["1"])
    embed_index(tmp_path / "index", encoder)
    with Index(tmp_path / "index") as index:
        retriever = DenseRetriever(index, encoder)
        assert [one.id for one in sorted(retriever.search("q", 9))] == ["0", "2"]
        assert retriever.explain("q", Candidate("1", 0.0, 1)) == "1 has no vector."


@pytest.fixture(scope="module")
def demo_vectors(tmp_path_factory):
    from tests.support import DEMO

    path = tmp_path_factory.mktemp("demo") / "index"
    build_index(path, [DEMO / "demo26n0001.xml", DEMO / "demo26n0002.xml"])
    encoder = TextEncoder()
    embed_index(path, encoder)
    with Index(path) as index:
        yield index, encoder


def test_the_rest_is_as_with_bm25(demo_vectors):
    from bioqa import BM25Retriever

    index, encoder = demo_vectors
    dense, words = DenseRetriever(index, encoder), BM25Retriever(index)
    options = SearchOptions(filters=Filters(mesh=("Nothing at all",)))
    assert dense.snapshot() == words.snapshot()
    assert dense.unknown_filter_values(options) == words.unknown_filter_values(options)
    assert dense.missing_field_counts("gene", options) == words.missing_field_counts(None, options)
    found = dense.search("gene", 3)
    assert [one.id for one in dense.articles(found)] == [one.id for one in found]
    assert dense.get_many([found[0].id, "none"])[1] is None
    assert dense.facets("gene", ["type"]) == words.facets("gene", ["type"])


def test_the_date_of_entry_retractions_and_missing_abstracts_hold(demo_vectors):
    index, encoder = demo_vectors
    retriever = DenseRetriever(index, encoder)
    every = {one.id: one for one in index.articles_of(index.commit, [c.key for c in retriever.search("gene", 400)])}

    def found(**filters):
        return {one.id for one in retriever.search("gene", 400, SearchOptions(filters=Filters(**filters)))}

    entered = sorted(one.entered for one in every.values() if one.entered)
    assert entered
    middle = entered[len(entered) // 2]
    assert found(as_of=middle) == {id for id, one in every.items() if one.entered and one.entered <= middle}
    assert found(has_abstract=True) == {id for id, one in every.items() if one.abstract}
    retracted = {id for id, one in every.items() if "retracted" in one.marks}
    assert retracted
    assert not found(exclude_retracted=True) & retracted
    assert len(found(exclude_retracted=True)) > 250


def test_similar_articles_are_the_nearest_ones_without_itself(demo_vectors):
    index, encoder = demo_vectors
    retriever = DenseRetriever(index, encoder)
    [article] = index.articles_of(index.commit, [3])
    found = retriever.similar(article, 5)
    vector = encoder.vector(article.default_text())
    assert article.id not in {one.id for one in found}
    for candidate, other in zip(found, retriever.articles(found), strict=True):
        assert candidate.score == pytest.approx(float(vector @ encoder.vector(other.default_text())), abs=1e-5)
    with pytest.raises(UsageError, match="none has no vector"):
        retriever.similar(Article("none", "A title", ""), 5)


def test_what_vectors_cannot_search_is_refused(demo_vectors):
    index, encoder = demo_vectors
    retriever = DenseRetriever(index, encoder)
    with pytest.raises(UsageError, match="--retriever bm25"):
        retriever.search("gene AND cell", 3, SearchOptions(syntax="lucene"))
    with pytest.raises(QuestionError, match="half a character"):
        retriever.search("a \ud800 gene")
    with pytest.raises(UsageError, match="k must be at least 1"):
        retriever.search("gene", 0)
    with pytest.raises(UsageError, match="encoder must be an Encoder, not 'default'"):
        DenseRetriever(index, "default")
    with pytest.raises(IndexStateError, match="not the same as other now"):
        DenseRetriever(index, TextEncoder("other"))


def test_an_index_that_gets_other_vectors_while_open_is_noticed(tmp_path):
    write_jsonl(tmp_path / "c.jsonl", [{"id": "1", "title": "A", "text": "text"}])
    build_index(tmp_path / "index", [tmp_path / "c.jsonl"])
    embed_index(tmp_path / "index", TextEncoder())
    with Index(tmp_path / "index") as index:
        retriever = DenseRetriever(index, TextEncoder())
        embed_index(tmp_path / "index", TextEncoder("other", dimension=8))
        assert retriever.search("q", 1)[0].id == "1"
        index.refresh()
        with pytest.raises(IndexStateError, match="were made by other"):
            retriever.search("q", 1)
