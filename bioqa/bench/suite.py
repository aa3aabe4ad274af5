"""Benchmark suites: a TOML file that names collections, first stages, rerankers, measures and the baseline.

    name = "demo"
    measures = ["ndcg@10", "bioasq-map@10"]
    baseline = "bm25"

    [[collection]]            # kinds: bioqa.bench.collection
    name = "demo"
    kind = "articles"
    corpus = ["../../data/demo/demo26n0001.xml"]
    questions = "../../data/demo/questions.json"

    [[first-stage]]
    name = "bm25"
    depth = 100

    [[reranker]]
    name = "default"
    depth = 100

Every first stage is run on every collection, alone and with every reranker: these are the systems. A value may hold
``${VARIABLE}`` of the environment; paths are relative to the file's folder. A table's keys are the fields of ``CollectionSpec``,
``FirstStageSpec`` and ``RerankerSpec``, those at the top the fields of ``Suite``, with "-" for "_".
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from string import Template
from typing import Any, TypeVar, get_type_hints

from bioqa.errors import UsageError
from bioqa.io.toml_file import parse_override, read_toml

MEASURES = ("ndcg@10", "bioasq-map@10", "mrr@10", "recall@100")
CORRECTIONS = ("holm", "bonferroni", "none")
_NAME = re.compile(r"[\w.+-]+")
_PATHS = {"corpus", "index", "questions", "qrels", "folder", "passages"}
_Spec = TypeVar("_Spec")


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection as the suite names it; which keys a kind needs is said in ``bioqa.bench.collection``."""

    name: str
    kind: str = "articles"
    corpus: tuple[str, ...] = ()
    index: str = ""
    folder: str = ""
    split: str = "test"
    passages: tuple[str, ...] = ()
    questions: str = ""
    qrels: str = ""


@dataclass(frozen=True, slots=True)
class FirstStageSpec:
    """BM25's settings; ``depth`` candidates are found for each question."""

    name: str = "bm25"
    k1: float = 0.9
    b: float = 0.4
    depth: int = 100
    rm3: bool = False
    title_weight: float = 0.0


@dataclass(frozen=True, slots=True)
class RerankerSpec:
    """A reranker: ``model`` is its name or folder ("": ``name``), ``depth`` how many candidates it scores.

    A folder that begins with "." is relative to the suite's file.

    ``first_stage_weight`` times the first-stage score is added to the logit; None takes what the model folder says. ``engine``
    "" leaves the choice to the reranker, as do ``max_length`` None and ``device`` "auto".
    """

    name: str
    model: str = ""
    depth: int = 100
    max_length: int | None = None
    batch_size: int = 32
    device: str = "auto"
    engine: str = ""
    first_stage_weight: float | None = None

    def options(self) -> dict[str, Any]:
        """The arguments of ``Reranker`` beside the model."""
        options: dict[str, Any] = {"device": self.device, "batch_size": self.batch_size, "max_length": self.max_length}
        return options | ({"engine": self.engine} if self.engine else {})


@dataclass(frozen=True, slots=True)
class System:
    """A first stage, alone or with a reranker."""

    first_stage: FirstStageSpec
    reranker: RerankerSpec | None = None

    @property
    def name(self) -> str:
        """As "bm25" or "bm25 + default"."""
        return self.first_stage.name + (f" + {self.reranker.name}" if self.reranker else "")

    @property
    def file_name(self) -> str:
        """The name without spaces, for files and the tag of a run."""
        return self.name.replace(" ", "")


@dataclass(frozen=True, slots=True)
class Suite:
    """A checked suite. ``baseline`` is the name of the system that all others are compared with.

    ``correction`` is the correction of p-values for the comparisons within a collection. ``classification`` asks for the binary
    classification of gold passages against hard negatives, ``negatives`` to each gold passage. ``examples`` is how many of the best
    and of the worst questions the report shows.
    """

    name: str
    description: str = ""
    measures: tuple[str, ...] = MEASURES
    baseline: str = ""
    correction: str = "holm"
    classification: bool = True
    negatives: int = 4
    examples: int = 3
    collections: tuple[CollectionSpec, ...] = ()
    first_stages: tuple[FirstStageSpec, ...] = ()
    rerankers: tuple[RerankerSpec, ...] = ()
    written: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def systems(self) -> list[System]:
        """Each first stage, alone and with each reranker."""
        return [
            system
            for stage in self.first_stages
            for system in (System(stage), *(System(stage, reranker) for reranker in self.rerankers))
        ]


_TABLES: dict[str, tuple[str, type]] = {
    "collection": ("collections", CollectionSpec),
    "first-stage": ("first_stages", FirstStageSpec),
    "reranker": ("rerankers", RerankerSpec),
}
_LISTS = {name for name, _ in _TABLES.values()}


def read_suite(path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Suite:
    """Read and check a suite file; ``overrides`` are "key=value", as ``reranker.depth=50`` or ``reranker.default.depth=50``.

    ``environment`` (None: the process's) gives the value of ``${VARIABLE}``.

    Raises:
        UsageError: the file is missing or no TOML, a key is unknown or has a value that makes no sense, a variable is not set; the
            message names the file and the key.
    """
    path = Path(path)
    data = read_toml(path, f"There is no suite file {path}.")
    for override in overrides:
        _override(data, override)
    variables = os.environ if environment is None else environment
    suite = _suite(_expanded(data, path, variables), path, path.parent)
    _check(suite, path)
    written = asdict(_suite(data, path, None))
    del written["written"]
    return replace(suite, written=written)


def _suite(data: Mapping[str, Any], path: Path, folder: Path | None) -> Suite:
    """The suite of a file's content; paths are taken as relative to ``folder``, or left as they are where it is None."""
    values = dict(data)
    for table, (name, spec) in _TABLES.items():
        entries = values.pop(table, [])
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise UsageError(f"{path}: {table} must be tables that begin with [[{table}]].")
        values[name] = tuple(
            _fill(spec, entry, f"{path}, {table} {entry.get('name', number)}", folder)
            for number, entry in enumerate(entries, start=1)
        )
    suite = _fill(Suite, values, str(path), folder)
    return suite if suite.baseline or not suite.first_stages else replace(suite, baseline=suite.first_stages[0].name)


def without_rerankers(suite: Suite) -> Suite:
    """The suite with its first stages alone.

    Raises:
        UsageError: the baseline has a reranker.
    """
    if all(suite.baseline != stage.name for stage in suite.first_stages):
        raise UsageError(f"The baseline {suite.baseline} has a reranker: without rerankers, set another one.")
    return replace(suite, rerankers=(), written=suite.written | {"rerankers": []})


def _override(data: dict[str, Any], override: str) -> None:
    """Set what "key=value" says; in a list of tables in each of them, or in the one that is named."""
    parts, value = parse_override(override, "reranker.depth=50")
    if len(parts) == 1 and parts[0] not in _TABLES:
        data[parts[0]] = value
        return
    tables = data.get(parts[0])
    # A name may itself hold dots, so what is between the first and the last part is one name.
    name, last = ".".join(parts[1:-1]), parts[-1]
    chosen = [one for one in tables if not name or one.get("name") == name] if isinstance(tables, list) else []
    if parts[0] not in _TABLES or len(parts) == 1 or not chosen:
        known = ", ".join(_TABLES)
        raise UsageError(f"--set {override}: the suite has no such key. Name a setting, or one of {known} and its key.")
    for table in chosen:
        table[last] = value


def _expanded(value: Any, path: Path, environment: Mapping[str, str]) -> Any:
    """The value with ``${VARIABLE}`` replaced in each text."""
    if isinstance(value, dict):
        return {key: _expanded(inner, path, environment) for key, inner in value.items()}
    if isinstance(value, list):
        return [_expanded(inner, path, environment) for inner in value]
    if not isinstance(value, str):
        return value
    try:
        return Template(value).substitute(environment)
    except KeyError as problem:
        raise UsageError(f"{path} uses ${{{problem.args[0]}}}, which is not set. Set it in the environment.") from None
    except ValueError:
        raise UsageError(
            f"{path}: {value!r} holds a $ that begins no ${{VARIABLE}}. Write $$ for a plain one."
        ) from None


def _fill(spec: type[_Spec], table: Mapping[str, Any], where: str, folder: Path | None) -> _Spec:
    """An instance of the dataclass ``spec`` from a TOML table, its keys and the kinds of its values checked."""
    hints = get_type_hints(spec)
    known = {one.name: one for one in fields(spec)}  # type: ignore[arg-type]
    values = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known or name == "written" or (name in _LISTS and not isinstance(value, tuple)):
            listed = ", ".join(one.replace("_", "-") for one in known if one not in _LISTS | {"written"})
            raise UsageError(f"{where}: there is no setting {key!r}. There are {listed}.")
        values[name] = _value(hints[name], value, f"{where}: {key}")
        if folder is not None and (name in _PATHS or (name == "model" and value.startswith("."))):
            values[name] = _resolved(values[name], folder)
    missing = [n for n, one in known.items() if one.default is one.default_factory is MISSING and n not in values]
    if missing:
        raise UsageError(f"{where}: {missing[0].replace('_', '-')} is missing.")
    return spec(**values)


def _value(kind: Any, value: Any, where: str) -> Any:
    """``value`` where it is of the kind that a field is declared with."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in (float, float | None) and number:
        return float(value)
    if kind in (int, int | None) and number and isinstance(value, int):
        return value
    if kind in (str, bool) and isinstance(value, kind):
        return value
    if kind == tuple[str, ...]:
        value = [value] if isinstance(value, str) else value
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
    if isinstance(value, tuple):
        return value
    wanted = {float: "a number", int: "a whole number", bool: "true or false", str: "a text"}
    named = {float | None: "a number", int | None: "a whole number", tuple[str, ...]: "a list of texts"} | wanted
    raise UsageError(f"{where} must be {named[kind]}, not {value!r}.")


def _resolved(value: Any, folder: Path) -> Any:
    """A path, or several, relative to the suite's folder."""
    if isinstance(value, tuple):
        return tuple(_resolved(one, folder) for one in value)
    return str(folder / Path(value).expanduser()) if value else value


def _check(suite: Suite, path: Path) -> None:
    """Raise UsageError for settings that contradict each other."""
    for table, (name, _) in _TABLES.items():
        entries = getattr(suite, name)
        if not entries and table != "reranker":
            raise UsageError(f"{path} names no {table}. Add a table [[{table}]].")
        names = [entry.name for entry in entries]
        for one in names:
            if not _NAME.fullmatch(one):
                raise UsageError(f"{path}: the name {one!r} of a {table} may hold letters, digits and . + - _ only.")
        if len(set(names)) < len(names):
            raise UsageError(f"{path}: two of {table} have one name. Names must differ.")
    known = [system.name for system in suite.systems]
    if suite.baseline not in known:
        raise UsageError(f"{path}: the baseline {suite.baseline!r} is no system. There are {', '.join(known)}.")
    if suite.correction not in CORRECTIONS:
        raise UsageError(f"{path}: there is no correction {suite.correction!r}. There are {', '.join(CORRECTIONS)}.")
    if not suite.measures:
        raise UsageError(f"{path} names no measure.")
    for name, value, least in (("negatives", suite.negatives, 1), ("examples", suite.examples, 0)):
        if value < least:
            raise UsageError(f"{path}: {name} must be {least} or more, not {value}.")
    _check_depths(suite, path)


def _check_depths(suite: Suite, path: Path) -> None:
    for table, entries in (("first-stage", suite.first_stages), ("reranker", suite.rerankers)):
        for entry in entries:
            if entry.depth < 1:
                raise UsageError(f"{path}, {table} {entry.name}: the depth must be 1 or more, not {entry.depth}.")
    for reranker in suite.rerankers:
        for stage in suite.first_stages:
            if reranker.depth > stage.depth:
                raise UsageError(
                    f"{path}: reranker {reranker.name} is to score {reranker.depth} candidates, but the first stage "
                    f"{stage.name} finds {stage.depth}. Make the first stage as deep."
                )
        if reranker.first_stage_weight is not None and not 0 <= reranker.first_stage_weight < float("inf"):
            raise UsageError(
                f"{path}, reranker {reranker.name}: first-stage-weight must be 0 or more, not {reranker.first_stage_weight}."
            )
