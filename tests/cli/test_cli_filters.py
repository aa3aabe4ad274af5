"""The first stage's options on the command line, and its reports on articles excluded for want of a field."""

import json
import random

import pytest

from bioqa import BM25Retriever, Index, SearchOptions
from bioqa.index.filters import Filters
from tests.support import DEMO

MARFAN = "Which gene is mutated in Marfan syndrome?"
BM25 = ("--no-rerank", "--json", "--top", 400)


def found(path, question, options, k=400):
    """The ids that the retriever itself finds."""
    with Index(path) as index:
        return [candidate.id for candidate in BM25Retriever(index).search(question, k, options)]


def ids(done):
    assert done.code == 0, done.err
    return [hit["id"] for line in done.out.splitlines() for hit in json.loads(line)["hits"]]


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        (["--since", "2024"], Filters(since="2024")),
        (["--since", "2022-04", "--until", "2022-12-31"], Filters(since="2022-04", until="2022-12-31")),
        (["--mesh", "marfan syndrome", "--mesh", "Heart Failure"], Filters(mesh=("marfan syndrome", "Heart Failure"))),
        (["--type", "Review", "--language", "eng"], Filters(type=("Review",), language=("eng",))),
        (["--journal", "demo journal of heart failure"], Filters(journal=("demo journal of heart failure",))),
        (["--author", "peeters h"], Filters(author=("peeters h",))),
        (["--major-topic", "marfan syndrome"], Filters(major_topic=("marfan syndrome",))),
        (["--as-of", "2022-04"], Filters(as_of="2022-04")),
        (["--has-abstract"], Filters(has_abstract=True)),
    ],
)
def test_each_filter_reaches_the_search(bioqa, demo_index, options, filters):
    expected = found(demo_index, MARFAN, SearchOptions(filters=filters))
    assert ids(bioqa("search", demo_index, MARFAN, *options, *BM25)) == expected
    assert 0 < len(expected) < len(ids(bioqa("search", demo_index, MARFAN, *BM25)))


LIVER = "circulating miR-122 acute liver injury"
RETRACTED, CORRECTED = "99000301", "99000284"


def test_retracted_articles_are_marked_or_left_out(bioqa, demo_index):
    every = ids(bioqa("search", demo_index, LIVER, *BM25))
    assert every[0] == RETRACTED
    assert ids(bioqa("search", demo_index, LIVER, *BM25, "--exclude-retracted")) == every[1:]
    shown = bioqa("search", demo_index, LIVER, "--no-rerank", "--top", 1).out
    assert "Retracted (PMID 99000407)" in shown
    assert "Retracted (PMID 99000407)" in bioqa("show", demo_index, RETRACTED).out
    assert "Corrected (PMID 99000408)" in bioqa("show", demo_index, CORRECTED).out
    hit = json.loads(bioqa("search", demo_index, LIVER, *BM25).out)["hits"][0]
    assert hit["marks"] == {"retracted": ["99000407"]}
    assert json.loads(bioqa("show", demo_index, CORRECTED, "--json").out)["marks"] == {"corrected": ["99000408"]}
    corpus = bioqa("search", "--corpus", DEMO, "corrected bisulfite sequencing", "--no-rerank", "--top", 50).out
    assert "Corrected (PMID 99000408)" in corpus


def test_a_mesh_tree_adds_narrower_headings(bioqa, demo_index, tmp_path):
    tree = "".join(
        f"<DescriptorRecord><DescriptorName><String>{name}</String></DescriptorName><TreeNumberList><TreeNumber>{number}"
        "</TreeNumber></TreeNumberList></DescriptorRecord>"
        for name, number in (("Connective Tissue Diseases", "C17.300"), ("Marfan Syndrome", "C17.300.500"))
    )
    (tmp_path / "desc.xml").write_text(f"<DescriptorRecordSet>{tree}</DescriptorRecordSet>")
    broad = ("--mesh", "connective tissue diseases")
    done = bioqa("search", demo_index, MARFAN, *broad, "--mesh-tree", tmp_path / "desc.xml", *BM25)
    assert ids(done) == ids(bioqa("search", demo_index, MARFAN, "--mesh", "Marfan Syndrome", *BM25)) != []
    assert "No article in the index has" not in done.err
    assert json.loads(done.out)["options"]["search"]["filters"]["narrower"] == [
        ["Connective Tissue Diseases", "Marfan Syndrome"]
    ]
    without = bioqa("search", demo_index, MARFAN, *broad, *BM25)
    assert ids(without) == []
    assert "No article in the index has the MeSH heading 'connective tissue diseases'" in without.err
    unknown = bioqa("search", demo_index, MARFAN, "--mesh", "Marfans", "--mesh-tree", tmp_path / "desc.xml", *BM25)
    assert (unknown.code, unknown.out) == (2, "")
    assert "desc.xml has no MeSH heading 'Marfans'. The nearest is 'Marfan Syndrome'" in unknown.err


def test_articles_without_a_day_of_entry_are_reported(bioqa, corpus, tmp_path):
    bioqa("index", "build", tmp_path / "index", corpus)
    done = bioqa("search", tmp_path / "index", "fibrosis", "--as-of", "2020", "--no-rerank")
    assert "1 matching article has no date of entry into PubMed and was excluded by --as-of." in done.err
    assert "Entered    unknown" in bioqa("index", "info", tmp_path / "index").out


def test_info_tells_when_citations_entered_pubmed(bioqa, demo_index):
    with Index(demo_index) as index:
        days = sorted(article.entered for article in index.sample(len(index), random.Random(1)))
    facts = json.loads(bioqa("index", "info", demo_index, "--json").out)
    assert (facts["first_entered"], facts["last_entered"]) == (days[0], days[-1])
    assert f"{days[0]} to {days[-1]} (when" in bioqa("index", "info", demo_index).out


def test_articles_excluded_for_want_of_mesh_are_reported_on_standard_error(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--mesh", "Marfan Syndrome", "--no-rerank")
    options = SearchOptions(filters=Filters(mesh=("Marfan Syndrome",)))
    with Index(demo_index) as index:
        [(_, count)] = BM25Retriever(index).missing_field_counts(MARFAN, options)
    assert count > 5
    assert (
        f"{count} matching articles have no MeSH heading and were excluded by --mesh; the newest articles" in done.err
    )
    assert "excluded" not in bioqa("search", demo_index, MARFAN, "--no-rerank").err


def test_with_a_file_of_questions_they_are_counted_in_the_whole_index(bioqa, demo_index, tmp_path):
    done = bioqa(
        "search",
        demo_index,
        "--questions",
        DEMO / "questions.json",
        "--mesh",
        "Asthma",
        "--no-rerank",
        "--run",
        tmp_path / "r",
    )
    with Index(demo_index) as index:
        [(_, count)] = BM25Retriever(index).missing_field_counts(None, SearchOptions(filters=Filters(mesh=("Asthma",))))
    assert f"{count} articles have no MeSH heading and were excluded by --mesh" in done.err


def test_a_value_that_no_article_has_is_reported(bioqa, demo_index):
    done = bioqa("search", demo_index, MARFAN, "--journal", "The Lancet", "--no-rerank")
    assert done.code == 0
    assert "No article in the index has the journal 'the lancet'" in done.err
    assert "No article matches the query and the filters." in " ".join(done.out.split())


def test_a_query_in_lucenes_syntax(bioqa, demo_index):
    query = 'title:"marfan syndrome" OR mesh:"marfan syndrome"'
    matching = ids(bioqa("search", demo_index, query, "--syntax", "lucene", *BM25))
    assert matching == found(demo_index, query, SearchOptions(syntax="lucene"))
    assert 0 < len(matching) < 20


@pytest.mark.parametrize(
    ("options", "settings"), [(["--rm3"], {"rm3": True}), (["--title-weight", 2], {"title_weight": 2.0})]
)
def test_feedback_and_title_weight_reach_the_search(bioqa, demo_index, options, settings):
    expected = found(demo_index, MARFAN, SearchOptions(**settings))
    assert ids(bioqa("search", demo_index, MARFAN, *options, *BM25)) == expected
    assert expected != ids(bioqa("search", demo_index, MARFAN, *BM25))


def test_explanations_are_below_each_hit_and_in_json(bioqa, demo_index):
    shown = bioqa("search", demo_index, MARFAN, "--no-rerank", "--top", 2, "--explain").out
    assert shown.count("weight(contents:marfan in ") == 2
    record = json.loads(bioqa("search", demo_index, MARFAN, "--no-rerank", "--top", 2, "--explain", "--json").out)
    for hit in record["hits"]:
        assert float(hit["explanation"].split(" = ")[0]) == pytest.approx(hit["first_stage_score"], rel=1e-5)
    record = json.loads(bioqa("search", demo_index, MARFAN, "--no-rerank", "--json").out)
    assert "explanation" not in record["hits"][0]


def test_a_run_has_what_each_question_finds_alone(bioqa, demo_index, tmp_path):
    run = tmp_path / "run"
    questions = tmp_path / "questions.tsv"
    questions.write_text("".join(f"q{n}\tmarfan syndrome gene number {n}\n" for n in range(150)))
    done = bioqa(
        "search", demo_index, "--questions", questions, "--no-rerank", "--top", 3, "--since", "2020", "--run", run
    )
    assert done.code == 0
    rows = [line.split() for line in run.read_text().splitlines()]
    for n in (0, 63, 64, 149):
        expected = found(
            demo_index, f"marfan syndrome gene number {n}", SearchOptions(filters=Filters(since="2020")), 3
        )
        assert [row[2] for row in rows if row[0] == f"q{n}"] == expected
    assert [row[0] for row in rows] == [f"q{n}" for n in range(150) for _ in range(3)]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["{index}", "q", "--since", "May"], 2, "'May' is not a date. Write YYYY"),
        (["{index}", "q", "--since", "2021", "--until", "2020"], 2, "The start date 2021 is after the end date 2020"),
        (["{index}", "q", "--mesh", ""], 2, "The mesh filter is empty"),
        (["{index}", "q", "--as-of", "May"], 2, "'May' is not a date. Write YYYY"),
        (["{index}", "q", "--mesh-tree", "{questions}"], 2, "--mesh-tree needs --mesh or --major-topic"),
        (["{index}", "q", "--mesh-tree", "{questions}", "--mesh", "Asthma"], 3, "questions.json"),
        (["--corpus", "{corpus}", "q", "--exclude-retracted"], 2, "--exclude-retracted needs an index"),
        (["{index}", "q", "--syntax", "sql"], 2, "'sql'"),
        (["{index}", "q", "--title-weight", "-1"], 2, "title weight"),
        (["{index}", "q", "--rm3", "--syntax", "lucene"], 2, "RM3"),
        (["{index}", "heart AND (", "--syntax", "lucene"], 4, "Invalid query at column 12"),
        (["{index}", "--questions", "{questions}", "--run", "-", "--explain"], 2, "--run and --explain"),
        (["--corpus", "{corpus}", "q", "--mesh", "Asthma"], 2, "--mesh needs an index"),
        (["--corpus", "{corpus}", "q", "--rm3", "--title-weight", "2"], 2, "--title-weight, --rm3 need an index"),
        (["--corpus", "{corpus}", "q", "--explain"], 2, "--explain needs an index"),
    ],
)
def test_invalid_options_are_refused_in_a_sentence(bioqa, demo_index, corpus, options, code, message):
    places = {"{index}": demo_index, "{corpus}": corpus, "{questions}": DEMO / "questions.json"}
    done = bioqa("search", *(places.get(option, option) for option in options), "--no-rerank")
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_a_broken_query_in_a_file_is_named_before_the_search(bioqa, demo_index, tmp_path):
    questions = tmp_path / "q.tsv"
    questions.write_text("fine\tmarfan AND syndrome\nbroken\tmarfan AND\n")
    done = bioqa(
        "search", demo_index, "--questions", questions, "--syntax", "lucene", "--no-rerank", "--run", tmp_path / "run"
    )
    assert (done.code, done.out) == (4, "")
    assert "Question broken: Invalid query at column 11" in done.err
    assert not (tmp_path / "run").exists()


def test_help_lists_the_first_stages_options_under_their_own_heading(bioqa):
    head, tail = bioqa("search", "--help").out.split("First stage:")
    assert "--reranker" in head
    for option in (
        "--since",
        "--until",
        "--journal",
        "--mesh",
        "--type",
        "--language",
        "--author",
        "--major-topic",
        "--mesh-tree",
        "--has-abstract",
        "--exclude-retracted",
        "--as-of",
        "--syntax",
        "--title-weight",
        "--rm3",
        "--k1",
    ):
        assert option in tail
        assert f"  {option} " not in head
