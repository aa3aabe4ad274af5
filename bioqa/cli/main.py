"""The command line. The module of a command is imported when the command is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from bioqa.cli.commands import Group
from bioqa.errors import BioqaError

# Command → its module and its line in `bioqa --help`, which therefore imports none of the modules.
COMMANDS = {
    "fetch": ("bioqa.cli.fetch", "Download PubMed's baseline and update files."),
    "index": ("bioqa.cli.index", "Build, update, verify, describe and tune a BM25 index."),
    "search": ("bioqa.cli.search", "Answer questions with ranked articles and answer sentences."),
    "rerank": ("bioqa.cli.rerank", "Rerank the candidates of a TREC run."),
    "show": ("bioqa.cli.show", "Show an article."),
    "bioasq": ("bioqa.cli.bioasq", "Write, validate and score BioASQ submissions."),
    "eval": ("bioqa.cli.eval", "Measure runs against relevance judgements."),
    "classify": ("bioqa.cli.classify", "Measure scores against labels."),
    "bench": ("bioqa.cli.bench", "Run a benchmark suite, or compare two results."),
    "tune": ("bioqa.cli.tune", "Choose a reranker's first-stage weight on judged questions."),
    "pairs": ("bioqa.cli.pairs", "Build, describe and check training pairs."),
    "train": ("bioqa.cli.train", "Train a reranker from a recipe."),
    "demo": ("bioqa.cli.demo", "Build the demo index and answer three questions."),
    "doctor": ("bioqa.cli.doctor", "Check Python, packages, devices, Java, a reranker and an index."),
}


class LazyGroup(Group):
    """The group of all commands. It imports the module of a command to call it, but not to list it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        # Click only needs the names, to suggest one for a misspelled command.
        super().__init__(*args, commands={name: click.Command(name) for name in COMMANDS}, **settings)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands from ``COMMANDS``."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    example='bioqa search indexes/demo "Which gene is mutated in Marfan syndrome?"',
)
@click.option("--debug", is_flag=True, envvar="BIOQA_DEBUG", help="Show the traceback of an error.")
@click.version_option(package_name="bioqa", prog_name="bioqa")
def cli(debug: bool) -> None:
    """Biomedical question answering over PubMed: BM25, cross-encoder reranking, answer sentences."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: see ``bioqa.errors``; 70 for an internal error, 130 after Ctrl-C."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments[:1] or os.environ.get("BIOQA_DEBUG", "") not in ("", "0")
    try:
        # Not cli.main(), which exits the process on a broken pipe.
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
            f"Internal error: {type(problem).__name__}: {problem}. Run `bioqa --debug …` and report the traceback.",
            err=True,
        )
        return 70
    return 0


def _interrupted(problem: BaseException) -> int:
    if isinstance(problem, BrokenPipeError):
        # The reader closed the pipe (| head): there is nobody to write to, and nothing must be flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    click.echo("Interrupted.", err=True)
    return 130
