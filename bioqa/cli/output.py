"""Output for people: results on standard output, everything else on standard error."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from bioqa.types import Article, Hit, Question, Snippet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from tqdm import tqdm

    from bioqa.evaluate.tables import Table
    from bioqa.pipeline.answer import Coverage
    from bioqa.retrieve.retriever import MissingField

# Fields that articles can be filtered on → what they are called.
_FIELDS = {
    "date": "publication date",
    "journal": "journal",
    "mesh": "MeSH heading",
    "type": "publication type",
    "language": "language",
}


def note(text: str) -> None:
    """Write a line to standard error."""
    click.echo(text, err=True)


def coverage_text(coverage: "Coverage", max_length: int | None) -> str:
    """How many of the articles scored exceeded the reranker's maximum length, and how much of them it did not read."""
    if not coverage.split and not coverage.truncated:
        return "all read in full"
    share = coverage.unread / max(coverage.characters, 1)
    return (
        f"longer than its {max_length} tokens: {coverage.split:,} split into windows, {coverage.truncated:,} truncated; "
        f"{coverage.unread:,} characters ({share:.2%}) not read"
    )


def report_missing_fields(
    missing: Iterable["MissingField"], unknown: Iterable[tuple[str, str]], *, all_articles: bool
) -> None:
    """Report how many articles filters excluded only because a field is missing, and which filter values no article has.

    ``all_articles``: the counts are of the whole index, not of the articles that match a question.
    """
    for field, value in unknown:
        note(
            f"No article in the index has the {_FIELDS[field]} {value!r}. A value must match as a whole, ignoring case."
        )
    for field, count in missing:
        articles = ("article" if all_articles else "matching article") + "s" * (count != 1)
        have, were = ("has", "was") if count == 1 else ("have", "were")
        options = "--since and --until" if field == "date" else f"--{field}"
        remark = "; the newest articles often have none yet" if field == "mesh" else ""
        note(f"{count:,} {articles} {have} no {_FIELDS[field]} and {were} excluded by {options}{remark}.")


def progress_bar(unit: str, total: int | None, done: int = 0) -> "tqdm[Any]":
    """A tqdm bar on standard error, hidden if that is not a terminal; ``done`` units were done before."""
    from tqdm import tqdm

    return tqdm(
        total=total, initial=done, unit=f" {unit}", file=sys.stderr, disable=None, leave=False, dynamic_ncols=True
    )


def console(file: TextIO | None = None) -> "Console":
    """A rich console on ``file`` (None: standard output) without automatic highlighting. Broken pipes raise BrokenPipeError."""
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeConsole(file=file, highlight=False, soft_wrap=False, emoji=False, markup=False)


def first_few(names: Sequence[str]) -> str:
    """The first five names, on one line."""
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def human_bytes(size: int) -> str:
    """A size in bytes as "1.2 MB" (powers of 1,000)."""
    value = float(size)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _facts(article: Article) -> str:
    """Journal, year and link of an article, on one line."""
    return " · ".join(
        part for part in (article.journal.rstrip("."), article.date[:4], article.url or article.id) if part
    )


def _print_indented(out: "Console", text: "Text", indent: int = 4, first: str = "") -> None:
    """Print the text wrapped to the screen and indented; ``first`` goes into the indent of the first line."""
    from rich.text import Text

    margin = Text(first.rjust(indent), style="bold cyan")
    for line in text.wrap(out, max(20, out.width - indent)):
        line.rstrip()
        out.print(margin + line, soft_wrap=True)
        margin = Text(" " * indent)


def print_hits(
    out: "Console", question: Question, hits: Sequence[Hit], *, abstracts: bool = False, selective: bool = False
) -> None:
    """Print the ranked articles of a question with their answer sentences; ``abstracts``: marked in the whole abstract.

    ``selective``: filters or the query's syntax can exclude articles that have a word of the question.
    """
    from rich.text import Text

    out.print(Text(question.body, style="bold"), soft_wrap=True)
    if not hits:
        reason = "matches the query and the filters" if selective else "contains a search term of the question"
        out.print(f"No article {reason}.")
    for hit in hits:
        confidence = (
            f"probability {hit.probability:.2f}" if hit.probability is not None else f"BM25 {hit.first_stage_score:.2f}"
        )
        out.print()
        _print_indented(
            out,
            Text(hit.article.title or hit.article.vernacular_title or "(no title)", style="bold"),
            first=f"{hit.rank}. ",
        )
        _print_indented(out, Text.assemble((f"{_facts(hit.article)} · ", "dim"), (confidence, "magenta")))
        if abstracts:
            _print_indented(out, highlighted_abstract(hit.article, hit.snippets))
        else:
            for snippet in hit.snippets:
                if snippet.section == "abstract":
                    _print_indented(out, Text(snippet.text, style="green"), indent=6, first="» ")
        for line in hit.explanation.splitlines():
            out.print(Text(f"    {line}", style="dim"), soft_wrap=True)


def highlighted_abstract(article: Article, snippets: Sequence[Snippet] = ()) -> "Text":
    """The abstract with the snippets marked, and each labelled section on a line of its own."""
    from rich.text import Text

    text = Text(article.abstract)
    for snippet in snippets:
        if snippet.section == "abstract":
            text.stylize("bold green", snippet.begin, snippet.end)
    for section in article.sections:
        text.stylize("bold", section.begin, section.text_begin)
    borders = [section.begin for section in article.sections if section.begin]
    return Text("\n").join(text.divide(borders)) if borders else text


def print_table(out: "Console", table: "Table", title: str = "") -> None:
    """Print a table of results."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    shown = RichTable(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(table.columns):
        width = max((len(column.text(row[number])) for row in table.rows), default=0) if column.numeric else None
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        shown.add_column(column.name, justify=justify, overflow="fold", min_width=width)
    for row in table.texts():
        shown.add_row(*row)
    out.print(shown)
