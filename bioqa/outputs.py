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
