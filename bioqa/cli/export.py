"""``bioqa export``: citations for reference managers, text processors and spreadsheets."""

import sys
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.corpus.citation_formats import FORMATS, format_citations
from bioqa.errors import SourceError, UsageError

if TYPE_CHECKING:
    from bioqa.index.reader import Index
    from bioqa.types import Article

_BATCH = 1000


@click.command(
    name="export",
    cls=Command,
    example="bioqa export indexes/demo 99000001 99000002 --format bibtex --out refs.bib\n"
    "bioqa export indexes/demo --ids pmids.txt --format nbib",
)
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("identifiers", metavar="[PMID]…", nargs=-1)
@click.option(
    "--ids", metavar="FILE", type=click.Path(path_type=Path), help="Also the articles that this file names, one a line."
)
@click.option(
    "--format",
    "citation_format",
    type=click.Choice(FORMATS),
    default="ris",
    show_default=True,
    help="Format of the citations.",
)
@click.option(
    "--out",
    metavar="FILE",
    shell_complete=complete_file,
    default="-",
    help="Write the citations to this file.  [default: standard output]",
)
def command(index: Path, identifiers: tuple[str, ...], ids: Path | None, citation_format: str, out: str) -> None:
    """Write citations of INDEX by PMID, PubMed address, PMCID or DOI, each once.

    With - for PMID, they are read from standard input, one a line.
    """
    from bioqa.index.identifiers import not_found
    from bioqa.index.reader import Index
    from bioqa.io.output import open_output

    if not identifiers and ids is None:
        raise UsageError("Name the articles: bioqa export INDEX PMID…, --ids FILE, or - for standard input.")
    missing: list[str] = []
    with Index(index) as opened:
        articles = _articles(opened, _identifiers(identifiers, ids), missing)
        first = next(articles, None)
        if first is None:
            raise not_found(opened, missing) if missing else UsageError("The list names no article: it is empty.")
        with open_output(out, [ids] if ids else []) as file:
            file.writelines(format_citations(chain([first], articles), citation_format))
        if missing:
            raise not_found(opened, missing)


def _identifiers(words: tuple[str, ...], ids: Path | None) -> Iterator[str]:
    from bioqa.index.identifiers import join_labels

    for word in join_labels(words):
        if word == "-":
            try:
                yield from _lines(sys.stdin.buffer.read())
            except UnicodeDecodeError as problem:
                raise UsageError(f"Standard input is not UTF-8 (byte {problem.start}).") from None
        else:
            yield word
    if ids is not None:
        from bioqa.io.text_files import read_lines

        for number, line in read_lines(ids):
            try:
                yield from _lines(line)
            except UnicodeDecodeError:
                raise SourceError(f"{ids}, line {number}: not UTF-8. Save the file as UTF-8.") from None


def _lines(data: bytes) -> Iterator[str]:
    """The lines with text. Raises UnicodeDecodeError."""
    yield from filter(None, map(str.strip, data.decode("utf-8-sig").splitlines()))


def _articles(index: "Index", identifiers: Iterator[str], missing: list[str]) -> "Iterator[Article]":
    """The articles that are named, each once; identifiers that name none go to ``missing``."""
    from bioqa.index.identifiers import find_articles

    seen: set[str] = set()
    while batch := list(islice(identifiers, _BATCH)):
        for identifier, articles in find_articles(index, batch):
            if not articles:
                missing.append(identifier)
            for article in articles:
                if article.id not in seen:
                    seen.add(article.id)
                    yield article
