"""``bioqa mcp``: MCP tools for LLM agents, on standard input and output."""

from typing import Any

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.output import note
from bioqa.cli.rerank_options import RerankOptions, rerank_options
from bioqa.errors import SetupError


@click.command(name="mcp", cls=Command, example="bioqa mcp indexes/pubmed")
@click.argument("indexes", metavar="INDEX…", nargs=-1, required=True, shell_complete=complete_file)
@rerank_options
def command(indexes: tuple[str, ...], **given: Any) -> None:
    """Offer each INDEX to an LLM agent as MCP tools.

    The agent starts this command and talks to it on standard input and output. The tools search, read articles, find similar ones
    and verify quotations. The first INDEX is searched. `bioqa serve` offers the same tools over HTTP at /mcp.
    """
    try:
        from bioqa.serve.mcp_server import create_mcp_server
        from bioqa.serve.service import Service
    except ModuleNotFoundError as problem:
        raise SetupError(
            f"The MCP tools need the package {problem.name}, which is not installed. Run `pip install 'bioqa[serve]'`."
        ) from None
    rerank = RerankOptions.take(given)
    reranker = None if rerank.no_rerank else rerank.model.load()
    with Service.open(indexes, reranker, options=rerank.pipeline_options()) as service:
        note(f"Offering {', '.join(indexes)} on standard input and output.")
        create_mcp_server(service).run("stdio")
