"""Malformed records of a file: skipped with a report, or an error."""

from collections.abc import Callable

from bioqa.errors import RecordError

BadRecordHandler = Callable[[RecordError], None]
"""Called with each malformed record, which is then skipped."""


class MalformedError(ValueError):
    """A record violates its format; whoever knows the file and the line turns it into a RecordError."""


def skip_or_raise(message: str, on_bad: BadRecordHandler | None) -> None:
    """Call ``on_bad`` with ``RecordError(message)``, or raise that error if ``on_bad`` is None."""
    error = RecordError(message)
    if on_bad is None:
        raise error
    on_bad(error)
