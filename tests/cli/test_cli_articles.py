"""`bioqa show`, `bioqa export`, `bioqa similar`, and citations from `bioqa search`."""

import csv
import io
import json
import re
import subprocess
import sys

import pytest
import rispy
from Bio import Medline

from bioqa import Index, build_index
from bioqa.errors import UsageError
from bioqa.index.identifiers import MAX_SENTENCES, find_article, find_articles, join_labels
from tests.support import REPOSITORY, write_jsonl

MARFAN = "Which gene is mutated in Marfan syndrome?"
NAMES = [
    "{id}",
    " {id} ",
    "{id}.",
    "PMID: {id}",
    "PMID:{id}",
    "pmid {id}",
    "PMID{id};",
    "https://pubmed.ncbi.nlm.nih.gov/{id}/",
    "https://pubmed.ncbi.nlm.nih.gov/{id}",
    "pubmed.ncbi.nlm.nih.gov/{id}/?format=pubmed#abstract",
    "http://www.ncbi.nlm.nih.gov/pubmed/{id}",
    "https://www.ncbi.nlm.nih.gov/pubmed/{id}?dopt=Abstract",
    "https://www.ncbi.nlm.nih.gov/m/pubmed/{id}/",
    "https://europepmc.org/article/MED/{id}",
    "https://europepmc.org/abstract/med/{id}",
    "10.5555/bioqa.demo.{id}",
    "doi:10.5555/bioqa.demo.{id}",
    "DOI: 10.5555/BIOQA.demo.{id}.",
    "https://doi.org/10.5555/bioqa.demo.{id}",
    "http://dx.doi.org/10.5555%2Fbioqa.demo.{id}",
    "PMC{id}",
    "pmc{id}",
    "PMCID: PMC{id}",
    "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC{id}/",
    "https://www.ncbi.nlm.nih.gov/pmc/articles/PMC{id}/pdf/main.pdf",
    "https://pmc.ncbi.nlm.nih.gov/articles/PMC{id}/",
    "https://europepmc.org/article/PMC/PMC{id}",
    "https://europepmc.org/articles/PMC{id}",
]
NO_NAMES = [
    "",
    "PMID:",
    "99000003 99000006",
    "PMID: x99000003",
    "https://example.org/99000003/",
    "https://pubmed.ncbi.nlm.nih.gov/?term=99000003",
    "PMC",
    "PMC1",
    "doi:",
    "10.5555/none",
    "９９０００００３",
    "\ud800",
]


@pytest.fixture(scope="module")
def index(demo_index):
    with Index(demo_index) as opened:
        yield opened


@pytest.mark.parametrize("name", NAMES)
def test_an_article_is_found_by_what_people_paste(index, name):
    assert find_article(index, name.format(id="99000003")).id == "99000003"


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_names_no_article_finds_none(index, name):
    [(_, articles)] = find_articles(index, [name])
    assert articles == ()


def test_many_names_are_found_in_their_order(index):
    names = [form.format(id=id) for id in ("99000003", "99000006") for form in NAMES] + NO_NAMES
    found = find_articles(index, names * 30)
    expected = (["99000003"] * len(NAMES) + ["99000006"] * len(NAMES) + [""] * len(NO_NAMES)) * 30
    assert ["".join(article.id for article in articles) for _, articles in found] == expected


def test_ids_that_look_like_something_else_come_first(tmp_path):
    records = [
        {"id": "PMC7", "title": "One", "text": "x"},
        {"id": "7", "title": "Two", "text": "x", "pmcid": "PMC7", "doi": "10.1000/Same"},
        {"id": "10.1000/same", "title": "Three", "text": "x"},
        {"id": "a/b", "title": "Four", "text": "x", "doi": "10.1000/SAME"},
    ]
    build_index(tmp_path / "index", [write_jsonl(tmp_path / "c.jsonl", records)])
    with Index(tmp_path / "index") as index:
        assert find_article(index, "PMC7").title == "One"
        assert find_article(index, "pmc7").title == "Two"
        assert find_article(index, "10.1000/same").title == "Three"
        assert find_article(index, "a/b").title == "Four"
        [(_, both)] = find_articles(index, ["doi:10.1000/same"])
        assert [article.id for article in both] == ["7", "a/b"]
        with pytest.raises(UsageError, match=r"doi:10.1000/same belongs to 2 articles \(7, a/b\)"):
            find_article(index, "doi:10.1000/same")


def test_a_label_and_the_next_word_are_one_name():
    words = ["PMID:", "1", "2", "doi", "10.1/x", "PMID"]
    assert list(join_labels(words)) == ["PMID: 1", "2", "doi 10.1/x", "PMID"]


def test_show_prints_every_field_of_several_articles(bioqa, demo_index):
    done = bioqa("show", demo_index, "PMID:", "99000003", "https://doi.org/10.5555/bioqa.demo.99000301")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.split("─" * 20)[0], done.out.split("─" * 20)[-1]
    for line in (
        "Authors: Ferreira I, van Dijk J, Novak P",
        "Journal: Demo Journal of Heart Failure",
        "PMCID: PMC99000003",
        "DOI: 10.5555/bioqa.demo.99000003",
        "Publication status: epublish",
    ):
        assert line in first.splitlines()
    assert re.search(r"^Published in: Demo J Heart Fail\. 2020 \w+ \d+;\d+\(\d\):\d+-\d+$", first, re.MULTILINE)
    assert re.search(r"^Entered PubMed: 2020-\d\d-\d\d$", first, re.MULTILINE)
    assert re.search(r"^MeSH: .*/diagnosis\*", first, re.MULTILINE)
    for line in (
        "Standing: Retracted (PMID 99000407)",
        "Retraction in: Demo Lab Med Lett. 2026;9(1):100-6 PMID 99000407",
        "Type: Journal Article; Retracted Publication",
    ):
        assert line in second.splitlines()
    records = [
        json.loads(line) for line in bioqa("show", demo_index, "99000003", "PMC99000006", "--json").out.splitlines()
    ]
    assert [record["id"] for record in records] == ["99000003", "99000006"]
    assert records[0]["authors"][1] == {
        "last": "van Dijk",
        "fore": "Joost",
        "initials": "J",
        "suffix": "",
        "collective": "",
    }
    assert {"volume", "issue", "pages", "entered", "status", "major_topics", "links", "pmcid"} <= set(records[0])


def test_show_shows_what_it_finds_and_names_the_rest(bioqa, demo_index):
    done = bioqa("show", demo_index, "12", "99000003", "PMID: 13")
    assert done.code == 2
    assert "DOI: 10.5555/bioqa.demo.99000003" in done.out
    assert done.err == f"Error: {demo_index} has no article 12.\n{demo_index} has no article PMID: 13.\n"


@pytest.mark.parametrize(
    ("citation_format", "expected"),
    [
        ("ris", "TY  - JOUR\n"),
        ("nbib", "PMID- 99000003\n"),
        ("bibtex", "@article{pmid99000003,\n"),
        ("csl-json", '[\n  {"id": "99000003"'),
        ("csv", "id,title,"),
        ("tsv", "id\ttitle\t"),
        ("markdown", "1. Ferreira I, van Dijk J, Novak P. ["),
    ],
)
def test_export_writes_every_format(bioqa, demo_index, tmp_path, citation_format, expected):
    arguments = ("export", demo_index, "99000003", "--format", citation_format)
    done = bioqa(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(expected)
    assert bioqa(*arguments, "--out", tmp_path / "refs").out == ""
    assert (tmp_path / "refs").read_text(encoding="utf-8") == done.out


def test_a_retracted_article_is_marked_in_every_format(bioqa, demo_index):
    for citation_format in ("ris", "nbib", "bibtex", "csl-json", "csv", "tsv", "markdown"):
        text = bioqa("export", demo_index, "99000301", "--format", citation_format).out
        assert re.search("retracted", text, re.IGNORECASE), citation_format
        assert "99000407" in text, citation_format


def test_export_reads_names_from_a_file_and_writes_each_article_once(bioqa, demo_index, tmp_path):
    names = tmp_path / "pmids.txt"
    names.write_text("\ufeff99000006\n\n  PMC99000003 \r\nPMID: 99000006\n", encoding="utf-8")
    done = bioqa("export", demo_index, "99000003", "--ids", names)
    assert done.code == 0
    assert [one["accession_number"] for one in rispy.loads(done.out)] == ["99000003", "99000006"]


def test_export_reads_names_from_a_pipe(demo_index):
    done = subprocess.run(
        [sys.executable, "-m", "bioqa", "export", str(demo_index), "-", "--format", "nbib"],
        input=b"99000006\n99000003\n",
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
    )
    assert [one["PMID"] for one in Medline.parse(io.StringIO(done.stdout.decode()))] == ["99000006", "99000003"]


def test_export_writes_what_it_finds_and_names_the_rest(bioqa, demo_index, tmp_path):
    names, out = tmp_path / "pmids.txt", tmp_path / "refs.ris"
    names.write_text("\n".join(["99000003", *map(str, range(1, 1501)), "99000006"]))
    done = bioqa("export", demo_index, "--ids", names, "--out", out)
    assert done.code == 2
    assert len(done.err.splitlines()) == MAX_SENTENCES + 1
    assert done.err.endswith("… and 1,480 more.\n")
    assert [one["accession_number"] for one in rispy.loads(out.read_text())] == ["99000003", "99000006"]


def test_an_export_without_articles_leaves_the_file_as_it_was(bioqa, demo_index, tmp_path):
    out = tmp_path / "refs.ris"
    out.write_text("mine")
    assert bioqa("export", demo_index, "12", "--out", out).code == 2
    assert bioqa("export", demo_index).code == 2
    assert out.read_text() == "mine"
    names = tmp_path / "pmids.txt"
    names.write_bytes(b"99000003\n")
    done = bioqa("export", demo_index, "--ids", names, "--out", names)
    assert (done.code, names.read_bytes()) == (7, b"99000003\n")
    names.write_bytes(b"\xff\xfe9\n")
    done = bioqa("export", demo_index, "--ids", names)
    assert done.code == 3
    assert "pmids.txt, line 1: not UTF-8" in done.err
    names.write_bytes(b"\n \n")
    done = bioqa("export", demo_index, "--ids", names)
    assert done.code == 2
    assert "names no article" in done.err


def test_search_writes_its_results_as_citations(bioqa, demo_index, tmp_path):
    arguments = ("search", demo_index, MARFAN, "--no-rerank", "--top", 3)
    hits = json.loads(bioqa(*arguments, "--format", "json").out)["hits"]
    ids = [hit["id"] for hit in hits]
    assert [one["accession_number"] for one in rispy.loads(bioqa(*arguments, "--format", "ris").out)] == ids
    rows = list(csv.DictReader(io.StringIO(bioqa(*arguments, "--format", "csv").out)))
    assert [(row["rank"], row["id"], float(row["score"])) for row in rows] == [
        (str(hit["rank"]), hit["id"], hit["score"]) for hit in hits
    ]
    questions = tmp_path / "q.tsv"
    questions.write_text(f"q1\t{MARFAN}\nq2\tMarfan syndrome\n")
    done = bioqa("search", demo_index, "--questions", questions, "--no-rerank", "--top", 3, "--format", "markdown")
    assert [line for line in done.out.splitlines() if line.startswith("#")] == [f"## {MARFAN}", "## Marfan syndrome"]
    assert all(f"PMID: {id}" in done.out for id in ids)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--explain"], "--explain and --format ris"),
        (["--abstracts"], "--abstracts and --format ris"),
        (["--facets", "year"], "--facets and --format ris"),
        (["--questions", "q.tsv", "--run", "-"], "--run and --format ris"),
    ],
)
def test_citations_have_their_own_format(bioqa, demo_index, options, message):
    done = bioqa("search", demo_index, *([] if "--run" in options else [MARFAN]), "--format", "ris", *options)
    assert done.code == 2
    assert message in done.err


def test_search_shows_authors_abbreviation_and_year(bioqa, demo_index):
    out = bioqa("search", demo_index, "diastolic dysfunction with preserved ejection fraction", "--no-rerank").out
    assert "    Ferreira I, van Dijk J, Novak P · Demo J Heart Fail · 2020 · https://pubmed" in out


def test_similar_lists_other_articles_of_the_subject(bioqa, demo_index):
    done = bioqa("similar", demo_index, "PMID:", "99000001", "--no-rerank", "--top", 5, "--json")
    answer = json.loads(done.out)
    ids = [hit["id"] for hit in answer["hits"]]
    assert (answer["id"], answer["question"][:31]) == ("99000001", "Four foundational drug classes ")
    assert len(ids) == 5
    assert {"99000005", "99000006", "99000008"} < {*ids}, "on drugs for heart failure"
    assert "99000001" not in ids
    out = bioqa("similar", demo_index, "99000001", "--no-rerank", "--top", 5).out
    assert ids == re.findall(r"gov/(\d+)/", out)


def test_similar_is_reranked_and_filtered(bioqa, demo_index):
    options = ("similar", demo_index, "99000001", "--top", 3, "--rerank-depth", 5)
    answer = json.loads(bioqa(*options, "--json").out)
    scores = [hit["score"] for hit in answer["hits"]]
    assert answer["reranker"] == "default"
    assert scores == sorted(scores, reverse=True)
    assert all(hit["logit"] is not None and hit["relevant"] is None for hit in answer["hits"])
    assert answer["threshold"] is None
    assert "threshold" not in bioqa(*options).out
    newer = json.loads(bioqa(*options, "--since", "2023", "--json").out)["hits"]
    assert newer
    assert all(hit["date"] >= "2023" for hit in newer)


def test_similar_needs_one_article(bioqa, demo_index):
    done = bioqa("similar", demo_index, "12", "--no-rerank")
    assert (done.code, done.err) == (2, f"Error: {demo_index} has no article 12.\n")
    done = bioqa("similar", demo_index, "99000001", "99000003", "--no-rerank")
    assert done.code == 2
    assert "Name one article, not 2 (99000001, 99000003)." in done.err
