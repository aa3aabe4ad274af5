"""``bioqa similar``: articles similar to one."""

from pathlib import Path
from typing import Any

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import console, first_few, print_hits, print_json, report_missing_fields
from bioqa.cli.rerank_options import RerankOptions, open_pipeline, report_coverage, rerank_options
from bioqa.cli.search_options import filter_options, take_filters
from bioqa.corpus.citation_formats import FORMATS, format_hits
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions


@click.command(name="similar", cls=Command, example="bioqa similar indexes/demo 99000001 --top 5")
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("identifiers", metavar="PMID", nargs=-1, required=True)
@click.option(
    "--top", metavar="N", type=click.IntRange(min=1), default=10, show_default=True, help="Number of results."
)
@click.option(
    "--sentences",
    metavar="N",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Sentences closest to the title per article.",
)
@rerank_options
@click.option(
    "--format",
    "result_format",
    type=click.Choice(["text", "json", *FORMATS]),
    default="text",
    show_default=True,
    help="Format of the results: text, one line of JSON, or citations.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@filter_options
def command(
    index: Path, identifiers: tuple[str, ...], top: int, sentences: int, result_format: str, as_json: bool, **given: Any
) -> None:
    """Find the articles of INDEX most similar to one, given by PMID, PubMed address, PMCID or DOI.

    Those that share its strongest terms and its MeSH headings are reranked with its title as the question.
    """
    from bioqa.index.identifiers import find_article, join_labels
    from bioqa.io.output import open_output
    from bioqa.retrieve.bm25 import BM25Retriever

    names = list(join_labels(identifiers))
    if len(names) > 1:
        raise UsageError(f"Name one article, not {len(names)} ({first_few(names)}).")
    search, rerank = SearchOptions(filters=take_filters(given)), RerankOptions.take(given)
    chosen = rerank.pipeline_options(top=top, sentences=sentences, search=search)
    with open_pipeline(index, None, rerank, chosen) as pipeline:
        assert isinstance(pipeline.retriever, BM25Retriever)
        article = find_article(pipeline.retriever.index, names[0])
        answer = pipeline.similar(article)
        if as_json or result_format == "json":
            print_json(answer.to_dict())
        elif result_format in FORMATS:
            with open_output("-") as out:
                out.writelines(format_hits([(answer.question, answer.hits)], result_format))
        else:
            print_hits(console(), answer.question, answer.hits, selective=True)
        report_missing_fields(answer.missing_fields, answer.unknown_filter_values, all_articles=True)
        report_coverage(pipeline, answer.coverage)
