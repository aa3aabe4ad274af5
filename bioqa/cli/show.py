"""``bioqa show``: articles in full."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import console, highlighted_abstract, print_json, styled
from bioqa.types import Article

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    name="show", cls=Command, example="bioqa show indexes/demo 99000001\nbioqa show indexes/demo PMID:99000001 --json"
)
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("identifiers", metavar="PMID…", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per article.")
def command(index: Path, identifiers: tuple[str, ...], as_json: bool) -> None:
    """Show articles of INDEX by PMID, PubMed address, PMCID or DOI."""
    from bioqa.index.identifiers import find_articles, join_labels, not_found
    from bioqa.index.reader import Index

    with Index(index) as opened:
        found = find_articles(opened, list(join_labels(identifiers)))
    out = console()
    for number, article in enumerate(article for named in found for article in named.articles):
        if as_json:
            print_json(article.to_dict())
            continue
        if number:
            out.rule()
        _print_article(out, article)
    if missing := [named.identifier for named in found if not named.articles]:
        raise not_found(opened, missing)


def _print_article(out: "Console", article: Article) -> None:
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
