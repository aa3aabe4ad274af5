"""Citations in every format, read back by the libraries that read such files: rispy, pybtex and Biopython."""

import csv
import io
import json
import re
from dataclasses import replace

import pytest
import rispy
from Bio import Medline
from pybtex.database import BibliographyData, parse_string

from bioqa.corpus.citation_formats import COLUMNS, FORMATS, byline, format_citations, format_hits, source_line, standing
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.types import Article, Author, Hit, Link, Question
from tests.support import DEMO

FULL = Article(
    id="31541003",
    title="Ménière's disease & TNF-α: 50% of {all} cases_#1 \\ ~ ^ $x$ <i> are “naïve”.",
    abstract="BACKGROUND: First.RESULTS: Second | `third` *fourth*.",
    vernacular_title="Die [Menièresche] Krankheit.",
    journal="The New England journal of medicine",
    journal_abbreviation="N Engl J Med",
    date="2019-03-04",
    print_date="2019-03",
    electronic_date="2019-03-04",
    entered="2019-03-06",
    revised="2020-01-09",
    volume="380",
    issue="10 Suppl 1",
    pages="S181-5",
    doi="10.1000/a_b(c)<1>;2-#",
    pmcid="PMC123",
    languages=("ger", "eng"),
    publication_types=("Journal Article", "Retracted Publication"),
    mesh=("Asthma", "Asthma/drug therapy", "Asthma/genetics", "Humans", "Meniere Disease"),
    major_topics=("Asthma", "Asthma/genetics", "Meniere Disease"),
    keywords=("TNF-α", "a; b"),
    status="ppublish",
    authors=(
        Author("Núñez", "José Luis", "JL", "Jr"),
        Author("van der Berg", "A", "A"),
        Author("Brown and Sons", "C", "C"),
        Author("Smith, the Elder", "", "D"),
        Author(collective="COVID-19 Group, {EU} & US"),
    ),
    links=(
        Link("RetractionIn", "32167152", "N Engl J Med. 2020;382(1):1"),
        Link("ErratumIn", "", "N Engl J Med. 2019 May;380(20):1975"),
        Link("CommentOn", "1", "Lancet. 2018;1:1"),
    ),
)
BARE = Article(id="a b", title="", abstract="")
NOT_PUBMED = Article(id="doc/1", title="A short text", abstract="Only this.")
ARTICLES = [FULL, BARE, NOT_PUBMED]


def text_of(citation_format, articles=ARTICLES):
    return "".join(format_citations(articles, citation_format))


def test_ris_is_read_by_rispy():
    full, bare, other = rispy.loads(text_of("ris"))
    assert full["type_of_reference"] == "JOUR"
    assert full["title"] == FULL.title
    assert full["authors"] == [
        "Núñez, José Luis, Jr",
        "van der Berg, A",
        "Brown and Sons, C",
        "Smith, the Elder, D",
        "COVID-19 Group, {EU} & US",
    ]
    assert (full["secondary_title"], full["alternate_title2"]) == (FULL.journal, "N Engl J Med")
    assert (full["year"], full["date"]) == ("2019", "2019/03/04/")
    assert (full["volume"], full["number"]) == ("380", "10 Suppl 1")
    assert (full["start_page"], full["end_page"]) == ("S181", "S185")
    assert (full["doi"], full["accession_number"], full["custom2"]) == (FULL.doi, FULL.id, "PMC123")
    assert full["keywords"] == [*FULL.mesh, *FULL.keywords]
    assert full["abstract"] == FULL.abstract
    assert full["notes"] == ["Retracted (PMID 32167152)", "Corrected", f"Original title: {FULL.vernacular_title}"]
    assert full["urls"] == [FULL.url]
    assert bare == {"type_of_reference": "JOUR", "id": "a b"}
    assert (other["title"], other["abstract"], "urls" in other) == ("A short text", "Only this.", False)


def test_nbib_is_read_by_biopythons_medline():
    full, bare, other = Medline.parse(io.StringIO(text_of("nbib")))
    assert (full["PMID"], full["TI"], full["TT"]) == (FULL.id, FULL.title, FULL.vernacular_title)
    assert full["FAU"] == ["Núñez, José Luis Jr", "van der Berg, A", "Brown and Sons, C", "Smith, the Elder, D"]
    assert full["AU"] == ["Núñez JL Jr", "van der Berg A", "Brown and Sons C", "Smith, the Elder D"]
    assert full["CN"] == ["COVID-19 Group, {EU} & US"]
    assert (full["JT"], full["TA"]) == (FULL.journal, "N Engl J Med")
    assert (full["VI"], full["IP"], full["PG"], full["DP"], full["DEP"]) == (
        "380",
        "10 Suppl 1",
        "S181-5",
        "2019 Mar",
        "20190304",
    )
    assert (full["LID"], full["AID"], full["PMC"]) == (f"{FULL.doi} [doi]", [f"{FULL.doi} [doi]"], "PMC123")
    assert full["MH"] == ["Asthma/drug therapy/*genetics", "Humans", "*Meniere Disease"]
    assert (full["OT"], full["LA"], full["PT"]) == (
        list(FULL.keywords),
        list(FULL.languages),
        list(FULL.publication_types),
    )
    assert (full["EDAT"], full["LR"], full["PST"]) == ("2019/03/06 00:00", "20200109", "ppublish")
    assert full["RIN"] == ["N Engl J Med. 2020;382(1):1. PMID: 32167152"]
    assert full["EIN"] == ["N Engl J Med. 2019 May;380(20):1975"]
    assert full["CON"] == ["Lancet. 2018;1:1. PMID: 1"]
    assert full["GN"] == ["Retracted (PMID 32167152)", "Corrected"]
    assert full["SO"] == "N Engl J Med. 2019 Mar 4;380(10 Suppl 1):S181-5"
    assert bare == {"PMID": "a b"}
    assert (other["PMID"], other["TI"]) == ("doc/1", "A short text")


def test_long_values_of_nbib_are_whole_when_read_back():
    words = "a-long-word " * 60
    article = replace(FULL, title=words.strip(), abstract=words.strip(), sections=(), keywords=(words.strip(),))
    text = text_of("nbib", [article])
    assert max(len(line) for line in text.splitlines() if not line.startswith("OT")) <= 90
    (record,) = Medline.parse(io.StringIO(text))
    assert record["TI"] == record["AB"] == words.strip()
    assert record["OT"] == [words.strip()]


def unescaped(text):
    """What LaTeX prints."""
    for command, letter in {r"\textbraceleft{}": "{", r"\textbraceright{}": "}", r"\textasciitilde{}": "~"}.items():
        text = text.replace(command, letter)
    text = text.replace(r"\textasciicircum{}", "^").replace(r"\textless{}", "<").replace(r"\textgreater{}", ">")
    return re.sub(r"\\([&%$#_])", r"\1", text).replace(r"\textbackslash{}", "\\")


def test_bibtex_is_read_by_pybtex():
    data = parse_string(text_of("bibtex"), "bibtex")
    assert isinstance(data, BibliographyData)
    assert list(data.entries) == ["pmid31541003", "a-b", "doc-1"]
    full, bare, other = data.entries.values()
    assert (full.type, bare.type, other.type) == ("article", "misc", "misc")
    assert unescaped(full.fields["title"]) == "{" + FULL.title + "}"
    assert unescaped(full.fields["abstract"]) == FULL.abstract
    assert (full.fields["doi"], full.fields["url"]) == (FULL.doi, FULL.url)
    assert (full.fields["year"], full.fields["month"]) == ("2019", "March")
    assert (full.fields["volume"], full.fields["number"], full.fields["pages"]) == ("380", "10 Suppl 1", "S181--S185")
    assert full.fields["note"].startswith("Retracted (PMID 32167152); Corrected; ")
    people = [
        (" ".join(one.first_names), " ".join([*one.prelast_names, *one.last_names]), " ".join(one.lineage_names))
        for one in full.persons["author"]
    ]
    assert people == [
        ("José", "Núñez", "Jr"),
        ("A", "van der Berg", ""),
        ("C", "{Brown and Sons}", ""),
        ("D", "{Smith, the Elder}", ""),
        ("", r"{COVID-19 Group, \textbraceleft{}EU\textbraceright{} \& US}", ""),
    ]
    assert full.persons["author"][0].middle_names == ["Luis"]
    assert not bare.fields
    assert dict(other.fields) == {"title": "{A short text}", "abstract": "Only this."}


@pytest.mark.parametrize(
    "text", ["{", "}}}", "a\\", "\\{", 'say "x"', "@article{x,", "% comment", "\\end{x", "ü\u0308 {é}"]
)
def test_no_text_breaks_the_braces_of_bibtex(text):
    odd = replace(
        FULL,
        title=text,
        doi=f"10.1/{text}",
        authors=(Author(text, text, text, text), Author(collective=text)),
        sections=(),
    )
    data = parse_string(text_of("bibtex", [odd, NOT_PUBMED]), "bibtex")
    assert list(data.entries) == ["pmid31541003", "doc-1"]
    assert len(data.entries["pmid31541003"].persons["author"]) == 2
    assert data.entries["doc-1"].fields["title"] == "{A short text}"


def test_keys_of_bibtex_differ_also_without_case():
    ids = ["x y", "x/y", "X-Y", "β", "12"]
    data = parse_string(text_of("bibtex", [replace(NOT_PUBMED, id=id) for id in ids]), "bibtex")
    assert list(data.entries) == ["x-y", "x-y-2", "X-Y-3", "article", "pmid12"]


# The names in csl-data.json that an article can have, and the types of their values.
CSL = {
    "id": str,
    "type": str,
    "title": str,
    "original-title": str,
    "author": list,
    "container-title": str,
    "container-title-short": str,
    "issued": dict,
    "volume": str,
    "issue": str,
    "page": str,
    "DOI": str,
    "PMID": str,
    "PMCID": str,
    "URL": str,
    "language": str,
    "genre": str,
    "keyword": str,
    "abstract": str,
    "note": str,
}


def test_csl_json_has_the_fields_of_the_schema():
    full, bare, other = json.loads(text_of("csl-json"))
    for item in (full, bare, other):
        assert all(type(value) is CSL[name] for name, value in item.items())
        assert item["type"] == "article-journal"
    assert set(full) == set(CSL)
    assert full["issued"] == {"date-parts": [[2019, 3, 4]]}
    assert full["author"] == [
        {"family": "Núñez", "given": "José Luis", "suffix": "Jr"},
        {"family": "van der Berg", "given": "A"},
        {"family": "Brown and Sons", "given": "C"},
        {"family": "Smith, the Elder", "given": "D"},
        {"literal": "COVID-19 Group, {EU} & US"},
    ]
    assert (full["title"], full["page"], full["note"]) == (
        FULL.title,
        "S181-S185",
        "Retracted (PMID 32167152); Corrected",
    )
    assert bare == {"id": "a b", "type": "article-journal"}
    assert json.loads(text_of("csl-json", [])) == []


def test_csv_has_a_row_per_article_and_no_formulas():
    evil = replace(FULL, title='=HYPERLINK("http://x")', keywords=("-1+2", "a\nb"), abstract="@x, \t")
    header, full, bare = csv.reader(io.StringIO(text_of("csv", [evil, BARE])))
    assert tuple(header) == COLUMNS
    row = dict(zip(header, full, strict=True))
    assert row["title"] == '\'=HYPERLINK("http://x")'
    assert row["keywords"] == "'-1+2; a\nb"
    assert row["abstract"].startswith("'@x,")
    assert row["authors"].startswith("Núñez JL Jr; van der Berg A; ")
    assert (row["marks"], row["notices"]) == ("retracted; corrected", "32167152")
    assert [cell for cell in bare if cell] == ["a b"]


def test_tsv_has_a_line_per_article():
    odd = replace(FULL, title="a\tb\r\nc\x85d", keywords=("=1", "x\ny"))
    lines = text_of("tsv", [odd, BARE]).splitlines()
    assert len(lines) == 3
    assert all(line.count("\t") == len(COLUMNS) - 1 for line in lines)
    row = dict(zip(COLUMNS, lines[1].split("\t"), strict=True))
    assert (row["title"], row["keywords"]) == ("a b c d", "'=1; x y")


def test_markdown_is_a_numbered_list_of_links():
    first, second, third = text_of("markdown").splitlines()
    assert first.startswith("1. Núñez JL Jr, van der Berg A, Brown and Sons C, Smith, the Elder D, COVID-19 Group, ")
    assert r"TNF-α: 50% of \{all\} cases\_\#1 \\ \~ ^ $x$ \<i\> are “naïve”.](https://pubmed.ncbi" in first
    assert "N Engl J Med. 2019 Mar 4;380(10 Suppl 1):S181-5." in first
    assert "](https://doi.org/10.1000/a_b%28c%29%3C1%3E%3B2-%23)." in first
    assert first.endswith("PMID: 31541003. **Retracted (PMID 32167152)**. **Corrected**.")
    assert (second, third) == ("2. (no title). a b.", "3. A short text. doc/1.")


@pytest.mark.parametrize("citation_format", FORMATS)
def test_line_ends_in_values_make_no_lines_of_their_own(citation_format):
    breaks = "x\nER  - \nTY  - JOUR\r\n\nPMID- 9\n@article{z,\x0b\x0c\x1e\x85\u2028end"
    odd = replace(FULL, title=breaks, journal=breaks, volume=breaks, authors=(Author(breaks, breaks),), sections=())
    text = text_of(citation_format, [odd, NOT_PUBMED])
    read = {
        "ris": lambda: [one.get("title") for one in rispy.loads(text)],
        "nbib": lambda: [one["TI"] for one in Medline.parse(io.StringIO(text))],
        "bibtex": lambda: list(parse_string(text, "bibtex").entries),
        "csl-json": lambda: json.loads(text),
        "csv": lambda: list(csv.DictReader(io.StringIO(text))),
        "tsv": lambda: text.splitlines()[1:],
        "markdown": text.splitlines,
    }[citation_format]()
    assert len(read) == 2


@pytest.mark.parametrize(
    ("pages", "first", "last"),
    [
        ("181-5", "181", "185"),
        ("181-185", "181", "185"),
        ("1029-45", "1029", "1045"),
        ("99-101", "99", "101"),
        ("S12-8", "S12", "S18"),
        ("S12-S18", "S12", "S18"),
        ("e12345", "e12345", None),
        ("181-5; discussion 190", "181", "185"),
        ("iii-v", "iii", "v"),
    ],
)
def test_pages_are_written_in_full(pages, first, last):
    (record,) = rispy.loads(text_of("ris", [replace(FULL, pages=pages)]))
    assert (record["start_page"], record.get("end_page")) == (first, last)


@pytest.mark.parametrize(
    ("date", "shown"),
    [("", "J. 3"), ("2019", "J. 2019;3"), ("2019-03", "J. 2019 Mar;3"), ("2019-12-04", "J. 2019 Dec 4;3")],
)
def test_a_source_names_the_date_as_far_as_it_is_known(date, shown):
    assert source_line(Article("1", "", "", journal="J.", date=date, volume="3")) == shown


def test_a_byline_ends_with_et_al_if_names_are_left_out():
    assert byline(FULL, 3) == "Núñez JL Jr, van der Berg A, Brown and Sons C, et al."
    assert byline(FULL, 5).endswith("Smith, the Elder D, COVID-19 Group, {EU} & US")
    assert byline(BARE, 3) == ""


def test_marks_are_sentences_with_their_notices():
    assert standing(FULL) == ["Retracted (PMID 32167152)", "Corrected"]
    assert standing(BARE) == []


def test_hits_are_written_with_their_rank_or_once():
    answers = [
        (Question("q1", "What *is* it?"), [Hit(1, FULL, 2.0, 1.0, 2.0, 0.9), Hit(2, NOT_PUBMED, 1.0, 0.5)]),
        (Question("q2", "And this?"), [Hit(1, FULL, 3.0, 1.0)]),
        (Question("q3", "Nothing?"), []),
    ]
    rows = list(csv.DictReader(io.StringIO("".join(format_hits(answers, "csv")))))
    assert [(row["question"], row["rank"], row["score"], row["probability"], row["id"]) for row in rows] == [
        ("q1", "1", "2.0", "0.9", "31541003"),
        ("q1", "2", "1.0", "", "doc/1"),
        ("q2", "1", "3.0", "", "31541003"),
    ]
    assert [one["id"] for one in rispy.loads("".join(format_hits(answers, "ris")))] == ["31541003", "doc/1"]
    headings = [line for line in "".join(format_hits(answers, "markdown")).splitlines() if line.startswith("#")]
    assert headings == [r"## What \*is\* it?", "## And this?", "## Nothing?"]


def check_read_back(folder):
    """Every article of a folder's files is read back with its title and all its authors."""
    read = (record for source in expand_sources([folder]) for record in read_source(source))
    articles = list({record.id: record for record in read if isinstance(record, Article)}.values())
    titles = [article.title or article.vernacular_title for article in articles]
    assert [one["title"] for one in rispy.loads(text_of("ris", articles))] == titles
    assert [one["TI"] for one in Medline.parse(io.StringIO(text_of("nbib", articles)))] == titles
    entries = parse_string(text_of("bibtex", articles), "bibtex").entries
    spaced = [" ".join(title.split()) for title in titles]  # pybtex turns no-break spaces into spaces
    assert [" ".join(unescaped(entry.fields["title"])[1:-1].split()) for entry in entries.values()] == spaced
    assert [item["title"] for item in json.loads(text_of("csl-json", articles))] == titles
    for article, entry in zip(articles, entries.values(), strict=True):
        assert len(entry.persons.get("author", ())) == len(article.authors)
    return len(articles)


def test_every_demo_citation_is_read_back():
    assert check_read_back(DEMO) == 332


@pytest.mark.shared_data
def test_every_real_citation_is_read_back(shared_data):
    assert check_read_back(shared_data / "pubmed-xml" / "baseline") > 200
    assert check_read_back(shared_data / "pubmed-xml" / "large") > 1600
