"""Filters on dates, journal, MeSH heading, publication type, language, author, abstract and retraction, as Lucene queries."""

import calendar
import re
from dataclasses import dataclass
from typing import Any

from bioqa.arguments import check_fields, check_items
from bioqa.errors import UsageError
from bioqa.index.document import DATE, ENTERED, FILTER_FIELDS, MISSING
from bioqa.index.jvm import cast, java

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
_LAST_DAY = 99991231
FIELD_NAMES = {
    DATE: "publication date",
    ENTERED: "date of entry into PubMed",
    "journal": "journal",
    "mesh": "MeSH heading",
    "type": "publication type",
    "language": "language",
    "author": "author",
    "major_topic": "major topic",
}
"""Field that articles can lack or be filtered on → what it is called."""
_HEADINGS = ("mesh", "major_topic")


@dataclass(frozen=True, slots=True)
class Filters:
    """Which articles a search may find: those that match every field given, with any one of its values.

    ``since`` and ``until`` are "2019", "2019-03" or "2019-03-04". The first day that an article's date can mean must not be before
    the first day of ``since`` nor after the last day of ``until``. Values of the other fields match as a whole, ignoring case; a
    MeSH descriptor ("Asthma") matches with every qualifier, "Asthma/drug therapy" with that one only; ``major_topic`` is the same
    for what the article is mainly about. An ``author`` is "Smith", "Smith J" (any whose initials begin with J), "Smith John" or
    the name of a group. ``as_of`` is a date too: only citations that had entered PubMed by its last day. ``narrower`` has MeSH
    descriptors, each followed by those that ``mesh`` and ``major_topic`` find in its place, as ``MeshTree.narrower`` returns them.
    ``has_abstract`` excludes articles without one, ``exclude_retracted`` those whose own record or a notice in the index says that
    they were retracted.

    Raises:
        UsageError: a date is malformed, ``since`` is after ``until``, or a value is empty, not text or not encodable as UTF-8.
    """

    since: str = ""
    until: str = ""
    journal: tuple[str, ...] = ()
    mesh: tuple[str, ...] = ()
    type: tuple[str, ...] = ()
    language: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    major_topic: tuple[str, ...] = ()
    narrower: tuple[tuple[str, ...], ...] = ()
    as_of: str = ""
    has_abstract: bool = False
    exclude_retracted: bool = False

    def __post_init__(self) -> None:
        for field in FILTER_FIELDS:  # lists would not be hashable
            object.__setattr__(self, field, tuple(check_items(f"Filters.{field}", getattr(self, field), str)))
        narrower = check_items("Filters.narrower", self.narrower, tuple, list)
        object.__setattr__(
            self, "narrower", tuple(tuple(check_items("Filters.narrower", found, str)) for found in narrower)
        )
        check_fields(self)
        if self.as_of:
            _day(self.as_of, last=True)
        first, last = self._days()
        if first > last:
            raise UsageError(f"The start date {self.since} is after the end date {self.until}.")
        for field, values in self._facets():
            if not all(value.strip() for value in values):
                raise UsageError(f"The {field} filter is empty.")
            if any("\ud800" <= character <= "\udfff" for value in values for character in value):
                raise UsageError(f"The {field} filter has half a character (a lone surrogate). Remove it.")

    def __bool__(self) -> bool:
        return self != Filters()

    def _days(self) -> tuple[int, int]:
        first = _day(self.since, last=False) if self.since else 0
        last = _day(self.until, last=True) if self.until else _LAST_DAY
        return first, last

    def _facets(self) -> list[tuple[str, tuple[str, ...]]]:
        return [(field, getattr(self, field)) for field in FILTER_FIELDS if getattr(self, field)]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the index that are filtered on."""
        dates = [(DATE, self.since or self.until), (ENTERED, self.as_of)]
        return (*(field for field, date in dates if date), *(field for field, _ in self._facets()))

    def terms(self) -> dict[tuple[str, str], list[str]]:
        """(Field, value) → the terms of the index that it finds, all in lower case; dates are not among them.

        A MeSH heading finds itself and those of ``narrower``, with its qualifier if it has one.
        """
        values = [(field, value.strip().lower()) for field, values in self._facets() for value in values]
        return {
            (field, value): [value, *self._narrower(value)] if field in _HEADINGS else [value]
            for field, value in values
        }

    def _narrower(self, heading: str) -> list[str]:
        for descriptor, *narrower in self.narrower:
            rest = heading.removeprefix(descriptor.lower())
            if rest != heading and (not rest or rest.startswith("/")):
                return [f"{one.lower()}{rest}" for one in narrower]
        return []

    def queries(self) -> dict[str, Any]:
        """The Lucene query for the articles that pass, by field."""
        found = {}
        point = java("org.apache.lucene.document.IntPoint")
        if self.since or self.until:
            found[DATE] = point.newRangeQuery(DATE, *self._days())
        if self.as_of:
            found[ENTERED] = point.newRangeQuery(ENTERED, 0, _day(self.as_of, last=True))
        by_field: dict[str, dict[str, None]] = {}
        for (field, _), terms in self.terms().items():
            by_field.setdefault(field, {}).update(dict.fromkeys(terms))
        return found | {field: any_of([term_query(field, term) for term in terms]) for field, terms in by_field.items()}


def _day(date: str, *, last: bool) -> int:
    """The first or the last day that a date can mean, as the number YYYYMMDD."""
    match = _DATE.fullmatch(date.strip())
    if not match:
        raise UsageError(f"{date!r} is not a date. Write YYYY, YYYY-MM or YYYY-MM-DD.")
    year, month, day = (int(part) if part else 0 for part in match.groups())
    if match.group(2) and not 1 <= month <= 12:
        raise UsageError(f"{date!r} is not a date: there is no month {match.group(2)}.")
    month = month or (12 if last else 1)
    days = calendar.monthrange(max(year, 1), month)[1]
    if match.group(3) and not 1 <= day <= days:
        raise UsageError(f"{date!r} is not a date: that month has {days} days.")
    return year * 10_000 + month * 100 + (day or (days if last else 1))


def term_query(field: str, value: str) -> Any:
    """The Lucene query for articles with exactly that value in the field."""
    return java("org.apache.lucene.search.TermQuery")(java("org.apache.lucene.index.Term")(field, value))


def missing_query(field: str) -> Any:
    """The Lucene query for articles without that field."""
    return term_query(MISSING, field)


def combine(*clauses: tuple[Any, str]) -> Any:
    """A Lucene boolean query of (query, "MUST", "SHOULD", "FILTER" or "MUST_NOT") clauses."""
    occur = java("org.apache.lucene.search.BooleanClause$Occur")
    builder = java("org.apache.lucene.search.BooleanQuery$Builder")()
    for query, kind in clauses:
        builder.add(cast("org.apache.lucene.search.Query", query), getattr(occur, kind))
    return builder.build()


def any_of(queries: list[Any]) -> Any:
    """The Lucene query for articles that match any of those."""
    return queries[0] if len(queries) == 1 else combine(*((query, "SHOULD") for query in queries))
