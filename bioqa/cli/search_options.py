"""The options that concern the first stage: BM25, filters, query syntax and feedback."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.options import add_options
from bioqa.cli.output import note
from bioqa.index.filters import Filters
from bioqa.retrieve.options import SearchOptions

if TYPE_CHECKING:
    from bioqa.retrieve.retriever import MissingField, Retriever

# What each field that a filter can be on is called.
_NAMES = {
    "date": "publication date",
    "journal": "journal",
    "mesh": "MeSH heading",
    "type": "publication type",
    "language": "language",
}


class _SearchOption(click.Option):
    """An option of the first stage, listed apart in the help."""


class GroupedCommand(click.Command):
    """A command whose help lists the options of the first stage under a heading of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists of options."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], "First stage": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if row is not None:
                rows["First stage" if isinstance(parameter, _SearchOption) else "Options"].append(row)
        for title, own in rows.items():
            with formatter.section(title):
                formatter.write_dl(own)


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=_SearchOption, **settings)


_DATE = "YYYY[-MM[-DD]]"
search_options = add_options(
    _option("--since", metavar=_DATE, default="", help="Only articles published on that day, month or year, or later."),
    _option("--until", metavar=_DATE, default="", help="Only articles published on that day, month or year, or before."),
    _option("--journal", multiple=True, help="Only this journal, its full title; several: any of them, as with the next three."),
    _option("--mesh", multiple=True, help="Only this MeSH heading: Descriptor or Descriptor/qualifier."),
    _option("--type", multiple=True, help="Only this publication type, such as Review."),
    _option("--language", multiple=True, help="Only this language, by its three-letter code, such as eng."),
    _option("--syntax", default="words", show_default=True, help="lucene: the question is a query in Lucene's syntax."),
    _option("--title-weight", type=float, default=0.0, show_default=True, help="Add this times the BM25 score of the title."),
    _option("--rm3", is_flag=True, help="Add words of the first articles found to the question's."),
    _option("--k1", default=0.9, show_default=True, help="BM25's term frequency saturation."),
    _option("--b", default=0.4, show_default=True, help="BM25's length normalisation."),
)  # fmt: skip
"""The options of the first stage."""

_SEARCH = ("k1", "b", "syntax", "title_weight", "rm3")
_FILTERS = ("since", "until", "journal", "mesh", "type", "language")


def take_search_options(given: dict[str, Any]) -> SearchOptions:
    """Take the first stage's values out of all those that a command was given.

    Raises:
        UsageError: a value is out of range.
    """
    filters = Filters(**{name: given.pop(name) for name in _FILTERS})
    return SearchOptions(filters=filters, **{name: given.pop(name) for name in _SEARCH})


@contextmanager
def open_retriever(index: Path | None, corpus: Path | None, options: SearchOptions) -> "Iterator[Retriever]":
    """The index at a path, or a corpus file in memory, as a first stage.

    Raises:
        UsageError: a search in memory does not support an option.
    """
    if index is not None:
        from bioqa.index.reader import Index
        from bioqa.retrieve.bm25 import BM25Retriever

        with Index(index) as opened:
            yield BM25Retriever(opened)
        return
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources
    from bioqa.retrieve.memory import MemoryRetriever, check_options

    assert corpus is not None
    check_options(options)
    yield MemoryRetriever(
        (record for source in expand_sources([corpus]) for record in read_source(source)), corpus.name
    )


def report_missing_fields(
    missing: Iterable["MissingField"], unknown: Iterable[tuple[str, str]], *, all_articles: bool
) -> None:
    """Say which filters excluded articles only because they lack the field, and which values no article has."""
    for field, value in unknown:
        note(
            f"No article of the index has the {_NAMES[field]} {value!r}. Values match as a whole, whatever their case."
        )
    for field, count in missing:
        kind = "article" if all_articles else "matching article"
        have, were = ("have", "were") if count > 1 else ("has", "was")
        options = "--since and --until" if field == "date" else f"--{field}"
        remark = "; the newest usually lack them" if field == "mesh" else ""
        note(f"{count:,} {kind}{'s' * (count > 1)} {have} no {_NAMES[field]} and {were} excluded by {options}{remark}.")
