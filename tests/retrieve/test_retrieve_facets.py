"""Facets: counts over all matching articles, from one segment or several, and the values of a field."""

import json
import random
from collections import Counter

import pytest

from bioqa import (
    Article,
    BM25Retriever,
    Index,
    MemoryRetriever,
    Pipeline,
    PipelineOptions,
    SearchOptions,
    read_questions,
)
from bioqa.errors import UsageError
from bioqa.index.document import FACETS, to_row
from bioqa.index.filters import Filters
from bioqa.index.jvm import java
from bioqa.index.manifest import Manifest
from bioqa.index.shard import open_shard
from bioqa.index.writer import commit
from bioqa.types import Author
from tests.support import DEMO

QUESTION = "heart disease"


def made_articles(count, rng):
    """Articles about the heart, a disease or neither, with values that are skewed as real ones are."""
    names = [f"Name{n}" for n in range(300)]
    weights = [1 / (n + 1) for n in range(300)]
    return [
        Article(
            str(number),
            "A study",
            rng.choice(["the heart", "a disease", "heart disease", "nothing"]),
            journal=rng.choice(["Gut", "Thorax", "Heart", ""]),
            date=rng.choice(["", "2019", "2019-03", "2021-01-02", "1998"]),
            mesh=tuple({*rng.choices(names, weights, k=6), "Humans", "Humans/genetics"}),
            publication_types=rng.choice([(), ("Review",), ("Review", "Letter")]),
            languages=("eng",),
            authors=tuple(Author(name, "", "J") for name in rng.choices(names, weights, k=4)),
            major_topics=("Humans",) if number % 3 else (),
        )
        for number in range(count)
    ]


def write_segments(folder, articles, sizes):
    """An index of the articles with a segment for each size."""
    position = 0
    with open_shard(folder, 16) as writer:
        for size in sizes:
            part = articles[position : position + size]
            rows = [value for article in part for value in to_row(article)]
            java("bioqa.DocumentWriter").add(writer, rows, position)
            position += size
            commit(writer, Manifest(documents=len(articles), state="complete"))
    assert position == len(articles)


def expected_facets(articles, top):
    """Counts by a second way: over the articles' own fields."""
    counts = {name: Counter() for name in FACETS}
    for article in articles:
        counts["year"].update([article.date[:4]] if article.date else [])
        counts["journal"].update([article.journal] if article.journal else [])
        counts["mesh"].update({heading for heading in article.mesh if "/" not in heading})
        counts["type"].update(set(article.publication_types))
        counts["language"].update(set(article.languages))
        counts["author"].update({str(author) for author in article.authors})
    found = {name: sorted(one.items(), key=lambda pair: (-pair[1], pair[0]))[:top] for name, one in counts.items()}
    return {**found, "year": sorted(counts["year"].items())}


@pytest.mark.parametrize("sizes", [[600], [300, 200, 99, 1], [1] * 30 + [570]], ids=str)
@pytest.mark.parametrize("top", [1, 3, 10, 1000])
def test_counts_are_exact_for_any_number_of_segments(tmp_path, sizes, top):
    articles = made_articles(600, random.Random(len(sizes)))
    write_segments(tmp_path / "index", articles, sizes)
    matching = [article for article in articles if article.abstract != "nothing"]
    expected = expected_facets(matching, top)
    for threads in (1, 3):
        with Index(tmp_path / "index", threads=threads) as index:
            assert BM25Retriever(index).facets(QUESTION, FACETS, values=top) == expected
    assert MemoryRetriever(articles).facets(QUESTION, FACETS, values=top) == expected


def test_few_matches_among_many_values_are_counted_too(tmp_path):
    articles = [
        Article(str(n), "rare" if n % 500 == 0 else "usual", "", authors=(Author(f"A{n}"), Author("B")))
        for n in range(2000)
    ]
    write_segments(tmp_path / "index", articles, [1200, 800])
    with Index(tmp_path / "index") as index:
        found = BM25Retriever(index).facets("rare", ["author"], values=3)
    assert found == {"author": [("B", 4), ("A0", 1), ("A1000", 1)]}


def test_only_articles_that_pass_the_filters_count(demo_index):
    question = read_questions(DEMO / "questions.json")[0].body
    options = SearchOptions(filters=Filters(since="2020", type=("Review",)))
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        found = retriever.facets(question, ["year", "type"], options)
        hits = retriever.articles(retriever.search(question, 1000, options))
    assert found["year"] == sorted(Counter(article.date[:4] for article in hits).items())
    assert dict(found["type"])["Review"] == len(hits) > 10


def test_no_match_has_no_counts(demo_index):
    with Index(demo_index) as index:
        assert BM25Retriever(index).facets("the of", FACETS) == {name: [] for name in FACETS}


def test_deleted_articles_do_not_count(demo_index):
    with Index(demo_index) as index:
        assert index.info().deleted > 0
        everything = [
            index.get(id) for id in BM25Retriever(index).search("*:*", 1000, SearchOptions(syntax="lucene")).ids
        ]
        found = BM25Retriever(index).facets("*:*", FACETS, SearchOptions(syntax="lucene"), 5)
    assert len(everything) == 320
    assert found == expected_facets(everything, 5)


@pytest.mark.parametrize(("fields", "values"), [(["years"], 10), (["year"], 0), ("year", 10), ([3], 10)])
def test_unknown_facets_are_refused(fields, values):
    with pytest.raises(UsageError):
        MemoryRetriever([Article("1", "a", "b")]).facets("a", fields, values=values)
    with pytest.raises(UsageError):
        PipelineOptions(facets=fields, facet_values=values)


def test_an_unknown_facet_lists_those_there_are(bioqa, demo_index):
    done = bioqa("search", demo_index, "gene", "--no-rerank", "--facets", "year,mood")
    assert done.code == 2
    assert "Unknown facet 'mood'. Choose from year, journal, mesh, type, language, author." in done.err
    refused = bioqa("search", demo_index, "--questions", DEMO / "questions.json", "--run", "-", "--facets", "year")
    assert refused.code == 2
    assert "--run and --facets" in refused.err


def test_an_answer_has_the_facets_asked_for(bioqa, demo_index):
    with Index(demo_index) as index:
        retriever = BM25Retriever(index)
        expected = retriever.facets("gene", ["type", "year"], values=2)
        answer = Pipeline(retriever, None, PipelineOptions(facets=("type", "year", "type"), facet_values=2)).answer(
            "gene"
        )
        assert answer.facets == expected
        assert "facets" in answer.timings
        assert Pipeline(retriever).answer("gene").facets == {}
    ask = ("search", demo_index, "gene", "--no-rerank", "--facets", "type, year", "--facet-values", 2)
    record = json.loads(bioqa(*ask, "--json").out)
    assert record["facets"] == {name: [list(one) for one in counts] for name, counts in expected.items()}
    lines = bioqa(*ask).out.splitlines()
    [(best, count), *_] = expected["type"]
    assert lines[-2].startswith(f"type  {best} ({count:,}) · ")
    assert lines[-1].startswith("year  ")


def test_the_values_of_a_field_are_listed(bioqa, demo_index, tmp_path):
    with Index(demo_index) as index:
        everything = [
            index.get(id) for id in BM25Retriever(index).search("*:*", 1000, SearchOptions(syntax="lucene")).ids
        ]
        counts = Counter(heading for article in everything for heading in article.mesh if "/" not in heading)
        order = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        assert index.values("mesh", top=1000) == order
        assert index.values("mesh", "DIAB", top=3) == [pair for pair in order if pair[0].startswith("Diab")][:3]
        for wrong in ({"field": "year"}, {"field": "mesh", "top": 0}, {"field": "mesh", "prefix": 3}):
            with pytest.raises(UsageError):
                index.values(**wrong)
    value, count = order[0]
    done = bioqa("index", "values", demo_index, "mesh", "--top", 1)
    assert (done.out, "--top shows more" in done.err) == (f"{count}  {value}\n", True)
    listed = json.loads(bioqa("index", "values", demo_index, "mesh", "--top", 1000, "--json").out)
    assert listed == [{"value": value, "articles": count} for value, count in order]
    none = bioqa("index", "values", demo_index, "journal", "--prefix", "zzz")
    assert (none.out, "begins with 'zzz'" in none.err) == ("", True)


def test_the_values_of_major_topics_are_those_of_living_articles(tmp_path, bioqa):
    articles = [
        Article(str(n), "x", "", major_topics=(("Asthma", "Athens") if n % 2 else ("Gout",))) for n in range(10)
    ]
    write_segments(tmp_path / "index", articles, [4, 6])
    with Index(tmp_path / "index") as index:
        assert index.values("major_topic") == [("asthma", 5), ("athens", 5), ("gout", 5)]
        assert index.values("major_topic", "A", 1) == [("asthma", 5)]
    assert bioqa("index", "values", tmp_path / "index", "major-topic", "--prefix", "g").out == "5  gout\n"


@pytest.mark.parametrize(
    ("value", "nearest"),
    [
        ("asthna", "asthma"),  # one edit
        ("ashtma", "asthma"),  # a transposition is one edit
        ("diabtes melitus", "diabetes mellitus"),
        ("diabetes", "diabetes mellitus"),  # the most frequent beginning
        ("gut", "gout"),
        ("go", "gout"),  # too short for an edit
        ("got it", ""),
        ("gou", "gout"),
        ("zebra", ""),
        ("x" * 5000, ""),
    ],
)
def test_a_value_that_no_article_has_suggests_the_nearest(tmp_path, value, nearest):
    headings = [
        "Asthma",
        "Gout",
        "Diabetes Insipidus",
        "Diabetes Mellitus",
        "Diabetes Mellitus",
        "Diabetes Mellitus, Type 2",
    ]
    write_segments(
        tmp_path / "index", [Article(str(n), "x", "", mesh=(one,)) for n, one in enumerate(headings)], [3, 3]
    )
    with Index(tmp_path / "index") as index:
        options = SearchOptions(filters=Filters(mesh=("gout", value)))
        assert BM25Retriever(index).unknown_filter_values(options) == [("mesh", value, nearest)]


def test_the_search_command_suggests_the_nearest_value(bioqa, demo_index):
    done = bioqa("search", demo_index, "gene", "--no-rerank", "--mesh", "Marfan syndrom")
    assert "No article in the index has the MeSH heading 'marfan syndrom'. Did you mean 'marfan syndrome'?" in done.err
