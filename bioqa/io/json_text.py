"""JSON within bounds, so that what reads it needs none: no value is nested too deeply or too large for a float."""

import json
import re
from typing import Any

from bioqa.io.bad_records import MalformedError

MAX_DEPTH = 100
"""Of lists and objects in each other. Python itself fails near 1,000, and later for code that walks or prints the value."""
MAX_DIGITS = 300
"""Of an integer; a float has at most 308 before its point."""

_LONG = re.compile(f"[0-9]{{{MAX_DIGITS + 1}}}")


def parse_json(text: str) -> Any:
    """The value in JSON text.

    Raises:
        json.JSONDecodeError: not JSON.
        MalformedError: it is nested more than ``MAX_DEPTH`` levels deep, or has an integer of more than ``MAX_DIGITS`` digits.
    """
    try:
        value = json.loads(text, parse_int=_integer) if _LONG.search(text) else json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        _check_depth(value)
    return value


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise MalformedError(f"a number has {len(digits):,} digits, more than the {MAX_DIGITS} allowed")
    return int(digits)


def _check_depth(value: Any) -> None:
    """Level by level, not by recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    if level:
        raise _too_deep()


def _too_deep() -> MalformedError:
    return MalformedError(f"lists or objects are nested more than {MAX_DEPTH} levels deep")
