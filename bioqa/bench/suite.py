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
    rerank-depth = 100

Every first stage is run on every collection, alone and with every reranker: these are the systems. A value may contain
``${VARIABLE}`` of the environment; paths are relative to the file's folder. The keys of a table are the fields of
``CollectionSpec``, ``FirstStageSpec`` and ``RerankerSpec``, those at the top the fields of ``SuiteFile``, with "-" for "_".
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from string import Template
from typing import Annotated, Any

from pydantic import ConfigDict, Field, with_config

from bioqa.errors import UsageError
from bioqa.io.typed_toml import (
    Flag,
    Location,
    Number,
    Tables,
    Text,
    Texts,
    Whole,
    apply_override,
    one_of,
    read_toml,
    validate,
)

MEASURES = ("ndcg@10", "bioasq-map@10", "mrr@10", "recall@100")
CORRECTIONS = ("holm", "bonferroni", "none")
_NAME = re.compile(r"[\w+-][\w.+-]*")
_MAX_NAME_BYTES = 100  # two of them and an ending are a file name, which has at most 255 bytes
_PATHS = ("corpus", "index", "questions", "qrels", "folder", "passages")


@dataclass(frozen=True, slots=True)
class CollectionSpec:
    """A collection as the suite names it; ``bioqa.bench.collection`` says which keys a kind needs."""

    name: Text
    kind: Text = "articles"
    corpus: Texts = ()
    index: Text = ""
    folder: Text = ""
    split: Text = "test"
    passages: Texts = ()
    questions: Text = ""
    qrels: Text = ""


@dataclass(frozen=True, slots=True)
class FirstStageSpec:
    """BM25's settings; ``depth`` candidates are retrieved for each question.

    ``as_of`` is a day, month or year: only citations that had entered PubMed by its end are found.
    """

    name: Text = "bm25"
    k1: Number = 0.9
    b: Number = 0.4
    depth: Annotated[Whole, Field(ge=1)] = 100
    rm3: Flag = False
    title_weight: Number = 0.0
    as_of: Text = ""


@dataclass(frozen=True, slots=True)
class RerankerSpec:
    """A reranker: ``model`` is its name or folder ("": ``name``), ``rerank_depth`` the number of candidates that it scores.

    A folder that begins with "." is relative to the suite's file. ``first_stage_weight`` × the first-stage score is added to the
    logit; None takes the weight in the model folder. ``engine`` "", ``max_length`` None and ``device`` "auto" leave the choice to
    the reranker.
    """

    name: Text
    model: Text = ""
    rerank_depth: Annotated[Whole, Field(ge=1)] = 100
    max_length: Whole | None = None
    batch_size: Annotated[Whole, Field(ge=1)] = 32
    device: Text = "auto"
    engine: Text = ""
    first_stage_weight: Annotated[Number, Field(ge=0, allow_inf_nan=False)] | None = None

    def options(self) -> dict[str, Any]:
        """The keyword arguments of ``Reranker``."""
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


@with_config(ConfigDict(extra="forbid", alias_generator=lambda name: name.replace("_", "-")))
@dataclass(frozen=True, slots=True)
class SuiteFile:
    """What a suite file may contain. ``baseline`` is the name of the system that all others are compared with ("": the first).

    ``correction`` is the correction of p-values for the comparisons within a collection. ``classification`` asks for the binary
    classification of gold passages against hard negatives, ``negatives`` per gold passage. ``examples`` is how many of the best
    and of the worst questions the report shows.
    """

    name: Text
    description: Text = ""
    measures: Texts = MEASURES
    baseline: Text = ""
    correction: Annotated[Text, one_of(CORRECTIONS)] = "holm"
    classification: Flag = True
    negatives: Annotated[Whole, Field(ge=1)] = 4
    examples: Annotated[Whole, Field(ge=0)] = 3
    collections: Annotated[Tables[CollectionSpec], Field(alias="collection")] = ()
    first_stages: Annotated[Tables[FirstStageSpec], Field(alias="first-stage")] = ()
    rerankers: Annotated[Tables[RerankerSpec], Field(alias="reranker")] = ()


@dataclass(frozen=True, slots=True)
class Suite(SuiteFile):
    """A checked suite with its variables and paths resolved; ``written`` has the settings as the file gives them, as JSON."""

    written: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def systems(self) -> list[System]:
        """Each first stage, alone and with each reranker."""
        return _systems(self)


def _systems(suite: SuiteFile) -> list[System]:
    return [
        system
        for stage in suite.first_stages
        for system in (System(stage), *(System(stage, reranker) for reranker in suite.rerankers))
    ]


def read_suite(path: str | Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None) -> Suite:
    """Read and check a suite file.

    ``overrides`` are "key=value", such as ``first-stage.depth=50`` (of each first stage) or ``reranker.default.rerank-depth=50``.
    ``environment`` (None: that of the process) gives the value of ``${VARIABLE}``.

    Raises:
        UsageError: the file is missing or not TOML, it has an unknown key or an invalid value, or a variable is not set; the
            message names the file and the key.
    """
    path = Path(path)
    data = read_toml(path, f"There is no suite file {path}.")
    overridden: dict[Location, str] = {}
    for override in overrides:
        places = apply_override(data, override, SuiteFile, example="reranker.rerank-depth=50")
        overridden |= dict.fromkeys(places, override)
    variables = os.environ if environment is None else environment
    written = _with_baseline(validate(SuiteFile, data, str(path), overridden))
    content = _with_baseline(validate(SuiteFile, _expanded(data, path, variables), str(path), overridden))
    _check(content, path)
    suite = Suite(**{one.name: getattr(content, one.name) for one in fields(content)}, written=asdict(written))
    return _resolved(suite, path.parent)


def _with_baseline(suite: SuiteFile) -> SuiteFile:
    return suite if suite.baseline or not suite.first_stages else replace(suite, baseline=suite.first_stages[0].name)


def without_rerankers(suite: Suite) -> Suite:
    """The suite with its first stages alone.

    Raises:
        UsageError: the baseline has a reranker.
    """
    if all(suite.baseline != stage.name for stage in suite.first_stages):
        raise UsageError(f"The baseline {suite.baseline} has a reranker. Without rerankers, set another baseline.")
    return replace(suite, rerankers=(), written=suite.written | {"rerankers": []})


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
        raise UsageError(f"{path}: {value!r} has a $ without a variable. Write $$ for a plain $.") from None


def _resolved(suite: Suite, folder: Path) -> Suite:
    """The suite with its paths relative to the working directory instead of to ``folder``."""

    def resolve(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(resolve(one) for one in value)
        return str(folder / Path(value).expanduser()) if value else value

    collections = [replace(one, **{key: resolve(getattr(one, key)) for key in _PATHS}) for one in suite.collections]
    rerankers = [
        replace(one, model=resolve(one.model) if one.model.startswith(".") else one.model) for one in suite.rerankers
    ]
    return replace(suite, collections=tuple(collections), rerankers=tuple(rerankers))


def _tables(suite: SuiteFile) -> dict[str, Sequence[CollectionSpec | FirstStageSpec | RerankerSpec]]:
    return {"collection": suite.collections, "first-stage": suite.first_stages, "reranker": suite.rerankers}


def _check(suite: SuiteFile, path: Path) -> None:
    """Raise UsageError for settings that contradict each other."""
    for table, entries in _tables(suite).items():
        if not entries and table != "reranker":
            raise UsageError(f"{path} has no [[{table}]]. Add one.")
    _check_names(suite, path)
    known = [system.name for system in _systems(suite)]
    if suite.baseline not in known:
        raise UsageError(f"{path}: baseline {suite.baseline!r} is not a system. There are {', '.join(known)}.")
    if not suite.measures:
        raise UsageError(f"{path}: measures is empty. Name at least one measure.")
    for reranker in suite.rerankers:
        for stage in suite.first_stages:
            if reranker.rerank_depth > stage.depth:
                raise UsageError(
                    f"{path}: reranker {reranker.name} scores {reranker.rerank_depth} candidates, but first stage "
                    f"{stage.name} retrieves only {stage.depth}. Raise its depth."
                )


def _check_names(suite: SuiteFile, path: Path) -> None:
    """Raise UsageError for names that cannot be those of files, or are not different."""
    for table, entries in _tables(suite).items():
        names = [entry.name for entry in entries]
        for name in names:
            if not _NAME.fullmatch(name):
                raise UsageError(
                    f"{path}: {table} name {name!r} may contain only letters, digits and . + - _, and must not start with a dot."
                )
            if len(name.encode()) > _MAX_NAME_BYTES:
                raise UsageError(f"{path}: {table} name {name!r} is too long; it may have {_MAX_NAME_BYTES} bytes.")
            if names.count(name) > 1:
                raise UsageError(f"{path}: duplicate {table} name {name!r}.")
    for collection in suite.collections:
        if not _NAME.fullmatch(collection.split):
            raise UsageError(
                f"{path}: split {collection.split!r} of collection {collection.name} is not the name of one."
            )
        for key in _PATHS:
            if "\0" in "".join(getattr(collection, key)):
                raise UsageError(f"{path}: {key} of collection {collection.name} has a null character.")
    files = [system.file_name.casefold() for system in _systems(suite)]
    for system in _systems(suite):
        if files.count(system.file_name.casefold()) > 1:
            raise UsageError(f"{path}: two systems would write the file {system.file_name}.run. Rename one of them.")
