"""What people read: results on standard output, everything else on standard error."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

import click

from bioqa.types import Article, Hit, Question, Snippet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from tqdm import tqdm

    from bioqa.evaluate.tables import Table
    from bioqa.pipeline.answer import Coverage


def note(text: str) -> None:
    """A line for the person at the screen, on standard error."""
    click.echo(text, err=True)


def coverage_text(coverage: "Coverage", max_length: int | None) -> str:
    """How many of the articles scored were longer than the reranker reads, and how much of them it did not read."""
    if not coverage.split and not coverage.cut:
        return "all read whole"
    share = coverage.unread / max(coverage.characters, 1)
    return (
        f"longer than its {max_length} tokens: {coverage.split:,} split into windows, {coverage.cut:,} cut; "
        f"{coverage.unread:,} characters ({share:.2%}) of text not read"
    )


def progress_bar(unit: str, total: int | None, done: int = 0) -> "tqdm[Any]":
    """A tqdm bar on standard error, silent where that is no terminal; ``done`` of them were done before."""
    from tqdm import tqdm

    return tqdm(
        total=total, initial=done, unit=f" {unit}", file=sys.stderr, disable=None, leave=False, dynamic_ncols=True
    )


def console(file: TextIO | None = None) -> "Console":
    """A rich console on ``file``, else standard output.

    It colours no words of its own accord, and leaves a closed pipe to the caller.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PipeConsole(file=file, highlight=False, soft_wrap=False, emoji=False, markup=False)


def first_few(names: Sequence[str]) -> str:
    """The first five of them, in one line."""
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
    """Journal, year and link of a citation, in one line."""
    return " · ".join(
        part for part in (article.journal.rstrip("."), article.date[:4], article.url or article.id) if part
    )


def _print_indented(out: "Console", text: "Text", indent: int = 4, first: str = "") -> None:
    """The text wrapped to the screen, each line indented; ``first`` stands in the indent of the first line."""
    from rich.text import Text

    margin = Text(first.rjust(indent), style="bold cyan")
    for line in text.wrap(out, max(20, out.width - indent)):
        line.rstrip()
        out.print(margin + line, soft_wrap=True)
        margin = Text(" " * indent)


def print_hits(
    out: "Console", question: Question, hits: Sequence[Hit], *, abstracts: bool = False, selected: bool = False
) -> None:
    """The ranked articles of one question, their answer sentences highlighted; ``abstracts`` shows them where they stand.

    ``selected`` says that filters or a query's own conditions may be why there are none.
    """
    from rich.text import Text

    out.print(Text(question.body, style="bold"), soft_wrap=True)
    if not hits:
        reason = "passes the filters and the query" if selected else "holds a word of the question that is searched for"
        out.print(f"No article matches: none {reason}.")
    for hit in hits:
        belief = (
            f"probability {hit.probability:.2f}" if hit.probability is not None else f"BM25 {hit.first_stage_score:.2f}"
        )
        out.print()
        _print_indented(out, Text(hit.article.title or "(no title)", style="bold"), first=f"{hit.rank}. ")
        _print_indented(out, Text.assemble((f"{_facts(hit.article)} · ", "dim"), (belief, "magenta")))
        if abstracts:
            _print_indented(out, highlighted_abstract(hit.article, hit.snippets))
        else:
            for snippet in hit.snippets:
                if snippet.section == "abstract":
                    _print_indented(out, Text(snippet.text, style="green"), indent=6, first="» ")
        for line in hit.explanation.splitlines():
            out.print(Text(f"    {line}", style="dim"), soft_wrap=True)


def highlighted_abstract(article: Article, snippets: Sequence[Snippet] = ()) -> "Text":
    """The abstract with the snippets marked, labelled sections on lines of their own."""
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
    """A table of results as people read it."""
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
