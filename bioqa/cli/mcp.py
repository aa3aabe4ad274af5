"""``bioqa mcp``: tools for an agent, on standard input and output."""

from typing import Any

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.rerank_options import RerankOptions, rerank_options
from bioqa.errors import SetupError


@click.command(name="mcp", cls=Command, example="bioqa mcp indexes/pubmed")
@click.argument("indexes", metavar="INDEX…", nargs=-1, required=True, shell_complete=complete_file)
@rerank_options
def command(indexes: tuple[str, ...], **given: Any) -> None:
    """Offer each INDEX (PATH or NAME=PATH) to an agent over the Model Context Protocol, on standard input and output.

    The tools: search, get_articles, find_similar, verify_quote. An agent starts this command by itself; `bioqa serve` offers the
    same tools over HTTP at /mcp.
    """
    try:
        from bioqa.serve.mcp_stdio import serve_stdio
        from bioqa.serve.server import Plan
    except ModuleNotFoundError as problem:
        raise SetupError(
            f"MCP needs the package {problem.name}, which is not installed. Run `pip install 'bioqa[serve]'`."
        ) from None
    rerank = RerankOptions.take(given)
    serve_stdio(Plan(indexes, rerank.arguments(), options=rerank.pipeline_options()))
