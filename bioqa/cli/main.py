"""The command line. The module of a command is imported when the command is called."""

import errno
import io
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Group
from bioqa.cli.output import note
from bioqa.errors import BioqaError, OutputError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# Set by the completion script of a shell.
_COMPLETE = "_BIOQA_COMPLETE"

# Command → its module and its line in `bioqa --help`, which therefore imports none of the modules.
COMMANDS = {
    "fetch": ("bioqa.cli.fetch", "Download PubMed's baseline and update files."),
    "index": ("bioqa.cli.index", "Build, update, verify, describe and tune a BM25 index."),
    "search": ("bioqa.cli.search", "Answer questions with ranked articles and answer sentences."),
    "rerank": ("bioqa.cli.rerank", "Rerank the candidates of a TREC run."),
    "similar": ("bioqa.cli.similar", "Find articles similar to one."),
    "show": ("bioqa.cli.show", "Show articles."),
    "export": ("bioqa.cli.export", "Write citations as RIS, NBIB, BibTeX, CSL-JSON, CSV or Markdown."),
    "bioasq": ("bioqa.cli.bioasq", "Write, validate and score BioASQ submissions."),
    "eval": ("bioqa.cli.eval", "Measure runs against relevance judgements."),
    "classify": ("bioqa.cli.classify", "Measure scores against labels."),
    "bench": ("bioqa.cli.bench", "Run a benchmark suite, or compare two results."),
    "tune": ("bioqa.cli.tune", "Choose a reranker's first-stage weight on judged questions."),
    "pairs": ("bioqa.cli.pairs", "Build, describe and check training pairs."),
    "train": ("bioqa.cli.train", "Train a reranker from a recipe."),
    "serve": ("bioqa.cli.serve", "Serve indexes over HTTP."),
    "mcp": ("bioqa.cli.mcp", "Offer indexes to LLM agents as MCP tools."),
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        """The names of commands and options that begin with ``incomplete``."""
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=summary) for name, (_, summary) in COMMANDS.items() if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

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
    _prepare_streams()
    logging.getLogger("bioqa").handlers = [_Notes(logging.WARNING)]
    try:
        return _run(arguments)
    except Exception as problem:
        code, message = _failure(problem)
        if message:
            note(
                traceback.format_exc().rstrip() if debug and not isinstance(problem, click.ClickException) else message
            )
        return code
    except KeyboardInterrupt:
        note("Interrupted.")
        return 130
    finally:
        _flush_standard_output()


class _Notes(logging.Handler):
    """Writes log messages as notes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


def _run(arguments: list[str]) -> int:
    instruction = os.environ.get(_COMPLETE)
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(cli, {}, "bioqa", _COMPLETE, instruction)
    try:
        # Not cli.main(), which exits the process on a broken pipe.
        with cli.make_context("bioqa", arguments) as context:
            cli.invoke(context)
    except click.exceptions.Exit as done:
        return done.exit_code
    sys.stdout.flush()
    return 0


def _failure(problem: Exception) -> tuple[int, str]:
    """The exit code and the message of an error; there is none if the reader of standard output has closed it."""
    if isinstance(problem, BrokenPipeError):
        return 141, ""
    if isinstance(problem, click.Abort):
        return 130, "Interrupted."
    if isinstance(problem, click.ClickException):
        message = io.StringIO()
        problem.show(message)
        return problem.exit_code, message.getvalue().rstrip("\n")
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        problem = OutputError(f"The output cannot be written: {problem.strerror}.")
    if isinstance(problem, BioqaError):
        return problem.exit_code, f"Error: {problem}"
    return 70, (f"Internal error: {type(problem).__name__}: {problem}. Run `bioqa --debug …` and report the traceback.")


def _prepare_streams() -> None:
    """Replace what the encoding of standard output does not hold, and open closed standard streams."""
    if sys.stdout is None:  # closed by >&-: the same as a pipe whose reader is gone
        reader, writer = os.pipe()
        os.close(reader)
        if writer != 1:
            os.dup2(writer, 1)
            os.close(writer)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _flush_standard_output() -> None:
    """Drop output that cannot be written; Python would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
