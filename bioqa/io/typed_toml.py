"""TOML files that people write (recipes, suites), read into dataclasses that pydantic checks, with errors in plain sentences.

A dataclass says by its annotations what a file may contain: ``Whole``, ``Number``, ``Flag``, ``Text``, ``Texts``, the names of
``one_of``, ranges as pydantic's ``Field(ge=…, le=…)``, other dataclasses for sections, and ``Tables[…]`` for lists of tables. The
outermost one has ``pydantic.with_config(ConfigDict(extra="forbid"))``, so that unknown keys are refused.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Strict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from bioqa.errors import UsageError, shown

Location = tuple[str | int, ...]
"""Where a value is in a file: keys, and the numbers of tables in lists, from 0."""

MAX_BYTES = 1 << 18
"""Of a TOML file; people write them."""
MAX_KEY_PARTS = 16
"""Of a dotted key. Python's tomllib needs memory for the square of their number."""
MAX_DEPTH = 32
"""Of lists and tables in each other."""

_INTEGERS = range(-(2**63), 2**63)  # as TOML defines them
_KEY = re.compile(r"[\w. \t-]+")
# Texts and comments; each alternative matches to the end of the file or line where the closing quotes are missing.
_NO_KEYS = re.compile(
    r'''"""(?:[^\\"]|\\.|"(?!""))*+(?:""")?|\'\'\'(?:[^\']|\'(?!\'\'))*+(?:\'\'\')?|"(?:[^"\\\n]|\\.)*+"?|\'[^\'\n]*+\'?|\#[^\n]*+''',
    re.DOTALL,
)

_Item = TypeVar("_Item")
_Content = TypeVar("_Content")

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]


def _as_texts(value: Any) -> tuple[str, ...]:
    """One text or a list of texts; empty ones are dropped."""
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple) or not all(isinstance(item, str) for item in values):
        raise PydanticCustomError("texts_type", "not a list of texts")
    return tuple(item for item in values if item)


Texts = Annotated[tuple[str, ...], BeforeValidator(_as_texts)]
Tables = tuple[_Item, ...]

_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "texts_type": "a list of texts",
}


def one_of(names: Sequence[str]) -> AfterValidator:
    """The annotation of a text that must be one of these."""

    def check(value: str) -> str:
        if value not in names:
            raise PydanticCustomError("choice", "not one of the names", {"names": list(names)})
        return value

    return AfterValidator(check)


def read_toml(path: Path, not_found: str) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        UsageError: it cannot be read, is not TOML, or is out of the bounds of ``parse_toml``; ``not_found`` is the message if there
            is no such file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise UsageError(f"{path} is larger than {MAX_BYTES:,} bytes. Check that it is the right file.")
        return parse_toml(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except FileNotFoundError:
        raise UsageError(not_found) from None
    except OSError as problem:
        raise UsageError(f"{path} cannot be read: {problem.strerror or problem}.") from None
    except UnicodeDecodeError as problem:
        raise UsageError(f"{path} is not TOML: it is not UTF-8 ({problem}).") from None
    except tomllib.TOMLDecodeError as problem:
        raise UsageError(f"{path} is not TOML: {problem}. Correct the line.") from None
    except ValueError as problem:
        raise UsageError(f"{path}: {problem}. Correct the file.") from None


def parse_toml(text: str) -> dict[str, Any]:
    """The content of TOML text.

    Raises:
        tomllib.TOMLDecodeError: not TOML.
        ValueError: an integer has more than 64 bits, a key more than ``MAX_KEY_PARTS`` parts, lists and tables are nested more
            than ``MAX_DEPTH`` levels deep, or a date is impossible.
    """
    for key in _KEY.finditer(_NO_KEYS.sub("text", text)):
        if key[0].count(".") >= MAX_KEY_PARTS:
            raise ValueError(f"a key has more than {MAX_KEY_PARTS} parts")
    too_large = "an integer has more than 64 bits"
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError:
        raise ValueError(f"lists or tables are nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as problem:
        raise ValueError(too_large if "digits" in str(problem) else str(problem)) from None
    level: list[Any] = [content]
    for _ in range(MAX_DEPTH + 1):
        values = [one for outer in level for one in (outer.values() if isinstance(outer, dict) else outer)]
        if any(isinstance(one, int) and one not in _INTEGERS for one in values):
            raise ValueError(too_large)
        level = [one for one in values if isinstance(one, dict | list)]
        if not level:
            return content
    raise ValueError(f"lists or tables are nested more than {MAX_DEPTH} levels deep")


def apply_override(data: dict[str, Any], override: str, kind: type, *, example: str) -> list[Location]:
    """Set what ``override`` ("key=value") says in the content of a file that ``kind`` describes, and return the places set.

    The key is dotted. In a list of tables, "table.key" sets the key in all of them and "table.NAME.key" in the one with that
    name or number (from 1). The value is TOML, or text if it is not TOML.

    Raises:
        UsageError: it is not of that form (the message shows ``example``), or there is no such table.
    """
    key, equals, written = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UsageError(f"--set {override}: write it as key=value, such as --set {example}.")
    if len(parts) > MAX_KEY_PARTS:
        raise UsageError(f"--set {override}: the key has more than {MAX_KEY_PARTS} parts.")
    try:
        value = parse_toml(f"value = {written}")["value"]
    except tomllib.TOMLDecodeError:
        value = written.strip()
    except ValueError as problem:
        raise UsageError(f"--set {override}: {problem}.") from None
    try:
        places = list(_places(data, parts, _schema(kind), ()))
    except LookupError as problem:
        raise UsageError(f"--set {override}: {problem.args[0]}") from None
    for table, name, _ in places:
        table[name] = value
    return [place for _, _, place in places]


def _places(
    data: dict[str, Any], parts: Sequence[str], schema: Mapping[str, Any], at: Location
) -> Iterator[tuple[dict[str, Any], str, Location]]:
    """(table, key, location) of each value that a dotted key names; sections that are missing are added."""
    first, rest = parts[0], parts[1:]
    if not rest:
        yield data, first, (*at, first)
        return
    described = schema.get("properties", {}).get(first, {})
    if "properties" in described.get("items", {}):
        for number, own in _chosen(data.get(first), first, rest, described["items"]):
            yield from _places(data[first][number], own, described["items"], (*at, first, number))
        return
    inner = data.setdefault(first, {})
    if isinstance(inner, dict):  # else the file is wrong there, and ``validate`` says so
        yield from _places(inner, rest, described, (*at, first))


def _chosen(
    tables: Any, name: str, rest: Sequence[str], schema: Mapping[str, Any]
) -> Iterator[tuple[int, Sequence[str]]]:
    """The numbers of the tables that a key names, and what the key says of each; the name of a table may have dots."""
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise LookupError(f"the file has no [[{name}]].")
    names = [str(table.get("name", number)) for number, table in enumerate(tables, start=1)]
    key = ".".join(rest)
    for number, own in enumerate(names):
        for selector in (own, str(number + 1)):
            if key.startswith(f"{selector}."):
                yield number, key.removeprefix(f"{selector}.").split(".")
                return
    if len(rest) > 1 and rest[0] not in schema.get("properties", {}):
        raise LookupError(f"there is no {name} {rest[0]!r}. There are {', '.join(names)}.")
    yield from ((number, rest) for number in range(len(tables)))


def validate(
    kind: type[_Content], data: Mapping[str, Any], where: str, overrides: Mapping[Location, str] | None = None
) -> _Content:
    """The content of a file as the dataclass ``kind``.

    ``where`` names the file in errors; ``overrides`` are the texts of --set by the places that they have set.

    Raises:
        UsageError: an unknown or missing key, or a value of the wrong type or out of range; the message names the first of them.
    """
    try:
        return TypeAdapter(kind).validate_python(data)
    except ValidationError as problem:
        error = problem.errors(include_url=False)[0]
    for place, override in (overrides or {}).items():
        if error["loc"][: len(place)] == place:
            where = f"--set {override}"
    raise UsageError(f"{where}: {_sentence(error, _schema(kind), data)}")


def _sentence(error: ErrorDetails, schema: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What is wrong, as a sentence."""
    place, key = error["loc"], _dotted(error["loc"], data)
    match error["type"]:
        case "unexpected_keyword_argument":
            sentence = f"unknown key {key}{_closest(place, schema, _dotted(place[:-1], data))}"
        case "missing":
            sentence = f"{key} is missing."
        case "tuple_type":
            sentence = f"write each {place[-1]} as [[{place[-1]}]]."
        case "dataclass_type" if isinstance(place[-1], int):
            sentence = f"write each {place[-2]} as [[{place[-2]}]]."
        case "dataclass_type":
            sentence = f"{key} is a section; write [{key}] and its keys below."
        case "choice":
            names = error["ctx"]["names"]
            near = get_close_matches(error["input"], names, 1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            sentence = f"{key} must be one of {', '.join(map(repr, names))}, not {shown(error['input'])}.{hint}"
        case "greater_than_equal" | "less_than_equal":
            sentence = f"{key} must be {_span(_described(place, schema))}, not {shown(error['input'])}."
        case kind if kind in _KINDS:
            sentence = f"{key} must be {_KINDS[kind]}, not {shown(error['input'])}."
        case _:
            sentence = f"{key}: {error['msg']}."
    return sentence


def _dotted(place: Location, data: Any) -> str:
    """A location as --set writes it: tables in a list by their name, else by their number from 1."""
    parts = []
    for part in place:
        try:
            data = data[part]
        except (LookupError, TypeError):
            data = None
        own = data.get("name") if isinstance(data, dict) and isinstance(part, int) else None
        parts.append(str(part + 1 if isinstance(part, int) else part) if not isinstance(own, str) else own)
    return ".".join(parts)


def _span(described: Mapping[str, Any]) -> str:
    low, high = described.get("minimum"), described.get("maximum")
    if low is not None and high is not None:
        return f"between {low:.12g} and {high:.12g}"
    return f"{low:.12g} or more" if low is not None else f"{high:.12g} or less"


def _closest(place: Location, schema: Mapping[str, Any], section: str) -> str:
    """The end of the sentence about an unknown key of ``section``: the closest known key, or all keys of the section."""
    *parents, name = [part for part in place if isinstance(part, str)]
    siblings = list(_described(place[:-1], schema).get("properties", {}))
    inside = [key for key in siblings if len(name) > 2 and name in key] + get_close_matches(name, siblings, 1)
    if inside:
        return f"; the closest known key is {f'{section}.'.lstrip('.')}{inside[0]}."
    known = list(_keys(schema))
    elsewhere = [key for key in known if key.rpartition(".")[2] == name]
    elsewhere += get_close_matches(".".join([*parents, name]), known, 1)
    return f"; the closest known key is {elsewhere[0]}." if elsewhere else f". Known keys: {', '.join(siblings)}."


def known_keys(kind: type) -> list[str]:
    """Every key that a file may have, dotted, with the sections and tables themselves."""
    return list(_keys(_schema(kind)))


def _keys(schema: Mapping[str, Any]) -> Iterator[str]:
    for name, described in schema.get("properties", {}).items():
        yield name
        yield from (f"{name}.{key}" for key in _keys(described.get("items", described)))


def _described(place: Location, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of the schema that describes a location."""
    for part in place:
        schema = schema["items"] if isinstance(part, int) else schema["properties"][part]
    return schema


def _schema(kind: type) -> dict[str, Any]:
    """The JSON schema of a dataclass, each reference replaced by what it refers to; of a value that may be missing, its type."""
    schema = TypeAdapter(kind).json_schema()
    definitions = schema.get("$defs", {})

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return whole(definitions[part["$ref"].rpartition("/")[2]])
        if "anyOf" in part:
            return whole(next(item for item in part["anyOf"] if item.get("type") != "null"))
        return {key: whole(value) for key, value in part.items() if key not in ("$defs", "default")}

    result: dict[str, Any] = whole(schema)
    return result
