"""Filters on publication date, journal, MeSH heading, publication type and language, as Lucene queries."""

import calendar
import re
from dataclasses import dataclass
from typing import Any

from bioqa.arguments import check_fields, check_items
from bioqa.errors import UsageError
from bioqa.index.document import DATE, FILTER_FIELDS, MISSING
from bioqa.index.jvm import cast, java

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
_LAST_DAY = 99991231


@dataclass(frozen=True, slots=True)
class Filters:
    """Which articles a search may find: those that match every field given, with any one of its values.

    ``since`` and ``until`` are "2019", "2019-03" or "2019-03-04". The first day that an article's date can mean must not be before
    the first day of ``since`` nor after the last day of ``until``. Values of the other fields match as a whole, ignoring case; a
    MeSH descriptor ("Asthma") matches with every qualifier, "Asthma/drug therapy" with that one only; ``major_topic`` is the same
    for what the article is mainly about. An ``author`` is "Smith", "Smith J" (any whose initials begin with J), "Smith John" or
    the name of a group.

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

    def __post_init__(self) -> None:
        for field in FILTER_FIELDS:  # lists would not be hashable
            object.__setattr__(self, field, tuple(check_items(f"Filters.{field}", getattr(self, field), str)))
        check_fields(self)
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
        dates = (DATE,) if self.since or self.until else ()
        return (*dates, *(field for field, _ in self._facets()))

    def values(self) -> list[tuple[str, str]]:
        """Each (field, value) filtered on except dates, in lower case as in the index."""
        return [(field, value.strip().lower()) for field, values in self._facets() for value in values]

    def queries(self) -> dict[str, Any]:
        """The Lucene query for the articles that pass, by field."""
        found = {}
        if self.since or self.until:
            found[DATE] = java("org.apache.lucene.document.IntPoint").newRangeQuery(DATE, *self._days())
        for field, values in self._facets():
            found[field] = any_of([term_query(field, value.strip().lower()) for value in values])
        return found


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
    """A Lucene boolean query of (query, "MUST" or "SHOULD" or "FILTER") clauses."""
    occur = java("org.apache.lucene.search.BooleanClause$Occur")
    builder = java("org.apache.lucene.search.BooleanQuery$Builder")()
    for query, kind in clauses:
        builder.add(cast("org.apache.lucene.search.Query", query), getattr(occur, kind))
    return builder.build()


def any_of(queries: list[Any]) -> Any:
    """The Lucene query for articles that match any of those."""
    return queries[0] if len(queries) == 1 else combine(*((query, "SHOULD") for query in queries))
