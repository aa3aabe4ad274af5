"""How an Article is stored in Lucene.

``id``         stored, and binary doc values of the same name (read for every hit of a run without touching stored text)
``contents``   title, abstract and vernacular title, Anserini's analyzer; not stored
``title``      title and vernacular title, for weighting and field queries; not stored
``raw``        stored JSON: the whole article without fields at their default
``version``, ``order``  doc values: which of two records of one PMID is the latest
``date``       point: the first day that the publication date can mean, as the number YYYYMMDD
``journal``, ``mesh``, ``type``, ``language``  exact values in lower case, for filters
``lacks``      the names of those five fields for which the article has no value

Java makes the Lucene documents (``java/DocumentWriter.java``) from rows of strings, hundreds of articles per call.
"""

import json
from dataclasses import fields
from typing import Any

from bioqa.index.jvm import java
from bioqa.types import Article, Section

ID, TITLE, CONTENTS, RAW = "id", "title", "contents", "raw"
DATE, MISSING = "date", "lacks"
FACETS = ("journal", "mesh", "type", "language")
_TUPLES = {f.name for f in fields(Article) if isinstance(f.default, tuple)}
_OPTIONAL = [(f.name, f.default) for f in fields(Article) if f.name not in ("id", "title", "abstract", "sections")]


def to_json(article: Article) -> str:
    """The article as one line of JSON, without fields at their default."""
    record: dict[str, Any] = {"id": article.id, "title": article.title, "abstract": article.abstract}
    for name, default in _OPTIONAL:
        value = getattr(article, name)
        if value != default:
            record[name] = value
    if article.sections:
        record["sections"] = [[s.label, s.category, s.begin, s.text_begin, s.end] for s in article.sections]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Article:
    """The article that ``to_json`` wrote."""
    record: dict[str, Any] = json.loads(text)
    sections = tuple(Section(*part) for part in record.pop("sections", ()))
    values: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in record.items()}
    return Article(sections=sections, **values)


def to_row(article: Article) -> list[str]:
    """The article as the row of 10 strings that ``DocumentWriter.add`` takes."""
    facets = ((article.journal,), article.mesh, article.publication_types, article.languages)
    return [
        article.id,
        article.titles(),
        article.searchable_text(),
        to_json(article),
        str(article.version),
        day_number(article.date),
        *("\n".join(value.lower() for value in values if value) for values in facets),
    ]


def day_number(date: str) -> str:
    """The first day that a date of any precision can mean, as YYYYMMDD; "" for no date."""
    if not date:
        return ""
    year, month, day = (*date.split("-"), "01", "01")[:3]
    return f"{year}{month}{day}"


def analyzer() -> Any:
    """Anserini's default analyzer: Lucene's English stop words and Porter stemming."""
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")
