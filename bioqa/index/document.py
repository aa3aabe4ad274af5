"""How an Article is kept in Lucene: Anserini's three fields, with the whole article as JSON in the stored field ``raw``.

``id``        StringField, stored, and binary doc values of the same name (read for every hit of a run without touching stored text)
``contents``  TextField, not stored: title and abstract
``raw``       stored JSON: ``id``, ``contents`` as Anserini's users expect, and the article's other fields where they are not empty
"""

import json
from dataclasses import fields
from typing import Any

from bioqa.index.jvm import java
from bioqa.types import Article, Section

FORMAT = 1
ID, CONTENTS, RAW = "id", "contents", "raw"
_TUPLES = {f.name for f in fields(Article) if isinstance(f.default, tuple)}


def to_json(article: Article) -> str:
    """The article as one line of JSON; fields at their default value are left out."""
    record: dict[str, Any] = {"id": article.id, "title": article.title, "abstract": article.abstract}
    for spec in fields(Article):
        value = getattr(article, spec.name)
        if spec.name not in record and value != spec.default:
            record[spec.name] = value
    if article.sections:
        record["sections"] = [[s.label, s.category, s.begin, s.text_begin, s.end] for s in article.sections]
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Article:
    """The article that ``to_json`` wrote."""
    record: dict[str, Any] = json.loads(text)
    sections = tuple(Section(*part) for part in record.pop("sections", ()))
    values: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in record.items()}
    return Article(sections=sections, **values)


def analyzer() -> Any:
    """Anserini's default analyzer: Lucene's English stop words and Porter stemming."""
    return java("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")


class LuceneDocument:
    """One Lucene document, filled anew for each article: making the Java objects once halves the time in the bridge."""

    def __init__(self) -> None:
        store = java("org.apache.lucene.document.Field$Store")
        self._bytes = java("org.apache.lucene.util.BytesRef")
        self._id = java("org.apache.lucene.document.StringField")(ID, "", store.YES)
        self._key = java("org.apache.lucene.document.BinaryDocValuesField")(ID, self._bytes(b""))
        self._contents = java("org.apache.lucene.document.TextField")(CONTENTS, "", store.NO)
        self._raw = java("org.apache.lucene.document.StoredField")(RAW, "")
        self.java = java("org.apache.lucene.document.Document")()
        for one in (self._id, self._key, self._contents, self._raw):
            self.java.add(one)

    def fill(self, article: Article) -> Any:
        """The Java document with the article in it; good until the next call."""
        self._id.setStringValue(article.id)
        self._key.setBytesValue(self._bytes(article.id.encode()))
        self._contents.setStringValue(article.default_text())
        self._raw.setStringValue(to_json(article))
        return self.java
