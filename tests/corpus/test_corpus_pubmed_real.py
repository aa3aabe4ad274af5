"""Every real PubMed file of the shared data is read and compared with its XML.

The texts belong to their publishers, so this file contains only counts, checks and short fragments.
"""

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import Source, expand_sources
from bioqa.errors import SourceError
from bioqa.types import Article, Deletion

pytestmark = pytest.mark.shared_data

FOLDERS = ("baseline", "updatefiles", "large", "other", "single")
NOT_PUBMED = {"clinvar_vcv_12000.xml", "medgen_elink_pubmed_0_entries.xml", "sample_related_pmids_result.xml"}
MATH = "{http://www.w3.org/1998/Math/MathML}math"


@dataclass(frozen=True)
class RealFiles:
    """The records by file (path in pubmed-xml), the articles of all files by PMID, and the errors by file name."""

    records: dict[str, list[Article | Deletion]]
    articles: dict[str, list[Article]]
    errors: dict[str, str]


@pytest.fixture(scope="module")
def real(shared_data: Path) -> RealFiles:
    root = shared_data / "pubmed-xml"
    records: dict[str, list[Article | Deletion]] = {}
    errors: dict[str, str] = {}
    for path, file_format, _ in expand_sources([root / folder for folder in FOLDERS]):
        name = str(path.relative_to(root))
        try:
            records[name] = list(read_source(Source(path, file_format)))
        except SourceError as error:
            errors[path.name] = str(error)
    articles: dict[str, list[Article]] = {}
    for record in (record for found in records.values() for record in found):
        if isinstance(record, Article):
            articles.setdefault(record.id, []).append(record)
    return RealFiles(records, articles, errors)


def citations(shared_data: Path) -> Iterator[Any]:
    """Each citation and book document of the files, parsed at once by lxml and in the order of ``RealFiles.records``."""
    root = shared_data / "pubmed-xml"
    for path, *_ in expand_sources([root / folder for folder in FOLDERS]):
        raw = path.read_bytes()
        tree = etree.fromstring(gzip.decompress(raw) if path.suffix == ".gz" else raw)
        if path.name not in NOT_PUBMED:
            yield from tree.iter("MedlineCitation", "BookDocument")


def words(text: str) -> list[str]:
    return re.sub(r"[ \t\r\n]+", " ", text).strip(" ").split(" ")


def labelled(part: Any) -> str:
    text = " ".join(words("".join(part.itertext())))
    return f"{part.get('Label')}: {text}" if part.get("Label") else text


def test_each_file_gives_the_known_number_of_articles_and_deletions(real: RealFiles) -> None:
    kinds = Counter(
        (name.split("/")[0], type(record).__name__) for name, found in real.records.items() for record in found
    )
    assert kinds == {
        ("baseline", "Article"): 215,
        ("updatefiles", "Article"): 204,
        ("updatefiles", "Deletion"): 316,
        ("large", "Article"): 1679,
        ("large", "Deletion"): 1,
        ("other", "Article"): 560,
        ("other", "Deletion"): 14,
        ("single", "Article"): 83,
    }
    by_file = {name: len(found) for name, found in real.records.items()}
    assert by_file["large/pubmed20n1015.xml.gz"] == 756
    assert by_file["large/medline16n0902.xml.gz"] == 604 + 1
    assert by_file["updatefiles/pubmed26n1335.xml.gz"] == 30 + 6
    assert by_file["other/medsamp2014.xml"] == by_file["other/medsamp2014.xml.gz"] == 161 + 7


def test_files_of_other_services_are_errors_by_their_root_element(real: RealFiles) -> None:
    assert set(real.errors) == NOT_PUBMED
    assert "root element is ClinVarResult-Set" in real.errors["clinvar_vcv_12000.xml"]


def test_deletions_follow_the_articles_of_an_update_file(real: RealFiles) -> None:
    found = real.records["updatefiles/pubmed26n1335.xml.gz"]
    assert [record.id for record in found[-6:]] == [
        "41456105",
        "41557076",
        "41616784",
        "41618748",
        "41618749",
        "41618779",
    ]
    assert all(isinstance(record, Deletion) for record in found[-6:])


def test_sections_cover_the_abstract_and_begin_with_their_label(real: RealFiles) -> None:
    structured = [article for found in real.articles.values() for article in found if article.sections]
    assert len(structured) == 690
    for article in structured:
        end = 0
        for section in article.sections:
            assert section.begin == end
            end = section.end
            head = f"{section.label}: " if section.label else ""
            assert article.abstract[section.begin : section.text_begin] == head
        assert end == len(article.abstract)
        text = article.default_text()
        assert text.replace("\n", "") == article.title + article.abstract
        assert text.count("\n") == len(article.sections) - (not article.title)


def test_no_text_has_line_ends_or_runs_of_spaces(real: RealFiles) -> None:
    for article in (article for found in real.articles.values() for article in found):
        texts = (article.title, article.vernacular_title, article.abstract, article.journal, article.doi)
        for text in (*texts, *article.mesh, *article.keywords, *article.languages, *article.publication_types):
            assert not re.search(r"[\t\r\n]|  |^ | $", text), (article.id, text)
        assert all((*article.mesh, *article.keywords, *article.languages, *article.publication_types))


def test_no_word_of_a_title_or_an_abstract_is_lost_or_joined(real: RealFiles, shared_data: Path) -> None:
    articles = [record for found in real.records.values() for record in found if isinstance(record, Article)]
    formulas = 0
    for article, citation in zip(articles, citations(shared_data), strict=True):
        assert article.id == citation.findtext("PMID")
        body = citation if citation.tag == "BookDocument" else citation.find("Article")
        assert words(article.title) == words("".join(body.find("ArticleTitle").itertext()))
        parts = body.findall("Abstract/AbstractText")
        for formula in (node for part in parts for node in part.iter(MATH)):
            formulas += 1
            for node in formula.iter():  # every token of a formula is a word
                node.text = f" {node.text or ''} "
        expected = "".join(labelled(part) for part in parts)
        if any(True for part in parts for _ in part.iter(MATH)):  # scripts before their base change places
            assert sorted(article.abstract.split()) == sorted(expected.split())
        else:
            assert words(article.abstract) == words(expected)
    assert formulas == 12


def test_dates_agree_with_the_years_in_the_xml(real: RealFiles) -> None:
    articles = [article for found in real.articles.values() for article in found]
    assert Counter(len(article.date) for article in articles) == {4: 132, 7: 611, 10: 1998}
    assert Counter(len(article.print_date) for article in articles) == {0: 1, 4: 499, 7: 1226, 10: 1015}
    assert Counter(len(article.electronic_date) for article in articles) == {0: 1054, 10: 1687}


PINNED: dict[str, dict[str, object]] = {
    "31839849": {"abstract": "p = 0.02, η p 2 = 0.15 , power = 0.64)"},
    "29963580": {"abstract": "inhaled 3 He / 129 Xe MRI ventilation", "keywords": "image processing, biomarkers"},
    "30108519": {"abstract": "velocity at MLSS (VMLSS)"},
    "31840341": {"abstract": "well-drained acid soils of an N-saturated"},
    "36462752": {"abstract": "BACKGROUND: \u2003We aimed to compare"},
    "31824604": {"abstract": "Aceh.Keywords: disaster risk;", "date": "2019-11-14", "doi": "10.4102/jamba.v11i1.759"},
    "39785110": {"abstract": "real-world.CLINICALTRIALS: GOV ID: NCT03441451."},
    "10188493": {"date": "1998-12", "mesh": "Great Britain", "doi": ""},
    "14316043": {"date": "1965-12"},
    "18122624": {"date": "1947"},
    "15206831": {"date": "2003", "revised": "2007-11-14"},
    "29929724": {"date": "2019-05", "keywords": "Cornete medio"},
    "39780848": {"date": "2025-01-06", "print_date": "2025-01"},
    "32437181": {"date": "2020-05-21", "print_date": "2020-07"},
    "31833337": {"title": "[Pain management in Neonatology].", "vernacular_title": "Manejo del dolor en Neonatología."},
    "41605226": {"title": "", "abstract": "", "languages": "ger", "date": "2026-01-28"},
    "36450451": {"keywords": "Candida albicans", "journal": "G3 (Bethesda, Md.)"},
    "31839787": {"title": "Erratum"},
    "36987902": {"mesh": "Burns/epidemiology", "doi": "10.4045/tidsskr.22.0358", "languages": "nor"},
    "26228458": {"mesh": "Cardiovascular Diseases/epidemiology", "revised": "2026-01-31"},
    "20301577": {"title": "CACNA1C-Related Disorders", "journal": "GeneReviews®", "date": "2006-02-15"},
}


@pytest.mark.parametrize("pmid", PINNED)
def test_tricky_records_are_read_as_a_reader_would(real: RealFiles, pmid: str) -> None:
    article = real.articles[pmid][0]
    for name, expected in PINNED[pmid].items():
        value = getattr(article, name)
        assert expected in value if expected and name != "date" else value == expected, (name, value)


def test_versions_of_one_citation_are_all_read(real: RealFiles) -> None:
    versions = [(article.version, article.doi) for article in real.articles["31828225"]]
    assert versions == [(number, f"10.12688/wellcomeopenres.15005.{number}") for number in (2, 3, 4)]
    assert real.articles["10540283"][0].version == 1, "the 2010 format has no Version"


def test_pmids_of_comments_and_references_never_become_articles(real: RealFiles, shared_data: Path) -> None:
    own = Counter(citation.findtext("PMID") for citation in citations(shared_data))
    assert own == {pmid: len(found) for pmid, found in real.articles.items()}
    assert "31333352" not in own, "what 31839787 corrects"


def test_abstracts_in_other_languages_are_skipped(real: RealFiles, shared_data: Path) -> None:
    others = 0
    for citation in citations(shared_data):
        for part in citation.iterfind("OtherAbstract/AbstractText"):
            text = " ".join(words("".join(part.itertext())))
            own = "".join("".join(node.itertext()) for node in citation.iterfind("Article/Abstract/AbstractText"))
            if len(text) > 40 and text not in " ".join(words(own)):
                others += 1
                assert all(text not in article.abstract for article in real.articles[citation.findtext("PMID")])
    assert others > 100


def test_gold_snippets_lie_where_bioasq_says(real: RealFiles, shared_data: Path) -> None:
    """Three gold snippets belong to these files; two are of wordings since revised ("although", a rewrite)."""
    agreeing, differing = [], []
    for split in ("train", "dev", "test"):
        questions = json.loads(gzip.decompress((shared_data / "bioasq" / f"{split}.json.gz").read_bytes()))["questions"]
        for snippet in (snippet for question in questions for snippet in question.get("snippets", ())):
            pmid = snippet["document"].rpartition("/")[2]
            for article in real.articles.get(pmid, ()):
                text = getattr(article, snippet["beginSection"])
                begin, end = snippet["offsetInBeginSection"], snippet["offsetInEndSection"]
                (agreeing if text[begin:end] == snippet["text"] else differing).append((pmid, begin, end))
    assert agreeing == [("31840275", 0, 168)]
    assert differing == [("20301577", 25, 1068), ("31840275", 0, 564)]


def line(node: Any) -> str:
    """The text of an element as a reader sees it, "" for None."""
    return "" if node is None else " ".join(words("".join(node.itertext())))


def first_line(record: Any, *paths: str) -> str:
    """The text of the first XPath that finds an element with text."""
    return next((text for path in paths for node in record.xpath(path) if (text := line(node))), "")


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def day(node: Any) -> str:
    """A date of Year, Month and Day, as exact as it is."""
    year, month, of_month = (node.findtext(tag, "").strip() for tag in ("Year", "Month", "Day"))
    number = MONTHS.index(month[:3].lower()) + 1 if month.isalpha() else int(month or 0)
    return f"{year}-{number:02}-{int(of_month):02}" if of_month else f"{year}-{number:02}" if number else year


def names(record: Any, path: str) -> list[tuple[str, ...]]:
    tags = ("LastName", "ForeName", "Initials", "Suffix", "CollectiveName")
    found = [tuple(line(author.find(tag)) for tag in tags) for author in record.xpath(path)]
    return [name for name in found if any(name)]


def pubmed_data(citation: Any) -> Any:
    """The PubmedData of a citation, or an empty element; files for licensees have none."""
    found = citation.xpath("parent::PubmedArticle/PubmedData | parent::PubmedBookArticle/PubmedBookData")
    return found[0] if found else etree.Element("none")


def expected_fields(citation: Any) -> dict[str, Any]:
    """The fields of a MedlineCitation, read with XPath."""
    data = pubmed_data(citation)
    history = {node.get("PubStatus"): node for node in data.xpath("History/PubMedPubDate")}
    entered = history.get("entrez", history.get("pubmed", citation.find("DateCreated")))
    stated, major = [], []
    for heading in citation.xpath("MeshHeadingList/MeshHeading"):
        descriptor = line(heading.find("DescriptorName"))
        stated += [descriptor, *(f"{descriptor}/{line(node)}" for node in heading.xpath("QualifierName"))]
        if heading.xpath("*[@MajorTopicYN='Y']"):
            major.append(descriptor)
        major += [f"{descriptor}/{line(node)}" for node in heading.xpath("QualifierName[@MajorTopicYN='Y']")]
    shortened = first_line(citation, "Article/Pagination/MedlinePgn")
    ends = [line(node) for node in citation.xpath("Article/Pagination/StartPage | Article/Pagination/EndPage")]
    return {
        "authors": names(citation, "Article/AuthorList/Author[not(@ValidYN='N')]"),
        "journal": first_line(
            citation, "Article/Journal/Title", "Article/Journal/ISOAbbreviation", "MedlineJournalInfo/MedlineTA"
        ),
        "journal_abbreviation": first_line(citation, "MedlineJournalInfo/MedlineTA", "Article/Journal/ISOAbbreviation"),
        "volume": first_line(citation, "Article/Journal/JournalIssue/Volume"),
        "issue": first_line(citation, "Article/Journal/JournalIssue/Issue"),
        "pages": shortened or "-".join(filter(None, ends)),
        "pmcid": first_line(data, "ArticleIdList/ArticleId[@IdType='pmc']")
        or first_line(citation, "OtherID[starts-with(., 'PMC') and not(contains(., ' '))]"),
        "entered": "" if entered is None else day(entered),
        "abstract_languages": list(dict.fromkeys(citation.xpath("OtherAbstract/@Language"))),
        "mesh": stated,
        "major_topics": major,
        "status": first_line(data, "PublicationStatus"),
        "links": [
            (link.get("RefType"), first_line(link, "PMID"), first_line(link, "RefSource"))
            for link in citation.xpath("CommentsCorrectionsList/CommentsCorrections[not(@RefType='Cites')]")
        ],
        "electronic_date": max(map(day, citation.xpath("Article/ArticleDate")), key=len, default=""),
    }


def expected_book_fields(book: Any) -> dict[str, Any]:
    """The same of a BookDocument, which has fewer."""
    path = "AuthorList[not(@Type='editors')]/Author[not(@ValidYN='N')]"
    shortened = first_line(book, "Pagination/MedlinePgn")
    ends = [line(node) for node in book.xpath("Pagination/StartPage | Pagination/EndPage")]
    return {
        "authors": names(book, path) or names(book, f"Book/{path}"),
        "journal": first_line(book, "Book/BookTitle"),
        "volume": first_line(book, "Book/Volume"),
        "pages": shortened or "-".join(filter(None, ends)),
        "pmcid": first_line(book, "ArticleIdList/ArticleId[@IdType='pmc']"),
        "links": [],
        "major_topics": [],
    }


def test_every_citation_field_agrees_with_an_independent_parse(real: RealFiles, shared_data: Path) -> None:
    articles = [record for found in real.records.values() for record in found if isinstance(record, Article)]
    filled: Counter[str] = Counter()
    wrong: list[tuple[str, str, object, object]] = []
    for article, citation in zip(articles, citations(shared_data), strict=True):
        read = expected_book_fields if citation.tag == "BookDocument" else expected_fields
        for name, expected in read(citation).items():
            value = getattr(article, name)
            filled[name] += bool(value)
            if (list(map(tuple, value)) if name in ("authors", "links") else list(value)) != list(expected):
                wrong.append((article.id, name, value, expected))
    assert not wrong, wrong[:10]
    assert filled == {
        "authors": 2692,
        "journal": 2741,
        "journal_abbreviation": 2740,
        "volume": 2341,
        "issue": 1863,
        "pages": 2353,
        "pmcid": 1040,
        "entered": 2740,
        "abstract_languages": 126,
        "mesh": 965,
        "major_topics": 965,
        "status": 1668,
        "links": 256,
        "electronic_date": 1687,
    }


def test_the_print_date_agrees_with_an_independent_parse(real: RealFiles, shared_data: Path) -> None:
    articles = [record for found in real.records.values() for record in found if isinstance(record, Article)]
    exact = 0
    for article, citation in zip(articles, citations(shared_data), strict=True):
        for node in citation.xpath("Article/Journal/JournalIssue/PubDate"):
            if node.find("MedlineDate") is None and node.find("Season") is None:
                exact += 1
                assert article.print_date == day(node), article.id
            else:
                words = first_line(node, "MedlineDate") or first_line(node, "Year")
                assert article.print_date[:4] in words, article.id
    assert exact > 2000


def test_investigators_and_names_marked_as_wrong_are_no_authors(real: RealFiles, shared_data: Path) -> None:
    investigators = invalid = 0
    for citation in citations(shared_data):
        (article, *_) = real.articles[citation.findtext("PMID")]
        own = {author.last for author in article.authors}
        for node in citation.xpath("InvestigatorList/Investigator/LastName"):
            if not citation.xpath("Article/AuthorList/Author/LastName[.=$name]", name=node.text):
                investigators += 1
                assert line(node) not in own
        invalid += len(citation.xpath("Article/AuthorList/Author[@ValidYN='N']"))
    assert (investigators, invalid) == (855, 15)


def test_notices_mark_the_articles_that_they_are_about(real: RealFiles) -> None:
    articles = [article for found in real.articles.values() for article in found]
    kinds = Counter(link.type for article in articles for link in article.links)
    assert (kinds["RetractionIn"], kinds["RetractionOf"], kinds["ErratumIn"], kinds["ErratumFor"]) == (11, 8, 48, 39)
    assert Counter(mark for article in articles for mark in article.marks) == {"corrected": 39, "retracted": 11}
    assert real.articles["15146069"][0].marks == {"retracted": ("15516371",)}
    assert real.articles["31541003"][0].marks == {"retracted": ("32167152",)}
