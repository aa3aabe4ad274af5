"""Help and spelling suggestions of all commands."""

import shlex
from collections.abc import Iterator

import click
import pytest

from bioqa.cli.main import COMMANDS, cli

WIDTH = 80


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command below and including ``command``, by its full name."""
    yield name, command
    if isinstance(command, click.Group):
        with click.Context(command, info_name=name) as context:
            for sub in command.list_commands(context):
                found = command.get_command(context, sub)
                assert found is not None
                yield from walk(found, f"{name} {sub}")


ALL = dict(walk(cli, "bioqa"))


def help_of(name: str) -> str:
    settings = {**cli.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH}
    with click.Context(ALL[name], info_name=name, **settings) as context:
        return ALL[name].get_help(context)


@pytest.mark.parametrize("name", ALL)
def test_help_fits_the_screen_and_ends_with_an_example_that_can_be_parsed(name):
    text = help_of(name)
    assert max(map(len, text.splitlines())) <= WIDTH
    body, _, example = text.rpartition("\nExample:\n")
    assert "Usage:" in body
    for line in example.replace("\\\n", " ").splitlines():
        words = shlex.split(line)
        command, arguments = cli, words[words.index("bioqa") + 1 :]
        context = click.Context(cli, info_name="bioqa", **cli.context_settings)
        while isinstance(command, click.Group):
            _, command, arguments = command.resolve_command(context, arguments)
        command.make_context("example", arguments, parent=context).close()


@pytest.mark.parametrize("name", [name for name, command in ALL.items() if isinstance(command, click.Group)])
def test_summaries_of_commands_fit_on_their_line(name):
    lines = help_of(name).split("\nCommands:\n")[1].split("\nExample:")[0].strip("\n").splitlines()
    assert len(lines) == len([other for other in ALL if other.rpartition(" ")[0] == name])
    for line in lines:
        assert line.endswith(".") and not line.endswith("...")


def test_bioqas_help_lists_every_command_with_its_summary():
    assert list(COMMANDS) == [name.split()[1] for name in ALL if name.count(" ") == 1]
    lines = [line.split(maxsplit=1) for line in help_of("bioqa").splitlines()]
    for name, (_, summary) in COMMANDS.items():
        assert [name, summary] in lines


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["serach"], "Did you mean 'search'?"),
        (["trian", "recipe.toml"], "Did you mean 'train'?"),
        (["index", "biuld"], "Did you mean 'build'?"),
        (["bioasq", "validat", "x"], "Did you mean 'validate'?"),
        (["search", "index", "q", "--rernker", "x"], "'--reranker'"),
        (["index", "build", "index", "x", "--overwite"], "'--overwrite'"),
    ],
)
def test_a_misspelled_name_gets_a_suggestion(bioqa, arguments, suggestion):
    done = bioqa(*arguments)
    assert (done.code, done.out) == (2, "")
    assert suggestion in done.err


def test_a_name_like_no_other_gets_none(bioqa):
    assert bioqa("xyz").err.endswith("Error: No such command 'xyz'.\n")
