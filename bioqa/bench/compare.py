"""Compare two results of a suite."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bioqa.bench.results import FORMAT, flatten
from bioqa.errors import QuestionError
from bioqa.evaluate.ranking import mean
from bioqa.evaluate.significance import correct_p_values, paired_test
from bioqa.io.json_text import parse_json

IGNORED = ("made", "environment.date")
"""Settings that always differ."""


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of a system in both results, over the questions that they share.

    ``p`` is that of the paired two-sided t-test, ``corrected`` (Holm) for all changes of the collection; both are None with a
    single question in common, and where the values of the single questions are missing. ``questions`` is then None too, and the
    means are those of the reports.
    """

    collection: str
    system: str
    measure: str
    first: float
    second: float
    questions: int | None = None
    p: float | None = None
    corrected: float | None = None

    @property
    def difference(self) -> float:
        """The second result minus the first."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class ResultComparison:
    """``settings`` that differ, as (name, first, second); ``unpaired`` says what is not compared and why."""

    changes: list[Change]
    settings: list[tuple[str, Any, Any]]
    unpaired: list[str]


@dataclass(frozen=True, slots=True)
class _Result:
    report: dict[str, Any]
    values: dict[str, dict[str, dict[str, dict[str, float]]]]

    def questions(self, key: tuple[str, str], measure: str) -> dict[str, float] | None:
        """The values of a system's measure by question id, None if they are missing."""
        collection, system = key
        return self.values.get(collection, {}).get(system, {}).get(measure)

    def asked(self, name: str) -> tuple[Any, ...]:
        """What the report tells of the questions of a collection."""
        one = next(one for one in self.report["collections"] if one["name"] == name)
        return tuple(one.get(key) for key in ("definition", "questions", "relevant"))

    def systems(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (collection["name"], system["name"]): system
            for collection in self.report["collections"]
            for system in collection["systems"]
        }

    def settings(self) -> dict[str, Any]:
        found = dict(flatten(self.report["settings"])) | dict(flatten(self.report["environment"], "environment"))
        found["questions"] = self.report["questions"]
        for (collection, system), one in self.systems().items():
            if one["rerank"]:
                found |= dict(flatten(one["rerank"]["setting"], f"{collection}.{system}"))
                found[f"{collection}.{system}.first_stage_weight"] = one["first_stage_weight"]
        return found


def compare_results(first: str | Path, second: str | Path) -> ResultComparison:
    """The differences between two results of ``bioqa bench run``, given as folders or report.json files.

    Only the means over questions that both results have are compared. Without the values of the single questions, those of the
    reports are, if these describe the same questions.

    Raises:
        QuestionError: one of them is not such a result, or they have no system on the same collection, with a measure and a
            question, in common.
    """
    one, other = _read(Path(first)), _read(Path(second))
    systems, others = one.systems(), other.systems()
    shared = [key for key in systems if key in others]
    if not shared:
        raise QuestionError(f"{first} and {second} have no system on the same collection in common.")
    changes: list[Change] = []
    obstacles: list[str] = []
    unpaired = [f"{name} on {collection} is only in {first}" for collection, name in systems.keys() - others.keys()]
    unpaired += [f"{name} on {collection} is only in {second}" for collection, name in others.keys() - systems.keys()]
    for collection in dict.fromkeys(name for name, _ in shared):
        found = []
        for key in (key for key in shared if key[0] == collection):
            measures = [name for name in systems[key]["measures"] if name in others[key]["measures"]]
            made = [change for measure in measures if (change := _change((one, other), key, measure))]
            if not made:
                obstacles.append(f"{key[1]} on {collection}: {_obstacle((one, other), key, measures)}")
            found += made
        changes += _corrected(found)
    if not changes:
        raise QuestionError(
            f"{first} and {second} cannot be compared. {obstacles[0]}. Compare results of the same questions."
        )
    settings, more = one.settings(), other.settings()
    names = [name for name in {**settings, **more} if settings.get(name) != more.get(name) and name not in IGNORED]
    return ResultComparison(
        changes, [(name, settings.get(name), more.get(name)) for name in names], sorted(unpaired) + obstacles
    )


def _read(path: Path) -> _Result:
    path = path / "report.json" if os.path.isdir(path) else path  # noqa: PTH112 - False for impossible names
    try:
        report = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QuestionError(f"There is no {path}. Name the folder that `bioqa bench run` wrote to.") from None
    except (OSError, ValueError) as problem:
        raise QuestionError(f"{path} cannot be read as JSON: {problem}.") from problem
    if not isinstance(report, dict) or report.get("format") != FORMAT or "collections" not in report:
        raise QuestionError(f"{path} is not a report of `bioqa bench run` (format {FORMAT}).")
    values = path.with_name("measures.json")
    try:
        found = _Result(report, parse_json(values.read_text(encoding="utf-8")) if values.is_file() else {})
    except (OSError, ValueError) as problem:
        raise QuestionError(f"{values} cannot be read as JSON: {problem}.") from problem
    _check(path, found)
    return found


def _check(path: Path, result: _Result) -> None:
    """Raise QuestionError if parts of a report are missing."""
    try:
        result.settings()
        sound = all(_is_nested(system["measures"], 1) for system in result.systems().values())
    except (AttributeError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise QuestionError(f"{path} is damaged: parts of a report are missing. Run `bioqa bench run` again.")
    if not _is_nested(result.values, 4):
        raise QuestionError(
            f"{path.with_name('measures.json')} is damaged: it does not have the values of each collection, system, measure and "
            "question. Run `bioqa bench run` again."
        )


def _is_nested(values: Any, depth: int) -> bool:
    """Whether the values are JSON objects in each other, ``depth`` of them, with finite numbers inside."""
    if depth == 0:
        return isinstance(values, int | float) and math.isfinite(values)
    return isinstance(values, dict) and all(_is_nested(value, depth - 1) for value in values.values())


def _change(results: tuple[_Result, _Result], key: tuple[str, str], measure: str) -> Change | None:
    """The change of a measure; None if the results are not of the same questions."""
    collection, system = key
    values, others = (result.questions(key, measure) for result in results)
    if values is None or others is None:
        first, second = (result.systems()[key]["measures"][measure] for result in results)
        same = results[0].asked(collection) == results[1].asked(collection)
        return Change(collection, system, measure, first, second) if same else None
    asked = [id for id in values if id in others]
    if not asked:
        return None
    mine, theirs = _of(values, asked), _of(others, asked)
    return Change(
        collection,
        system,
        measure,
        first=mean(measure, mine.values()),
        second=mean(measure, theirs.values()),
        questions=len(asked),
        p=float(paired_test(mine, theirs)) if len(asked) > 1 else None,
    )


def _obstacle(results: tuple[_Result, _Result], key: tuple[str, str], measures: list[str]) -> str:
    """Why a system in both results cannot be compared in any of the measures that both have."""
    if not measures:
        return "the results have no measure in common"
    if any(result.questions(key, measure) is None for result in results for measure in measures):
        return "the questions differ, and measures.json, which says how, is missing"
    return "the results have no question in common"


def _of(values: Mapping[str, float], asked: list[str]) -> dict[str, float]:
    return {id: values[id] for id in asked}


def _corrected(changes: list[Change]) -> list[Change]:
    p_values = [one.p for one in changes if one.p is not None]
    corrected = iter(correct_p_values(p_values, "holm") if p_values else [])
    return [one if one.p is None else replace(one, corrected=float(next(corrected))) for one in changes]
