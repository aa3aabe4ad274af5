"""The state of a search on the web page, which is all in its address."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from bioqa.errors import UsageError, shown
from bioqa.index.filters import Filters
from bioqa.pipeline.options import PipelineOptions
from bioqa.retrieve.options import SYNTAXES, SearchOptions

DATES = ("since", "until", "as_of")
FLAGS = ("exclude_retracted", "has_abstract")
VALUES = ("type", "journal", "mesh", "major_topic", "author", "language")
"""The filters that take several values, in the order in which the page shows them."""
SORTS = ("relevance", "date")
TOPS = (10, 20, 50)
"""Results on a page."""


@dataclass(frozen=True, slots=True)
class PageQuery:
    """What is searched, and which part of the results is shown in which order.

    ``index`` is "" for the default one. With the sort "date", the ``top`` most relevant articles of a page are shown newest first.
    """

    question: str = ""
    index: str = ""
    filters: Filters = field(default_factory=Filters)
    syntax: str = "words"
    rerank: bool = True
    sort: str = "relevance"
    top: int = TOPS[0]
    page: int = 1
    explain: bool = False

    @classmethod
    def read(cls, given: QueryParams) -> "PageQuery":
        """The state in an address. Parameters that it does not know, and empty ones, are ignored.

        Raises:
            UsageError: a value is out of range, or a filter is malformed.
        """
        filters: dict[str, Any] = {name: given.get(name, "").strip() for name in DATES}
        filters |= {name: _values(given.getlist(name)) for name in VALUES}
        filters |= {name: _choice(given, name, ("no", "yes")) == "yes" for name in FLAGS}
        return cls(
            question=" ".join(given.get("q", "").split()),
            index=given.get("index", ""),
            filters=Filters(**filters),
            syntax=_choice(given, "syntax", SYNTAXES),
            rerank=_choice(given, "rerank", ("yes", "no")) == "yes",
            sort=_choice(given, "sort", SORTS),
            top=_count(given, "top", TOPS[0]),
            page=_count(given, "page", 1),
            explain=_choice(given, "explain", ("no", "yes")) == "yes",
        )

    @property
    def offset(self) -> int:
        """The number of better results on the pages before."""
        return (self.page - 1) * self.top

    def parameters(self, *, paging: bool = True) -> list[tuple[str, str]]:
        """(Name, value) of everything that is not as by default, in an order that is always the same."""
        pairs = [("q", self.question), ("index", self.index)]
        pairs += [(name, getattr(self.filters, name)) for name in DATES]
        pairs += [(name, value) for name in VALUES for value in getattr(self.filters, name)]
        pairs += [(name, "yes") for name in FLAGS if getattr(self.filters, name)]
        pairs += [("syntax", self.syntax if self.syntax != SYNTAXES[0] else "")]
        pairs += [("rerank", "" if self.rerank else "no"), ("sort", self.sort if self.sort != SORTS[0] else "")]
        if paging:
            pairs += [("top", str(self.top) if self.top != TOPS[0] else "")]
            pairs += [("page", str(self.page) if self.page != 1 else ""), ("explain", "yes" if self.explain else "")]
        return [(name, value) for name, value in pairs if value]

    def address(self, path: str = "/search", **changes: Any) -> str:
        """The address of this search with some fields changed; a change of anything but the page leads to the first one."""
        changed = replace(self, **({"page": 1} | changes)) if changes else self
        return f"{path}?{urlencode(changed.parameters())}"

    def api_address(self) -> str:
        """The address of this search in the API, which has no order by date."""
        names = {"q": "question", "sort": "", "top": "", "page": ""}
        pairs = [(names.get(name, name), value) for name, value in self.parameters()]
        pairs += [("top", str(self.top)), ("offset", str(self.offset))]
        return f"/v1/search?{urlencode([(name, value) for name, value in pairs if name])}"

    def filtered(self, **changes: Any) -> str:
        """The address of this search with some filters changed."""
        return self.address(filters=replace(self.filters, **changes))

    def unfiltered(self) -> str:
        """The address of this search without filters."""
        return self.address(filters=Filters())

    def added(self, name: str, value: str) -> str:
        """The address of this search with one more value in a filter."""
        return self.filtered(**{name: (*getattr(self.filters, name), value)})

    def removed(self, name: str, value: str) -> str:
        """The address of this search without one value of a filter."""
        kept = tuple(one for one in getattr(self.filters, name) if one.lower() != value.lower())
        return self.filtered(**{name: kept})

    def has(self, name: str, value: str) -> bool:
        """Whether a value is filtered on."""
        return value.lower() in (one.lower() for one in getattr(self.filters, name))

    def pipeline_options(self, base: PipelineOptions, **changes: Any) -> PipelineOptions:
        """The options of the pipeline; what the page does not say is as in ``base``."""
        search = SearchOptions(
            filters=self.filters,
            syntax=self.syntax,
            k1=base.search.k1,
            b=base.search.b,
            title_weight=base.search.title_weight,
            rm3=base.search.rm3,
        )
        values: dict[str, Any] = {"top": self.top, "offset": self.offset, "search": search} | changes
        return replace(base, **values)


def _values(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value.strip() for value in given if value.strip()))


def _choice(given: QueryParams, name: str, choices: Sequence[str]) -> str:
    value = given.get(name) or choices[0]
    if value not in choices:
        raise UsageError(f"{name} must be {' or '.join(choices)}, not {shown(value)}.")
    return value


def _count(given: QueryParams, name: str, default: int) -> int:
    value = given.get(name) or str(default)
    if not (value.isascii() and value.isdecimal() and int(value[:9]) > 0 and len(value) <= 9):
        raise UsageError(f"{name} must be a whole number from 1, not {shown(value)}.")
    return int(value)
