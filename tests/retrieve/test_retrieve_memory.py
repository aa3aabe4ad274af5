"""BM25 in memory: ranks as Lucene does, and supports bags of words only."""

import pickle

import pytest

from bioqa import Article, BM25Retriever, Index, MemoryRetriever, SearchOptions, build_index, read_questions
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import SourceError, UsageError
from bioqa.index.filters import Filters
from bioqa.index.update import compact_index
from tests.support import DEMO


def test_memory_ranks_and_scores_as_lucene_does(tmp_path):
    sources = [DEMO / name for name in ("demo26n0001.xml", "demo26n0002.xml")]
    build_index(tmp_path / "index", sources)
    compact_index(tmp_path / "index")  # deleted documents would count
    memory = MemoryRetriever(r for source in sources for r in read_source(expand_sources([source])[0]))
    questions = read_questions(DEMO / "questions.json")
    with Index(tmp_path / "index") as index:
        assert len(memory) == len(index)
        retriever = BM25Retriever(index)
        for question in questions:
            ours, lucene = memory.search(question.body, 10), retriever.search(question.body, 10)
            assert [hit.id for hit in ours] == lucene.ids
            assert [hit.score for hit in ours] == pytest.approx(list(lucene.scores), rel=1e-6)


def test_memory_returns_articles_and_needs_one(corpus):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]), "four articles")
    hits = memory.search("Which gene causes cystic fibrosis?", 2)
    assert [hit.id for hit in hits] == ["1", "2"]
    assert memory.articles(hits)[0].title == "Cystic fibrosis"
    third, none = memory.get_many(["3", "9"])
    assert (third.title, none) == ("Statins", None)
    assert memory.search("the of and", 5) == []
    assert memory.search_many(["cystic fibrosis", "the of"], 1) == [memory.search("cystic fibrosis", 1), []]
    assert (memory.snapshot().name, memory.snapshot().documents) == ("four articles", 4)
    with pytest.raises(SourceError, match="no articles"):
        MemoryRetriever([])


def test_equal_scores_are_in_the_order_of_the_ids_bytes():
    ids = ["9", "10", "𝒳", "\uff61", "é", "a"]  # UTF-16 would order 𝒳 before the half-width mark
    memory = MemoryRetriever([Article(id, "Cystic fibrosis", "") for id in ids])
    ordered = ["10", "9", "a", "é", "\uff61", "𝒳"]
    assert [hit.id for hit in memory.search("fibrosis")] == ordered
    assert [hit.id for hit in memory.search("fibrosis", 2)] == ordered[:2]
    assert [article.id for article in memory.articles(memory.search("fibrosis"))] == ordered


def test_a_memory_retriever_can_be_pickled(corpus):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]), "four articles")
    hits = memory.search("cystic fibrosis gene")
    copy = pickle.loads(pickle.dumps(memory))
    assert copy.search("cystic fibrosis gene") == hits
    assert copy.snapshot() == memory.snapshot()


def test_k1_and_b_change_the_scores_in_memory(corpus):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]))
    question = "Which gene causes cystic fibrosis?"
    first = memory.search(question, 1)
    assert memory.search(question, 1, SearchOptions(k1=2.0, b=1.0))[0].score != first[0].score
    assert memory.search(question, 1) == first


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (SearchOptions(syntax="lucene"), "--syntax"),
        (SearchOptions(title_weight=1.0), "--title-weight"),
        (SearchOptions(rm3=True), "--rm3"),
        (SearchOptions(filters=Filters(mesh=("Asthma",))), "--mesh"),
    ],
)
def test_options_that_need_an_index_are_refused_in_memory(corpus, options, name):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]))
    for refused in (lambda: memory.search("gene", 1, options), lambda: memory.check_options(options)):
        with pytest.raises(UsageError, match=rf"{name} needs an index"):
            refused()


def test_scores_in_memory_cannot_be_explained(corpus):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]))
    with pytest.raises(UsageError, match="in-memory"):
        memory.explain("gene", memory.search("gene")[0])


def test_memory_finds_most_of_the_similar_articles_that_lucene_finds(demo_index):
    records = [
        r for name in ("demo26n0001.xml", "demo26n0002.xml") for r in read_source(expand_sources([DEMO / name])[0])
    ]
    memory = MemoryRetriever(records)
    shared = 0
    ids = [f"990000{number}" for number in (10, 20, 38, 55, 70, 88)]
    with Index(demo_index) as index:
        for article in map(index.get, ids):
            ours = [hit.id for hit in memory.similar(article, 5)]
            assert len(ours) == 5
            assert article.id not in ours
            shared += len({*ours} & {*BM25Retriever(index).similar(article, 5).ids})
    assert shared >= 0.5 * 5 * len(ids)


def test_similar_articles_in_memory_have_no_filters_and_nothing_for_an_empty_article(corpus):
    memory = MemoryRetriever(read_source(expand_sources([corpus])[0]))
    assert memory.similar(Article("x", "", ""), 3) == []
    assert [hit.id for hit in memory.similar(Article("x", "CFTR", ""), 3)] == ["1"]
    assert memory.similar(memory.get("1"), 3)[0].id == "2"
    with pytest.raises(UsageError, match="needs an index"):
        memory.similar(memory.get("1"), 3, SearchOptions(filters=Filters(since="2020")))
