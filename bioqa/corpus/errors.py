"""What the readers share about bad records: how one is told of, and whether reading goes on."""

from collections.abc import Callable

from bioqa.errors import RecordError

OnBad = Callable[[RecordError], None]


class MalformedError(ValueError):
    """A record breaks its format; the reader, which knows file and line, turns it into a RecordError."""


def reject(message: str, on_bad: OnBad | None) -> None:
    """Hand ``RecordError(message)`` to ``on_bad``, or raise it where that is None."""
    error = RecordError(message)
    if on_bad is None:
        raise error
    on_bad(error)
