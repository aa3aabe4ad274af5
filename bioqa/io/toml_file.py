"""TOML files that people write (recipes, suites), and the ``--set key=value`` that changes them."""

import tomllib
from pathlib import Path
from typing import Any

from bioqa.errors import UsageError


def read_toml(path: Path, absent: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read or is no TOML; where there is no such file, in the words of ``absent``.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise UsageError(absent) from None
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError as problem:
        raise UsageError(f"{path} is not TOML: it is not UTF-8 ({problem}).") from None
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{path} is not TOML: {problem}. Correct the line.") from None


def parse_override(text: str, example: str) -> tuple[list[str], Any]:
    """The parts of the dotted key and the value of "key=value"; the value is TOML, or text where it is none.

    Raises:
        UsageError: it is not of that form; the message shows ``example``.
    """
    key, equals, written = text.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set {text}: write it as key=value, such as --set {example}.")
    try:
        return parts, tomllib.loads(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        return parts, written.strip()
