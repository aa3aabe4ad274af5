"""What is looked at before a file is written."""

import os
from collections.abc import Iterable
from pathlib import Path

from bioqa.errors import OutputError


def check_not_input(target: str | Path, inputs: Iterable[str | Path]) -> None:
    """Raise OutputError where the file to write is one of those that are read: writing would replace it."""
    if not os.path.exists(target):  # noqa: PTH110 - what was named need not be a possible path
        return
    for one in inputs:
        if os.path.exists(one) and os.path.samefile(one, target):  # noqa: PTH110, PTH121
            raise OutputError(f"{target} is read and cannot be written as well. Name another file for the result.")


def is_stream(target: str | Path) -> bool:
    """Whether a result goes straight into what was named, which must not be replaced: "-", a device such as /dev/null, a pipe."""
    if str(target) == "-":
        return True
    there = os.path.exists(target)  # noqa: PTH110 - as above
    return there and not os.path.isfile(target) and not os.path.isdir(target)  # noqa: PTH112, PTH113
