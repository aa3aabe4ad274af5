"""The options that concern the first stage: BM25, filters, query syntax and feedback."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.options import add_options
from bioqa.cli.output import note
from bioqa.errors import QuestionError, UsageError
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.index import Index, MemoryIndex
    from bioqa.search import FirstStage

# What each field that a filter can be on is called.
_NAMES = {
    "date": "publication date",
    "journal": "journal",
    "mesh": "MeSH heading",
    "type": "publication type",
    "language": "language",
}


class _StageOption(click.Option):
    """An option of the first stage, listed apart in the help."""


class GroupedCommand(click.Command):
    """A command whose help lists the options of the first stage under a heading of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write both lists of options."""
        rows: dict[str, list[tuple[str, str]]] = {"Options": [], "First stage": []}
        for parameter in self.get_params(ctx):
            row = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if row is not None:
                rows["First stage" if isinstance(parameter, _StageOption) else "Options"].append(row)
        for title, own in rows.items():
            with formatter.section(title):
                formatter.write_dl(own)


def _option(*names: str, **settings: Any) -> Callable[[Any], Any]:
    return click.option(*names, cls=_StageOption, **settings)


_DATE = "YYYY[-MM[-DD]]"
first_stage_options = add_options(
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

_FILTERS = ("since", "until", "journal", "mesh", "type", "language")


@dataclass(frozen=True)
class StageOptions:
    """The values of the first stage's options; ``filters`` are those of the fields of ``Filters``."""

    k1: float
    b: float
    syntax: str
    title_weight: float
    rm3: bool
    filters: dict[str, Any]

    @classmethod
    def take(cls, given: dict[str, Any]) -> "StageOptions":
        """Take the first stage's values out of all those that a command was given."""
        filters = {name: given.pop(name) for name in _FILTERS}
        return cls(filters=filters, **{name: given.pop(name) for name in ("k1", "b", "syntax", "title_weight", "rm3")})

    @property
    def selects(self) -> bool:
        """Whether an article that holds a word of the question may be left out."""
        return any(self.filters.values()) or self.syntax != "words"

    def needing_index(self) -> list[str]:
        """The options in use that the engine in memory does not have."""
        used = {**self.filters, "syntax": self.syntax != "words", "title-weight": self.title_weight, "rm3": self.rm3}
        return [f"--{name}" for name, value in used.items() if value]


def open_first_stage(path: Path | None, corpus: Path | None, options: StageOptions) -> "Index | MemoryIndex":
    """The index at ``path``, or the corpus file in memory.

    Raises:
        UsageError: an option makes no sense, or the engine in memory does not have it.
    """
    from bioqa.index import Filters, Index, MemoryIndex

    if corpus is None:
        assert path is not None
        return Index(
            path,
            k1=options.k1,
            b=options.b,
            filters=Filters(**options.filters),
            title_weight=options.title_weight,
            syntax=options.syntax,
            rm3=options.rm3,
        )
    if refused := options.needing_index():
        raise UsageError(
            f"{', '.join(refused)} {'needs' if len(refused) == 1 else 'need'} an index: --corpus is searched in memory, by words "
            "alone. Build one with `bioqa index build`."
        )
    from bioqa.corpus import expand_sources, read_source

    records = (record for source in expand_sources([corpus]) for record in read_source(source))
    return MemoryIndex(records, k1=options.k1, b=options.b)


def check_queries(index: "FirstStage", questions: Sequence[Question]) -> None:
    """Raise QuestionError for the first question of a file that is no query in Lucene's syntax, before anything is searched."""
    from bioqa.index import Index

    if not isinstance(index, Index):
        return
    for question in questions:
        try:
            index.check_query(question.body)
        except QuestionError as problem:
            raise QuestionError(f"Question {question.id}: {problem}") from problem


def tell_left_out(index: "FirstStage", question: str | None) -> None:
    """Say which filters left articles out that merely lack the field, and which values no article has.

    The articles are those that match ``question``, or where it is None all of the index.
    """
    from bioqa.index import Index

    if not isinstance(index, Index) or not index.filters:
        return
    for field, value in index.unknown_values():
        note(
            f"No article of the index has the {_NAMES[field]} {value!r}. Values match as a whole, in upper or lower case."
        )
    for field, count in index.left_out(question):
        kind = "article" if question is None else "matching article"
        have, were = ("have", "were") if count > 1 else ("has", "was")
        options = "--since and --until" if field == "date" else f"--{field}"
        remark = "; the newest usually lack them" if field == "mesh" else ""
        note(f"{count:,} {kind}{'s' * (count > 1)} {have} no {_NAMES[field]} and {were} left out by {options}{remark}.")
