"""How an Article is stored in Lucene.

``id``         stored, and binary doc values of the same name (read for every hit of a run without touching stored text)
``contents``   title, abstract and vernacular title, Anserini's analyzer with folded forms beside words; not stored
``title``      title and vernacular title, for weighting and field queries; not stored
``raw``        stored JSON: the whole article without fields at their default
``version``, ``order``  doc values: which of two records of one PMID is the latest
``date``       point, and doc values: the first day that the publication date can mean, as the number YYYYMMDD
``entered``    point, and doc values: the day on which the citation entered PubMed, likewise
``journal``, ``mesh``, ``major_topic``, ``type``, ``language``, ``author``  exact values in lower case, for filters
``facet.journal``, ``facet.mesh``, ``facet.type``, ``facet.language``, ``facet.author``  doc values: the values as shown, for counts
``mark``       exact: "retracted", "expression of concern", "corrected", as the article's own record says
``pmcid``, ``doi``  exact values in lower case
``notice``     exact: "RetractionIn 123" in the notice that retracts 123, and so on for ``types.NOTICES``
``lacks``      the names of the dates and the fields for filters for which the article has no value; "abstract" without one
``vector``     a dense vector of the article, if the index was embedded (``index/embed.py``): float32, and 8-bit integers in a graph

Java makes the Lucene documents (``java/DocumentWriter.java``) from rows of strings, hundreds of articles per call.
"""

import json
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from bioqa.index.folding import GREEK, LETTERS, fold, table
from bioqa.index.jvm import java
from bioqa.types import Article, Author, Link, Section

ID, TITLE, CONTENTS, RAW = "id", "title", "contents", "raw"
DATE, ENTERED, MISSING = "date", "entered", "lacks"
MARK, NOTICE, VECTOR = "mark", "notice", "vector"
FILTER_FIELDS = ("journal", "mesh", "type", "language", "author", "major_topic")
FACET_FIELDS = ("journal", "mesh", "type", "language", "author")
"""The fields to filter by and those whose values are counted, in the order of their columns in ``DocumentWriter``."""
FACETS = ("year", *FACET_FIELDS)
"""What the articles that match can be counted by: the year of publication, and the fields with values to count."""
_APART = {"id", "title", "abstract", "sections", "authors", "links"}
_TUPLES = {f.name for f in fields(Article) if isinstance(f.default, tuple)}
_OPTIONAL = [(f.name, f.default) for f in fields(Article) if f.name not in _APART]


def to_json(article: Article) -> str:
    """The article as one line of JSON, without fields at their default."""
    record: dict[str, Any] = {"id": article.id, "title": article.title, "abstract": article.abstract}
    for name, default in _OPTIONAL:
        value = getattr(article, name)
        if value != default:
            record[name] = value
    if article.authors:  # without what is empty at the end
        record["authors"] = ["\t".join(author).rstrip("\t") for author in article.authors]
    if article.links:
        record["links"] = ["\t".join(link).rstrip("\t") for link in article.links]
    if article.sections:
        record["sections"] = [[s.label, s.category, s.begin, s.text_begin, s.end] for s in article.sections]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Article:
    """The article that ``to_json`` wrote."""
    record: dict[str, Any] = json.loads(text)
    sections = tuple(Section(*part) for part in record.pop("sections", ()))
    authors = tuple(Author(*text.split("\t")) for text in record.pop("authors", ()))
    links = tuple(Link(*text.split("\t")) for text in record.pop("links", ()))
    values: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in record.items()}
    return Article(sections=sections, authors=authors, links=links, **values)


def to_row(article: Article) -> list[str]:
    """The article as the row of strings that ``DocumentWriter.add`` takes; several values of a field are separated by newlines."""
    exact = (
        (article.journal, article.journal_abbreviation),
        article.mesh,
        article.publication_types,
        article.languages,
        author_terms(article.authors),
        article.major_topics,
        tuple(article.marks),
        (article.pmcid,),
        (article.doi,),
    )
    notices = dict.fromkeys(f"{kind} {id}" for id, kind in article.links_back())
    facets = facet_values(article)
    return [
        article.id,
        article.titles(),
        article.searchable_text(),
        to_json(article),
        str(article.version),
        day_number(article.date),
        day_number(article.entered),
        "" if article.abstract else "abstract",
        *("\n".join(dict.fromkeys(value.lower() for value in values if value)) for values in exact),
        "\n".join(notices),
        *("\n".join(facets[name]) for name in FACET_FIELDS),
    ]


def facet_values(article: Article) -> dict[str, list[str]]:
    """Facet → the article's distinct values, as shown; MeSH headings without qualifiers."""
    found: dict[str, Iterable[str]] = {
        "year": (article.date[:4],),
        "journal": (article.journal,),
        "mesh": (heading for heading in article.mesh if "/" not in heading),
        "type": article.publication_types,
        "language": article.languages,
        "author": map(str, article.authors),
    }
    return {name: list(dict.fromkeys(filter(None, values))) for name, values in found.items()}


def author_terms(authors: Iterable[Author]) -> list[str]:
    """What finds an article by author: "smith", "smith j", "smith ja", "smith john a"; each also folded."""
    found: list[str] = []
    for last, fore, initials, _, collective in authors:
        if collective:
            found.append(collective)
        if last:
            found.append(last)
            found += [f"{last} {initials[:length]}" for length in range(1, len(initials) + 1)]
            if fore and fore != initials:
                found.append(f"{last} {fore}")
    text = "\n".join(found).lower()
    names = text.split("\n")
    return names if text.isascii() else names + [fold(name) for name in names]


def day_number(date: str) -> str:
    """The first day that a date of any precision can mean, as YYYYMMDD; "" for no date."""
    if not date:
        return ""
    year, month, day = (*date.split("-"), "01", "01")[:3]
    return f"{year}{month}{day}"


def index_analyzer() -> Any:
    """Anserini's default analyzer, Lucene's English stop words and Porter stemming, with each word's folded forms beside it."""
    return java("bioqa.FoldingAnalyzer").create(table(LETTERS), table(GREEK), True)


def query_analyzer() -> Any:
    """The analyzer for questions: folded forms take the place of a word. For ASCII text it is Anserini's."""
    return java("bioqa.FoldingAnalyzer").create(table(LETTERS), table(GREEK), False)
