"""Options that several commands have, as one decorator."""

from collections.abc import Callable
from typing import Any, TypeVar

_Command = TypeVar("_Command", bound=Callable[..., Any])


def add_options(*options: Callable[[Any], Any]) -> Callable[[_Command], _Command]:
    """What gives a command several options, listed in its help in this order; such a set may hold another."""

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add
