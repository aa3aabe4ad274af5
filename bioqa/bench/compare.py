"""Two results of a suite side by side."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bioqa.bench.report import flat
from bioqa.bench.results import FORMAT
from bioqa.errors import QuestionError
from bioqa.evaluate.significance import compare, correct

UNTOLD = ("made", "environment.date")
"""Settings that differ between any two results."""


@dataclass(frozen=True, slots=True)
class Change:
    """A measure of a system in both results, over the questions that they share.

    ``p`` is that of the paired two-sided t-test, ``corrected`` (Holm) for all changes of the collection; both None where the
    values of the questions are not there.
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
        """What the second has more."""
        return self.second - self.first


@dataclass(frozen=True, slots=True)
class Differences:
    """``settings`` that differ, as (name, first, second); ``unpaired`` says what only one of the results has."""

    changes: list[Change]
    settings: list[tuple[str, Any, Any]]
    unpaired: list[str]


@dataclass(frozen=True, slots=True)
class _Result:
    report: dict[str, Any]
    values: dict[str, dict[str, dict[str, dict[str, float]]]]

    def systems(self) -> dict[tuple[str, str], dict[str, Any]]:
        return {
            (collection["name"], system["name"]): system
            for collection in self.report["collections"]
            for system in collection["systems"]
        }

    def settings(self) -> dict[str, Any]:
        found = dict(flat(self.report["settings"])) | dict(flat(self.report["environment"], "environment"))
        found["questions"] = self.report["questions"]
        for (collection, system), one in self.systems().items():
            if one["rerank"]:
                found |= dict(flat(one["rerank"]["setting"], f"{collection}.{system}"))
                found[f"{collection}.{system}.first_stage_weight"] = one["first_stage_weight"]
        return found


def compare_results(first: str | Path, second: str | Path) -> Differences:
    """What differs between two results of ``bioqa bench run``: folders, or their report.json.

    Raises:
        QuestionError: one of them is no such result, or they have no system on one collection in common.
    """
    one, other = _read(Path(first)), _read(Path(second))
    systems, others = one.systems(), other.systems()
    shared = [key for key in systems if key in others]
    if not shared:
        raise QuestionError(f"{first} and {second} have no system on one collection in common: nothing to compare.")
    changes: list[Change] = []
    for collection in dict.fromkeys(name for name, _ in shared):
        found = [
            _change((one, other), key, measure)
            for key in shared
            if key[0] == collection
            for measure in systems[key]["measures"]
            if measure in others[key]["measures"]
        ]
        changes += _corrected(found)
    settings, more = one.settings(), other.settings()
    names = [name for name in {**settings, **more} if settings.get(name) != more.get(name) and name not in UNTOLD]
    unpaired = [f"{name} on {collection} is in {first} alone" for collection, name in systems.keys() - others.keys()]
    unpaired += [f"{name} on {collection} is in {second} alone" for collection, name in others.keys() - systems.keys()]
    return Differences(changes, [(name, settings.get(name), more.get(name)) for name in names], sorted(unpaired))


def _read(path: Path) -> _Result:
    path = path / "report.json" if path.is_dir() else path
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QuestionError(f"There is no {path}. Name the folder that `bioqa bench run` wrote to.") from None
    except (OSError, ValueError) as problem:
        raise QuestionError(f"{path} cannot be read as JSON: {problem}.") from problem
    if not isinstance(report, dict) or report.get("format") != FORMAT or "collections" not in report:
        raise QuestionError(f"{path} is no report of `bioqa bench run` of format {FORMAT}.")
    values = path.with_name("measures.json")
    try:
        found = _Result(report, json.loads(values.read_text(encoding="utf-8")) if values.is_file() else {})
    except (OSError, ValueError) as problem:
        raise QuestionError(f"{values} cannot be read as JSON: {problem}.") from problem
    _check(path, found)
    return found


def _check(path: Path, result: _Result) -> None:
    """Raise QuestionError where a report lacks what is compared."""
    try:
        result.settings()
        sound = all(isinstance(system["measures"], dict) for system in result.systems().values())
    except (AttributeError, KeyError, TypeError, ValueError):
        sound = False
    if not sound:
        raise QuestionError(f"{path} is damaged: parts of a report are missing. Run `bioqa bench run` again.")
    if not isinstance(result.values, dict):
        raise QuestionError(f"{path.with_name('measures.json')} is damaged: it is no JSON object. Run it again.")


def _change(results: tuple[_Result, _Result], key: tuple[str, str], measure: str) -> Change:
    collection, system = key
    first, second = (result.systems()[key]["measures"][measure] for result in results)
    values, others = (result.values.get(collection, {}).get(system, {}).get(measure, {}) for result in results)
    asked = [id for id in values if id in others]
    change = Change(collection, system, measure, first, second)
    if len(asked) < 2:
        return change
    mine, theirs = _of(values, asked), _of(others, asked)
    return replace(
        change,
        first=sum(mine.values()) / len(asked),
        second=sum(theirs.values()) / len(asked),
        questions=len(asked),
        p=float(compare(mine, theirs)),
    )


def _of(values: Mapping[str, float], asked: list[str]) -> dict[str, float]:
    return {id: values[id] for id in asked}


def _corrected(changes: list[Change]) -> list[Change]:
    p_values = [one.p for one in changes if one.p is not None]
    corrected = iter(correct(p_values, "holm") if p_values else [])
    return [one if one.p is None else replace(one, corrected=float(next(corrected))) for one in changes]
