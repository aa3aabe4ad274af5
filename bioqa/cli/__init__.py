"""The command line. Each command group lives in a module of its own, imported when it is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import click

from bioqa.errors import BioqaError

# Command → module that defines it and its line in `bioqa --help`, kept here so that help imports none of them.
COMMANDS = {
    "fetch": ("bioqa.cli.fetch", "Download PubMed's baseline and update files."),
    "index": ("bioqa.cli.index", "Build a BM25 index, keep it current, check it, tell what it holds."),
    "search": ("bioqa.cli.search", "Answer questions: ranked articles with the sentences that answer."),
    "rerank": ("bioqa.cli.rerank", "Rerank the candidates of a TREC run."),
    "show": ("bioqa.cli.show", "Show one article of an index."),
    "bioasq": ("bioqa.cli.bioasq", "BioASQ's files: write a submission, check it, score it by the official measures."),
    "eval": ("bioqa.cli.eval", "Measure runs against relevance judgements, or scores against labels."),
    "bench": ("bioqa.cli.bench", "Run a benchmark suite, compare two results."),
    "pairs": ("bioqa.cli.pairs", "Build training pairs with hard negatives, describe them, check for leaks."),
    "train": ("bioqa.cli.train", "Train a reranker by a recipe, with its model card, threshold and curves."),
    "demo": ("bioqa.cli.demo", "Build the demo index and answer three questions."),
    "doctor": ("bioqa.cli.doctor", "Check Python, torch, Java, index and models; each problem with its remedy."),
}


class LazyGroup(click.Group):
    """A group that imports a command's module when the command is called, not to list it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of a user's work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands from ``COMMANDS``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--debug", is_flag=True, envvar="BIOQA_DEBUG", help="Show the traceback of an error.")
@click.version_option(package_name="bioqa", prog_name="bioqa")
def cli(debug: bool) -> None:
    """Biomedical question answering retrieval: PubMed, BM25, cross-encoder reranking, answer sentences."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the return value is the exit code (``bioqa.errors`` lists them; 130 after Ctrl-C)."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments[:1] or os.environ.get("BIOQA_DEBUG", "") not in ("", "0")
    try:
        # Not cli.main(), which ends the process itself where a pipe is closed.
        with cli.make_context("bioqa", arguments) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:
        return done.exit_code
    except (BrokenPipeError, KeyboardInterrupt, click.Abort) as problem:
        return _interrupted(problem)
    except click.ClickException as problem:
        problem.show()
        return problem.exit_code
    except BioqaError as problem:
        if debug:
            raise
        click.echo(f"Error: {problem}", err=True)
        return problem.exit_code
    except Exception as problem:
        if debug:
            raise
        click.echo(
            f"Error: bioqa failed in a way it should not ({type(problem).__name__}: {problem}). "
            "Run it with `bioqa --debug …` and report what that prints.",
            err=True,
        )
        return 70
    return 0


def _interrupted(problem: BaseException) -> int:
    if isinstance(problem, BrokenPipeError):
        # The reader of our output has closed it (| head): nothing more to say, and nothing to flush at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    click.echo("Interrupted.", err=True)
    return 130
