"""``bioqa show``: articles in full."""

from pathlib import Path

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import console, print_article, print_json


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
        print_article(out, article)
    if missing := [named.identifier for named in found if not named.articles]:
        raise not_found(opened, missing)
