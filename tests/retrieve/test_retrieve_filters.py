"""Filters on authors, major topics, abstracts and the day of entry into PubMed, and headings that stand for narrower ones."""

from dataclasses import replace

import pytest

from bioqa import BM25Retriever, Index, MemoryRetriever, PipelineOptions, SearchOptions
from bioqa.errors import UsageError
from bioqa.index.build import build_index
from bioqa.index.filters import Filters
from tests.support import write_jsonl

ROWS = [
    {
        "id": "1", "title": "Asthma", "text": "Asthma in adults.", "entered": "2019-03-04",
        "mesh": ["Asthma", "Asthma/drug therapy"],
        "major_topics": ["Asthma", "Asthma/drug therapy"],
        "authors": [{"last": "Müller", "fore": "Jörg Anton", "initials": "JA"}, {"collective": "Asthma Study Group"}],
    },
    {
        "id": "2", "title": "Asthma at work", "text": "Asthma again.", "entered": "2019-03-31",
        "mesh": ["Asthma, Occupational", "Asthma"],
        "major_topics": ["Asthma, Occupational", "Asthma, Occupational/drug therapy"], "authors": ["Smith J"],
    },
    {
        "id": "3", "title": "Asthma, no abstract", "text": "", "entered": "2020-01-01", "mesh": ["Lung Diseases"],
        "authors": ["Smithson JA"],
    },
    {"id": "4", "title": "Undated asthma", "text": "Nothing else is known."},
]  # fmt: skip


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("filters")
    build_index(folder / "index", [write_jsonl(folder / "corpus.jsonl", ROWS)])
    return folder / "index"


@pytest.fixture
def retriever(path):
    with Index(path) as index:
        yield BM25Retriever(index)


def options(**filters):
    return SearchOptions(filters=Filters(**filters))


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"author": ["müller"]}, "1"),
        ({"author": ["MULLER"]}, "1"),
        ({"author": ["Muller J"]}, "1"),
        ({"author": ["Müller JA"]}, "1"),
        ({"author": ["Muller Jorg Anton"]}, "1"),
        ({"author": ["Müller A"]}, ""),
        ({"author": ["Mull"]}, ""),
        ({"author": ["asthma study group"]}, "1"),
        ({"author": ["smith"]}, "2"),
        ({"author": ["Smith J", "Smithson"]}, "23"),
        ({"major_topic": ["ASTHMA"]}, "1"),
        ({"major_topic": ["asthma/drug therapy"]}, "1"),
        ({"major_topic": ["Asthma, Occupational", "Asthma"]}, "12"),
        ({"has_abstract": True}, "124"),
        ({"has_abstract": True, "author": ["Smith", "Smithson"]}, "2"),
        ({"as_of": "2018"}, ""),
        ({"as_of": "2019-03-03"}, ""),
        ({"as_of": "2019-03-04"}, "1"),
        ({"as_of": "2019-03"}, "12"),
        ({"as_of": "2019-03-30"}, "1"),
        ({"as_of": "2019"}, "12"),
        ({"as_of": "2020-01-01"}, "123"),
        ({"as_of": "9999"}, "123"),
        ({"mesh": ["Asthma"], "narrower": [("Lung Diseases", "Asthma")]}, "12"),
        ({"mesh": ["lung diseases"], "narrower": [("Lung Diseases", "Asthma", "Asthma, Occupational")]}, "123"),
        ({"major_topic": ["Asthma/drug therapy"], "narrower": [("Asthma", "Asthma, Occupational")]}, "12"),
        ({"mesh": ["Asthma/drug therapy"], "narrower": [("Asthma", "Asthma, Occupational")]}, "1"),
        ({"major_topic": ["Asthma, Occupational"], "narrower": [("Asthma", "Lung Diseases")]}, "2"),
    ],
    ids=str,
)
def test_filters_keep_what_matches(retriever, filters, ids):
    assert set(retriever.search("asthma", 9, options(**filters)).ids) == set(ids)


def test_the_scores_stay_the_same(retriever):
    scores = {hit.id: hit.score for hit in retriever.search("asthma", 9)}
    for filters in ({"as_of": "2020"}, {"has_abstract": True}, {"author": ("Smith",)}):
        for hit in retriever.search("asthma", 9, options(**filters)):
            assert hit.score == scores[hit.id]


@pytest.mark.parametrize(
    ("filters", "missing"),
    [
        ({"as_of": "2030"}, [("entered", 1)]),
        ({"as_of": "2030", "since": "2000"}, [("date", 3)]),
        ({"author": ["Smith"]}, [("author", 1)]),
        ({"major_topic": ["Asthma"]}, [("major_topic", 2)]),
        ({"major_topic": ["Asthma"], "has_abstract": True}, [("major_topic", 1)]),
        ({"has_abstract": True, "exclude_retracted": True}, []),
    ],
    ids=str,
)
def test_articles_that_lack_the_field_are_counted(retriever, filters, missing):
    assert retriever.missing_field_counts("asthma", options(**filters)) == missing


def test_a_heading_is_known_if_it_or_a_narrower_one_is(retriever):
    def unknown(*narrower):
        found = retriever.unknown_filter_values(options(mesh=["Respiratory Diseases"], narrower=narrower))
        return [(one.field, one.value) for one in found]

    assert unknown() == [("mesh", "respiratory diseases")]
    assert unknown(("Respiratory Diseases", "Pneumonia")) == [("mesh", "respiratory diseases")]
    assert unknown(("Respiratory Diseases", "Pneumonia", "Asthma")) == []


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"as_of": "soon"}, "'soon' is not a date"),
        ({"as_of": "2023-02-29"}, "that month has 28 days"),
        ({"author": [" "]}, "The author filter is empty"),
        ({"major_topic": "Asthma"}, "Filters.major_topic must be a list"),
        ({"narrower": [("Asthma", 1)]}, "must be text"),
    ],
)
def test_invalid_filters_are_refused(filters, message):
    with pytest.raises(UsageError, match=message):
        Filters(**filters)


def test_options_of_an_answer_have_every_filter():
    filters = Filters(as_of="2020", author=["Smith"], has_abstract=True, narrower=[["Asthma", "Wheezing"]])
    shown = PipelineOptions(search=SearchOptions(filters=filters)).to_dict()["search"]["filters"]
    assert (shown["as_of"], shown["author"], shown["has_abstract"]) == ("2020", ("Smith",), True)
    assert Filters(**shown) == filters
    assert hash(filters) == hash(replace(filters, as_of="2020"))


@pytest.mark.parametrize(
    ("filters", "name"),
    [
        ({"as_of": "2020"}, "--as-of"),
        ({"author": ["x"]}, "--author"),
        ({"major_topic": ["x"]}, "--major-topic"),
        ({"has_abstract": True}, "--has-abstract"),
        ({"exclude_retracted": True}, "--exclude-retracted"),
    ],
)
def test_in_memory_there_are_no_filters(filters, name):
    from bioqa import Article

    with pytest.raises(UsageError, match=f"{name} needs an index"):
        MemoryRetriever([Article("1", "Asthma", "")]).search("asthma", 1, options(**filters))


def test_info_has_the_first_and_the_last_day_of_entry(path, corpus, tmp_path):
    with Index(path) as index:
        assert (index.info().first_entered, index.info().last_entered) == ("2019-03-04", "2020-01-01")
    build_index(tmp_path / "index", [corpus])
    with Index(tmp_path / "index") as index:
        assert (index.info().first_entered, index.info().last_entered) == ("", "")
