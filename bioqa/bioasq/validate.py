"""Validation of submissions and gold files of BioASQ task B, phase A."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from bioqa.bioasq.official_measures import LIMIT
from bioqa.corpus.questions import TYPES, check_question, document_id, is_pmid, read_json
from bioqa.errors import QuestionError
from bioqa.types import BIOASQ_URL, Article

_OLD_SECTION = re.compile(r"sections\.[0-9]+")
_TEXTS = ("document", "text", "beginSection", "endSection")
_OFFSETS = ("offsetInBeginSection", "offsetInEndSection")


class ArticleLookup(Protocol):
    """Articles by id, such as an ``Index`` or a ``MemoryRetriever``."""

    def get(self, id: str) -> Article | None:
        """The article with that id, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong and where, such as "question 3 (5e30f6…), snippet 2"."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """The number of questions, documents and snippets in a file, and its problems; a valid file has none."""

    questions: int
    documents: int
    snippets: int
    problems: tuple[Problem, ...]


def validate(path: str | Path, *, gold: bool = False, articles: ArticleLookup | None = None) -> ValidationReport:
    """Check a submission: ids, bodies, types, URLs, duplicates, offsets, at most 10 documents and 10 snippets.

    A ``gold`` or training file can have more, and snippets in the "sections.0" of early years. The offsets of a snippet must match
    the length of its text. With ``articles``, all documents must be among them, and the offsets must give the snippet's text in
    the title or abstract; "sections.0" is not compared.

    Raises:
        QuestionError: the file cannot be read or is not JSON.
    """
    data = read_json(Path(path))
    records = data.get("questions") if isinstance(data, dict) else None
    if not isinstance(records, list) or not records:
        return ValidationReport(0, 0, 0, (Problem("the file", 'no questions: the format is {"questions": [{…}, …]}'),))
    checker = _Checker(gold, lru_cache(maxsize=100)(articles.get) if articles else None)
    problems = tuple(checker.file(records))
    return ValidationReport(len(records), _count(records, "documents"), _count(records, "snippets"), problems)


def _count(records: list[Any], name: str) -> int:
    lists = (record.get(name) for record in records if isinstance(record, dict))
    return sum(len(values) for values in lists if isinstance(values, list))


@dataclass(frozen=True)
class _Checker:
    gold: bool
    get: Callable[[str], Article | None] | None

    def file(self, records: list[Any]) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for number, record in enumerate(records, start=1):
            where = f"question {number}"
            if not isinstance(record, dict):
                yield Problem(where, "not a JSON object")
                continue
            id = record.get("id")
            if not isinstance(id, str) or not id.strip():
                yield Problem(where, "no id")
            else:
                where = f"{where} ({id if id.isprintable() else repr(id)})"
                if first.setdefault(id.strip(), number) != number:
                    yield Problem(where, f"the same id as question {first[id.strip()]}")
            yield from self._question(where, record)

    def _question(self, where: str, record: dict[str, Any]) -> Iterator[Problem]:
        yield from (Problem(where, what) for what in _body(record.get("body")))
        if record.get("type") not in TYPES:
            yield Problem(where, f"the type is {record.get('type')!r}, not one of {', '.join(TYPES)}")
        for name, check in (("document", self._document), ("snippet", self._snippet)):
            values = record.get(f"{name}s")
            if not isinstance(values, list):
                yield Problem(where, f"no list of {name}s")
                continue
            if len(values) > LIMIT and not self.gold:
                yield Problem(where, f"{len(values)} {name}s, more than the {LIMIT} allowed")
            keys = [_key(value) for value in values]
            for place, value in enumerate(values):
                there = f"{where}, {name} {place + 1}"
                if (first := keys.index(keys[place])) < place:
                    yield Problem(there, f"the same as {name} {first + 1}")
                yield from (Problem(there, what) for what in check(value))

    def _document(self, url: Any) -> Iterator[str]:
        if not isinstance(url, str) or not url.startswith(BIOASQ_URL) or not is_pmid(url[len(BIOASQ_URL) :]):
            yield f"{url!r} does not have the form {BIOASQ_URL}PMID"
        elif self.get is not None and self.get(document_id(url)) is None:
            yield f"the index has no article {document_id(url)}"

    def _snippet(self, record: Any) -> Iterator[str]:
        if not isinstance(record, dict):
            yield "not a JSON object"
            return
        for name in sorted(record.keys() - {*_TEXTS, *_OFFSETS}):
            yield f"unknown field {name!r}, which the official evaluator cannot read"
        wrong = [*_form(record)]
        yield from wrong
        if isinstance(record.get("document"), str):
            yield from self._document(record["document"])
        if not wrong:
            yield from self._place(record)

    def _place(self, record: dict[str, Any]) -> Iterator[str]:
        """The problems with the section and offsets of a snippet that has all fields."""
        section, end_section = record["beginSection"], record["endSection"]
        begin, end = (record[name] for name in _OFFSETS)
        known = ("title", "abstract")
        if section not in known and not (self.gold and _OLD_SECTION.fullmatch(section)):
            yield f"the section {section!r} is neither title nor abstract"
        if section != end_section:
            yield f"it begins in {section!r} and ends in {end_section!r}; it must be in one section"
            return
        if begin < 0 or end <= begin:
            yield f"the offsets {begin} to {end} are not a valid range"
            return
        if end - begin != len(record["text"]):
            yield f"the text has {len(record['text']):,} characters, but the offsets {begin} to {end} span {end - begin:,}"
        article = self.get(document_id(record["document"])) if self.get is not None else None
        if article is not None and section in known:
            text = article.title if section == "title" else article.abstract
            yield from _text(section, text, begin, end, record["text"])


def _body(body: Any) -> Iterator[str]:
    if not isinstance(body, str) or not body.strip():
        yield "no body"
        return
    try:
        check_question(body)
    except QuestionError as problem:
        yield str(problem)


def _key(value: Any) -> Any:
    """What identifies a document or snippet; the text of a snippet follows from the rest."""
    return {name: one for name, one in value.items() if name != "text"} if isinstance(value, dict) else value


def _form(record: dict[str, Any]) -> Iterator[str]:
    """The fields of a snippet that are missing or have the wrong type."""
    for name in _TEXTS:
        if not isinstance(record.get(name), str) or not record[name]:
            yield f"{name} must be a non-empty text"
    for name in _OFFSETS:
        if not isinstance(record.get(name), int) or isinstance(record[name], bool):
            yield f"{name} must be an integer"


def _text(section: str, text: str, begin: int, end: int, claimed: str) -> Iterator[str]:
    """The problems with a snippet's offsets in the text of its section."""
    if end > len(text):
        yield f"the offsets {begin} to {end} are outside the {section}, which has {len(text):,} characters"
    elif text[begin:end] != claimed:
        found = text[begin:end] if end - begin <= 60 else f"{text[begin : begin + 60]}…"
        yield f"the text differs from the {section} at {begin} to {end}: {found!r}"
