"""What commands are built from: classes whose help ends with an example, and sets of options that several commands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bioqa.errors import UsageError

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


class Command(click.Command):
    """A command whose help ends with an ``example``, and lists options under the headings that they name."""

    def __init__(self, *args: Any, example: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example

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

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(formatter, self.example)


class Group(click.Group):
    """A group of commands whose help ends with an ``example``."""

    command_class = Command

    def __init__(self, *args: Any, example: str, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        write_example(formatter, self.example)


def write_example(formatter: click.HelpFormatter, example: str) -> None:
    """Write the lines of an example as they are, not wrapped."""
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


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
