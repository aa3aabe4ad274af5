"""Checks of arguments' types: a value of the wrong type raises UsageError where it was passed, not an error deep inside."""

import os
from collections.abc import Iterable
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from bioqa.errors import UsageError

_Item = TypeVar("_Item")
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    tuple: "a tuple",
    list: "a list",
    dict: "a dict",
    os.PathLike: "a path",
    NoneType: "None",
}


def check_type(name: str, value: object, *kinds: type) -> None:
    """Raise UsageError, naming the argument, unless the value is of one of these types.

    An int passes for a float, and NumPy's numbers for Python's; a bool is no number.
    """
    if type(value) not in kinds and not _is_a(value, kinds):
        raise UsageError(f"{name} must be {_words(kinds)}, not {shown(value)}.")


def check_count(name: str, value: object) -> None:
    """Raise UsageError unless the value is a whole number of at least 1."""
    check_type(name, value, int)
    if value < 1:  # type: ignore[operator]
        raise UsageError(f"{name} must be at least 1, not {value}.")


def check_items(name: str, values: Iterable[_Item], *kinds: type) -> list[_Item]:
    """The values as a list.

    Raises:
        UsageError: they are a single text or not iterable, or one of them is of none of these types.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{name} must be a list of values, each {_words(kinds)}, not {shown(values)}.")
    items = list(values)
    for position, item in enumerate(items):
        if type(item) not in kinds and not _is_a(item, kinds):
            raise UsageError(f"{name}[{position}] must be {_words(kinds)}, not {shown(item)}.")
    return items


def check_path(name: str, value: object) -> Path:
    """The value as a path.

    Raises:
        UsageError: it is no path, or contains a null character.
    """
    check_type(name, value, str, os.PathLike)
    path = os.fspath(value)  # type: ignore[call-overload]
    if not isinstance(path, str) or "\0" in path:
        raise UsageError(f"{name} must be a path without null characters, not {shown(path)}.")
    return Path(path)


def check_fields(instance: object) -> None:
    """Raise UsageError unless each field of a dataclass, and each item of a tuple or list, is of the type it is annotated with.

    A list passes for a tuple.
    """
    kind: Any = type(instance)
    for name, kinds, item_kinds in _fields(kind):
        value = getattr(instance, name)
        if type(value) not in kinds and not (tuple in kinds and isinstance(value, list)):
            check_type(f"{kind.__name__}.{name}", value, *kinds)
        if item_kinds and value:
            check_items(f"{kind.__name__}.{name}", value, *item_kinds)


class _Field(NamedTuple):
    name: str
    kinds: tuple[type, ...]
    item_kinds: tuple[type, ...]


@cache
def _fields(kind: type) -> list[_Field]:
    """Each annotated field of a class, with the types of its value and of the value's items (none: not checked)."""
    fields = []
    for name, hint in get_type_hints(kind).items():
        if hint is Any:
            continue
        of_items = get_args(hint)[0] if get_origin(hint) in (tuple, list) else None
        fields.append(_Field(name, _classes(hint), _classes(of_items) if of_items else ()))
    return fields


def _classes(hint: Any) -> tuple[type, ...]:
    """The classes of a type hint: (str, NoneType) for ``str | None``, (tuple,) for ``tuple[str, ...]``."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(one for part in get_args(hint) for one in _classes(part))
    return (get_origin(hint) or hint,)


def _is_a(value: object, kinds: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    return (
        isinstance(value, kinds)
        or (int in kinds and isinstance(value, Integral))
        or (float in kinds and isinstance(value, Real))
    )


def _words(kinds: tuple[type, ...]) -> str:
    return " or ".join(dict.fromkeys(_WORDS.get(kind, _with_article(kind.__name__)) for kind in kinds))


def _with_article(name: str) -> str:
    return f"an {name}" if name[0] in "AEIOU" else f"a {name}"


def shown(value: object) -> str:
    """A value in an error message: numbers and the beginning of texts as they are, with their type; of others only the type."""
    if value is None:
        return "None"
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, str | bytes | int | float):
        text = repr(value)
        return f"{text if len(text) <= 40 else text[:40] + '…'} ({type(value).__name__})"
    return f"a value of type {type(value).__name__}"
