"""Output for people: results on standard output, everything else on standard error."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, TextIO

from bioqa.io.output import STANDARD_OUTPUT, output_errors
from bioqa.io.terminal import printable, printable_json
from bioqa.types import Article, Hit, Question, Snippet

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from tqdm import tqdm

    from bioqa.io.tables import Table
    from bioqa.pipeline.answer import Coverage
    from bioqa.retrieve.retriever import Facets, MissingField, UnknownValue

_OPTIONS = {"date": "--since and --until", "entered": "--as-of"}

# Kind of first-stage scores → what they are called.
SCALES = {"bm25": "BM25", "dense": "dense", "minmax": "fused", "rrf": "fused", "wsum": "fused"}

_UNLIMITED = 1_000_000
"""A width in characters that no table has."""


def echo(text: str = "") -> None:
    """Write a line to standard output.

    Raises:
        OutputError: it cannot be written.
        BrokenPipeError: its reader closed it.
    """
    with output_errors(STANDARD_OUTPUT):
        sys.stdout.write(f"{printable(text)}\n")
        sys.stdout.flush()


def print_json(value: Any, **settings: Any) -> None:
    """Write JSON to standard output. Raises what ``echo`` raises."""
    text = printable_json(value, **settings)
    echo(text if _can_show(sys.stdout, text) else json.dumps(value, **settings))


def note(text: str) -> None:
    """Write a line to standard error, if that can be written: there is no other place to say so."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def note_above(bar: "tqdm[Any]", text: str) -> None:
    """Write a line to standard error, above a progress bar."""
    with bar.external_write_mode(file=sys.stderr):
        note(text)


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
    missing: Iterable["MissingField"], unknown: Iterable["UnknownValue"], *, all_articles: bool
) -> None:
    """Report how many articles filters excluded only because a field is missing, and which filter values no article has.

    ``all_articles``: the counts are of the whole index, not of the articles that match a question.
    """
    from bioqa.index.filters import FIELD_NAMES

    for one in unknown:
        note(str(one))
    for field, count in missing:
        articles = ("article" if all_articles else "matching article") + "s" * (count != 1)
        have, were = ("has", "was") if count == 1 else ("have", "were")
        options = _OPTIONS.get(field, f"--{field.replace('_', '-')}")
        remark = "; the newest articles often have none yet" if field in {"mesh", "major_topic"} else ""
        note(f"{count:,} {articles} {have} no {FIELD_NAMES[field]} and {were} excluded by {options}{remark}.")


def progress_bar(unit: str, total: int | None, done: int = 0, label: str = "") -> "tqdm[Any]":
    """A tqdm bar on standard error, hidden if that is not a terminal; ``done`` units were done before."""
    from tqdm import tqdm

    return tqdm(
        desc=printable(label) or None,
        total=total,
        initial=done,
        unit=f" {unit}",
        file=sys.stderr,
        disable=None,
        leave=False,
        dynamic_ncols=True,
    )


def console(file: TextIO | None = None) -> "Console":
    """A rich console on ``file`` (None: standard output) that wraps lines only on a terminal.

    Its ``print`` raises OutputError and BrokenPipeError. Print text of others as ``styled``.
    """
    from rich.console import Console

    class PipeConsole(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            with output_errors(STANDARD_OUTPUT):
                super().print(*objects, **options)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    wrap = (file or sys.stdout).isatty()
    return PipeConsole(file=file, highlight=False, soft_wrap=not wrap, emoji=False, markup=False)


def styled(*parts: "str | tuple[str, str]", style: str = "") -> "Text":
    """Text for a console from parts, each a text or (text, its style), without characters that control a terminal."""
    from rich.text import Text

    pairs = [(part, "") if isinstance(part, str) else part for part in parts]
    return Text.assemble(*((printable(text), own) for text, own in pairs), style=style)


def _can_show(file: Any, text: str) -> bool:
    """Whether the encoding of a file or console holds the text."""
    try:
        text.encode(file.encoding or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


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


def _print_indented(out: "Console", text: "Text", indent: int = 4, first: str = "") -> None:
    """Print the text indented, wrapped to a terminal; ``first`` goes into the indent of the first line."""
    lines = text.split(allow_blank=True) if out.soft_wrap else text.wrap(out, max(20, out.width - indent))
    margin = styled((first.rjust(indent), "bold cyan"))
    for line in lines:
        line.rstrip()
        out.print(margin + line, soft_wrap=True)
        margin = styled(" " * indent)


def print_hits(
    out: "Console",
    question: Question,
    hits: Sequence[Hit],
    *,
    abstracts: bool = False,
    selective: bool = False,
    scale: str = "bm25",
) -> None:
    """Print the ranked articles of a question with their answer sentences; ``abstracts``: marked in the whole abstract.

    ``scale`` is the kind of the first-stage scores. ``selective``: filters or the query's syntax can exclude articles that have a
    word of the question.
    """
    out.print(styled(question.body, style="bold"), soft_wrap=True)
    if not hits:
        reason = "matches the query and the filters" if selective else "contains a search term of the question"
        out.print(f"No article {reason}.")
    from bioqa.corpus.citation_formats import byline, standing

    separator = " · " if _can_show(out, "·") else " - "
    for hit in hits:
        article = hit.article
        confidence = (
            f"probability {hit.probability:.2f}"
            if hit.probability is not None
            else f"{SCALES.get(scale, scale)} {hit.first_stage_score:.2f}"
        )
        if hit.first_stage:
            places = (f"{SCALES.get(name, name)} rank {found.rank:,}" for name, found in hit.first_stage.items())
            confidence += separator + ", ".join(places)
        if hit.relevant is not None:
            confidence += separator + ("relevant" if hit.relevant else "below threshold")
        journal = (article.journal_abbreviation or article.journal).rstrip(".")
        facts = (byline(article, 3), journal, article.date[:4], article.url or article.id)
        out.print()
        _print_indented(
            out, styled(article.title or article.vernacular_title or "(no title)", style="bold"), first=f"{hit.rank}. "
        )
        if marks := standing(article):
            _print_indented(out, styled("; ".join(marks), style="bold red"))
        source = "".join(f"{fact}{separator}" for fact in facts if fact)
        _print_indented(out, styled((source, "dim"), (confidence, "magenta")))
        if abstracts:
            _print_indented(out, highlighted_abstract(out, article, hit.snippets))
        else:
            for snippet in hit.snippets:
                if snippet.section == "abstract":
                    sign, sentence = ("» ", snippet.text) if _can_show(out, "»") else ("", f"[{snippet.text}]")
                    _print_indented(out, styled(sentence, style="green"), indent=6, first=sign)
        for line in hit.explanation.splitlines():
            out.print(styled(f"    {line}", style="dim"), soft_wrap=True)


def print_article(out: "Console", article: Article) -> None:
    """Print an article with all its fields; "*" marks the MeSH headings that it is mainly about."""
    from bioqa.corpus.citation_formats import source_line, standing

    out.print(styled(article.title or article.vernacular_title or "(no title)", style="bold"))
    major = set(article.major_topics)
    rows = {
        "Original title": article.vernacular_title if article.title else "",
        "Standing": "; ".join(standing(article)),
        "Authors": ", ".join(map(str, article.authors)),
        "Journal": article.journal,
        "Published in": source_line(article) if article.journal_abbreviation or article.volume or article.pages else "",
        "Date": article.date,
        "Print date": article.print_date if article.electronic_date else "",
        "Electronic date": article.electronic_date,
        "Entered PubMed": article.entered,
        "Revised": article.revised,
        "Publication status": article.status,
        "PMID": f"{article.id} (version {article.version})" if article.version > 1 else article.id,
        "PMCID": article.pmcid,
        "DOI": article.doi,
        "Link": article.url,
        "Language": ", ".join(article.languages),
        "Abstract also in": ", ".join(article.abstract_languages),
        "Type": "; ".join(article.publication_types),
        "MeSH": "; ".join(f"{heading}*" if heading in major else heading for heading in article.mesh),
        "Keywords": "; ".join(article.keywords),
    }
    for name, value in rows.items():
        if value:
            out.print(styled((f"{name}: ", "dim"), value))
    for link in article.links:
        about = " ".join(filter(None, (link.source, f"PMID {link.id}" if link.id else "")))
        out.print(styled((f"{_link_name(link.type)}: ", "dim"), about))
    if article.abstract:
        out.print()
        out.print(highlighted_abstract(out, article))


def _link_name(kind: str) -> str:
    """The type of a link in words: "ExpressionOfConcernIn" → "Expression of concern in"."""
    words = re.findall("[A-Z]?[a-z]+|[A-Z]+(?![a-z])", kind)
    return " ".join(words).capitalize() or kind


def print_facets(out: "Console", facets: "Facets") -> None:
    """Print how many matching articles have each value of the facets, a line for each facet."""
    separator = " · " if _can_show(out, "·") else "; "
    width = max(map(len, facets), default=0) + 2
    shown = {field: counts for field, counts in facets.items() if counts}
    if shown:
        out.print()
    for field, counts in shown.items():
        values = separator.join(f"{value} ({count:,})" for value, count in counts)
        _print_indented(out, styled(values), indent=width, first=field.ljust(width))


def highlighted_abstract(out: "Console", article: Article, snippets: Sequence[Snippet] = ()) -> "Text":
    """The abstract with the snippets marked, and each labelled section on a line of its own.

    On a terminal the snippets are green, elsewhere between marks.
    """
    text = styled(article.abstract)
    shown = [snippet for snippet in snippets if snippet.section == "abstract"]
    for snippet in shown:
        text.stylize("bold green", snippet.begin, snippet.end)
    for section in article.sections:
        text.stylize("bold", section.begin, section.text_begin)
    # Offset → what is inserted there: ends of snippets, then borders of sections, then begins of snippets.
    inserted: dict[int, list[str]] = {}
    begin, end = ("", "") if out.color_system else ("»", "«") if _can_show(out, "»«") else ("[", "]")
    for snippet in shown:
        inserted.setdefault(snippet.end, []).append(end)
    for section in article.sections:
        if section.begin:
            inserted.setdefault(section.begin, []).append("\n")
    for snippet in shown:
        inserted.setdefault(snippet.begin, []).append(begin)
    marked = styled()
    last = 0
    for offset, marks in sorted(inserted.items()):
        marked.append_text(text[last:offset]).append("".join(marks))
        last = offset
    return marked.append_text(text[last:])


def print_table(out: "Console", table: "Table") -> None:
    """Print a table of results, on a terminal fitted to its width."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    shown = RichTable(box=SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(table.columns):
        width = max((len(column.text(row[number])) for row in table.rows), default=0) if column.numeric else None
        justify: Literal["left", "right"] = "right" if column.numeric else "left"
        shown.add_column(styled(column.name), justify=justify, overflow="fold", min_width=width)
    for row in table.texts():
        shown.add_row(*map(styled, row))
    if out.soft_wrap:
        out.width = max(out.width, out.measure(shown, options=out.options.update(width=_UNLIMITED)).maximum)
    out.print(shown)
