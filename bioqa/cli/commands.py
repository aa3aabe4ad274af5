"""What commands are built from: classes whose help ends with an example, and sets of options that several commands share."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bioqa.errors import UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class _WithExample(click.Command):
    """A command whose help ends with an ``example``."""

    def __init__(self, *args: Any, example: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example

    def get_help(self, ctx: click.Context) -> str:
        """The help, without characters that standard output cannot show; click writes UTF-8 where the encoding is ASCII."""
        encoding = sys.stdout.encoding or "utf-8"
        return super().get_help(ctx).encode(encoding, "replace").decode(encoding)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(formatter, self.example)


class Command(_WithExample):
    """A command whose help ends with an ``example``, and lists options under the headings that they name."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for each heading."""
        lists: dict[str, list[tuple[str, str]]] = {"Options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                lists.setdefault(getattr(parameter, "heading", "Options"), []).append(record)
        for heading, records in lists.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class Group(_WithExample, click.Group):
    """A group of commands whose help ends with an ``example``."""

    command_class = Command


def write_example(formatter: click.HelpFormatter, example: str) -> None:
    """Write the lines of an example as they are, not wrapped."""
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


def complete_file(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem[Any]]":
    """For shells to complete the name of a file or folder; click does so by itself for values of type ``click.Path``."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_from(*words: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """For shells to complete one of the words; other values are possible."""
    return lambda ctx, parameter, incomplete: [word for word in words if word.startswith(incomplete)]


class FirstStageOption(click.Option):
    """An option of the first stage, under a heading of its own in the help."""

    heading = "First stage"


def add_options(*options: Callable[[Any], Any]) -> Callable[[_Decorated], _Decorated]:
    """A decorator that adds several options, listed in the help in this order. It can itself be one of ``options``."""

    def add(command: _Decorated) -> _Decorated:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """The numbers in a comma-separated list, as the callback of an option. Raises UsageError."""
    try:
        return tuple(float(one) for one in value.split(","))
    except ValueError:
        raise UsageError(f"{parameter.opts[0]} must be comma-separated numbers, not {value!r}.") from None
