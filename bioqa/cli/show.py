"""``bioqa show``: one article."""

from pathlib import Path

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import console, highlighted_abstract, print_json, styled
from bioqa.errors import UsageError


@click.command(name="show", cls=Command, example="bioqa show indexes/demo 99000001")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("pmid")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(index: Path, pmid: str, as_json: bool) -> None:
    """Show the article PMID of INDEX."""
    from bioqa.index.reader import Index

    with Index(index) as opened:
        article = opened.get(pmid.strip())
    if article is None:
        raise UsageError(f"{index} has no article {pmid}.")
    if as_json:
        print_json(article.to_dict())
        return
    out = console()
    out.print(styled(article.title or article.vernacular_title or "(no title)", style="bold"))
    rows = {
        "Original title": article.vernacular_title if article.title else "",
        "Journal": article.journal,
        "Date": article.date,
        "Print date": article.print_date if article.electronic_date else "",
        "Electronic date": article.electronic_date,
        "Revised": article.revised,
        "PMID": f"{article.id} (version {article.version})" if article.version > 1 else article.id,
        "DOI": article.doi,
        "Link": article.url,
        "Language": ", ".join(article.languages),
        "Type": "; ".join(article.publication_types),
        "MeSH": "; ".join(article.mesh),
        "Keywords": "; ".join(article.keywords),
    }
    for name, value in rows.items():
        if value:
            out.print(styled((f"{name}: ", "dim"), value))
    if article.abstract:
        out.print()
        out.print(highlighted_abstract(out, article))
