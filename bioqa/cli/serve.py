"""``bioqa serve``: an HTTP server over one or more indexes."""

from pathlib import Path
from typing import Any

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.output import echo, note
from bioqa.cli.rerank_options import RerankOptions, rerank_options
from bioqa.errors import SetupError, UsageError


@click.command(
    name="serve",
    cls=Command,
    example="bioqa serve indexes/pubmed\nbioqa serve --new-key laboratory",
)
@click.argument("indexes", metavar="INDEX…", nargs=-1, shell_complete=complete_file)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8082,
    show_default=True,
    help="Port to listen on; 0: any free one.",
)
@click.option(
    "--workers",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes; each opens the indexes and loads the reranker.",
)
@rerank_options
@click.option(
    "--queue-tokens",
    metavar="N",
    type=click.IntRange(min=1),
    default=262_144,
    show_default=True,
    help="Tokens that may wait for the reranker; requests beyond are refused with 429.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=float,
    default=60.0,
    show_default=True,
    help="Time for a request, unless its header X-Request-Timeout says otherwise.",
)
@click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answer only requests with a key in this TOML file.",
)
@click.option("--new-key", metavar="NAME", help="Print a new key and its entry for the file of keys, and exit.")
@click.option("--no-auth", is_flag=True, help="Answer other machines without a key.")
@click.option(
    "--allow-host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="Also answer requests for this host name, such as that of a reverse proxy. Can be repeated.",
)
@click.option(
    "--allow-origin",
    "origins",
    metavar="URL",
    multiple=True,
    help="Let web pages of this origin call the API (CORS). Can be repeated.",
)
@click.option(
    "--log",
    metavar="FILE",
    default="",
    shell_complete=complete_file,
    help="Append a line of JSON for each request (- for standard error).",
)
@click.option("--log-questions", is_flag=True, help="Log the questions too; they can be about patients.")
def command(indexes: tuple[str, ...], **given: Any) -> None:
    """Serve each INDEX (PATH or NAME=PATH) over HTTP: search, articles, reranking.

    The API is described at /openapi.json. It also answers clients of text-embeddings-inference, Cohere, Jina, vLLM and Pyserini.
    """
    try:
        from bioqa.serve.keys import new_key
        from bioqa.serve.server import Plan, serve
        from bioqa.serve.settings import Settings
    except ModuleNotFoundError as problem:
        raise SetupError(
            f"The server needs the package {problem.name}, which is not installed. Run `pip install 'bioqa[serve]'`."
        ) from None
    rerank = RerankOptions.take(given)
    name = given.pop("new_key")
    if name is not None:
        key, table = new_key(name)
        note(f"The key, shown only now: {key}. Append this to the file of keys:")
        echo(table.rstrip())
        return
    if not indexes:
        raise UsageError("Name at least one index to serve: bioqa serve INDEX.")
    settings = Settings(**given)
    model = None
    if not rerank.no_rerank:
        names = ("device", "batch_size", "max_length", "engine")
        model = {"name_or_path": rerank.model.reranker, **{one: getattr(rerank.model, one) for one in names}}
    plan = Plan(indexes, model, settings, rerank.pipeline_options())
    if settings.no_auth and settings.keys is None and settings.host not in ("127.0.0.1", "::1", "localhost"):
        note(f"Every machine that reaches {settings.host} can call this server without a key.")
    serve(plan, lambda address: note(f"Serving {', '.join(indexes)} at {address}. Stop with Ctrl-C."))
