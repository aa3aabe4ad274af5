"""Run files evaluated with the same qrels and compared, as tables and JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus.qrels import read_qrels
from bioqa.errors import QuestionError, UsageError
from bioqa.evaluate.measures import check_measures, measure_runs
from bioqa.evaluate.ranking import means
from bioqa.evaluate.significance import MeasureValues, RunDifference, compare_runs
from bioqa.io.tables import Cell, Column, Table
from bioqa.io.trec import Qrels, RunScores, read_run

SIGNIFICANCE = 0.05
"""The level below which a corrected p-value is marked."""


@dataclass(frozen=True, slots=True)
class RankingReport:
    """``runs`` has each run's values by its name; the first is the baseline of ``differences``.

    ``test`` and ``correction`` are those of the p-values; ``remarks`` are sentences about queries without results or judgements.
    """

    qrels: str
    queries: int
    measures: tuple[str, ...]
    runs: Mapping[str, MeasureValues]
    test: str
    correction: str | None
    differences: tuple[RunDifference, ...]
    remarks: tuple[str, ...]


def evaluate_run_files(
    qrels_path: str | Path,
    run_paths: Sequence[str | Path],
    measures: Sequence[str],
    *,
    test: str = "student",
    correction: str | None = "holm",
) -> RankingReport:
    """Evaluate run files with a file of relevance judgements, and compare the first with each of the others.

    Raises:
        UsageError: an unknown measure, test or correction, or a duplicate run or measure.
        QuestionError: a file cannot be read, or no query of a run is in the qrels.
    """
    check_measures(measures)
    if len(set(measures)) < len(measures):
        raise UsageError("Duplicate measure. Name each measure once.")
    names = _names([Path(path) for path in run_paths])
    qrels = read_qrels(qrels_path)
    values: dict[str, MeasureValues] = {}
    remarks = _remarks_on_qrels(str(qrels_path), qrels)
    for name, path in names.items():
        run = read_run(path)
        values[name] = _evaluate(path, qrels, run, measures)
        remarks += _remarks_on_run(name, run, qrels)
    baseline, *others = values
    differences = compare_runs(values[baseline], {name: values[name] for name in others}, test, correction)
    return RankingReport(
        str(qrels_path), len(qrels), tuple(measures), values, test, correction, tuple(differences), tuple(remarks)
    )


def _evaluate(path: Path, qrels: Qrels, run: RunScores, measures: Sequence[str]) -> MeasureValues:
    try:
        return measure_runs(qrels, run, measures)
    except QuestionError as problem:
        raise QuestionError(f"{path}: {problem}") from None


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """The name of each run: that of its file, or its path if two files have the same name."""
    if len({path.resolve() for path in paths}) < len(paths):
        raise UsageError("Duplicate run. Name each run once.")
    short = [path.name for path in paths]
    return {path.name if short.count(path.name) == 1 else str(path): path for path in paths}


def _remarks_on_qrels(name: str, qrels: Qrels) -> list[str]:
    without_relevant = [query for query, row in qrels.items() if not any(relevance > 0 for relevance in row.values())]
    return (
        [f"{_some(without_relevant, len(qrels))} of {name} have no relevant document and count 0."]
        if without_relevant
        else []
    )


def _remarks_on_run(name: str, run: RunScores, qrels: Qrels) -> list[str]:
    unknown = [query for query in run if query not in qrels]
    missing = [query for query in qrels if query not in run]
    remarks = [f"{_some(unknown, len(run))} of {name} are not in the qrels and were ignored."] if unknown else []
    return remarks + ([f"{_some(missing, len(qrels))} have no result in {name} and count 0."] if missing else [])


def _some(queries: Sequence[str], all: int) -> str:
    return f"{len(queries):,} of {all:,} queries ({', '.join(queries[:3])}{', …' if len(queries) > 3 else ''})"


def means_table(report: RankingReport) -> Table:
    """A row for each measure and run: the mean over all queries and, if runs are compared, the difference from the baseline."""
    if not report.differences:
        (values,) = report.runs.values()
        return Table([Column("Measure"), Column("Mean", ".4f")], list(means(values).items()))
    columns = [
        Column("Measure"),
        Column("Run"),
        Column("Mean", ".4f"),
        Column("Difference", "+.4f"),
        Column("p", "p"),
        *([Column(f"p ({report.correction})", "p")] if report.correction else []),
        Column(""),
        Column("+ / = / −", "s"),
    ]
    differences = {(one.measure, one.run): one for one in report.differences}
    rows: list[Sequence[Cell]] = []
    for measure in report.measures:
        for run, values in report.runs.items():
            mean = means(values)[measure]
            compared = _comparison(differences.get((measure, run)), report.correction)
            rows.append([measure, run, mean, *(compared or [None] * (len(columns) - 3))])
    return Table(columns, rows)


def _comparison(one: RunDifference | None, correction: str | None) -> list[Cell]:
    if one is None:
        return []
    counts = f"{one.better} / {one.equal} / {one.worse}"
    return [one.difference, one.p, *([one.corrected] if correction else []), _mark(one), counts]


def _mark(one: RunDifference) -> str:
    """An arrow if the run differs significantly from the baseline."""
    if one.corrected >= SIGNIFICANCE:
        return ""
    return "↑" if one.difference > 0 else "↓"


def per_query_table(report: RankingReport) -> Table:
    """A row with the values of each query and run, and at the end one with the means of each run."""
    several = len(report.runs) > 1
    columns = [Column("Query"), *([Column("Run")] if several else [])]
    rows: list[Sequence[Cell]] = []
    for query in next(iter(next(iter(report.runs.values())).values())):
        for run, values in report.runs.items():
            rows.append([query, *([run] if several else []), *(values[name][query] for name in report.measures)])
    for run, values in report.runs.items():
        rows.append(["all", *([run] if several else []), *means(values).values()])
    return Table([*columns, *(Column(name, ".4f") for name in report.measures)], rows)


def ranking_json(report: RankingReport, *, per_query: bool = False) -> dict[str, Any]:
    """The report as JSON, with the values of every query if ``per_query``."""
    runs = [
        {"run": run, "means": means(values), **({"per_query": values} if per_query else {})}
        for run, values in report.runs.items()
    ]
    found: dict[str, Any] = {"qrels": report.qrels, "queries": report.queries, "runs": runs}
    if report.differences:
        found |= {"baseline": runs[0]["run"], "test": report.test, "correction": report.correction}
        found["differences"] = [
            {**asdict(one), "significant": one.corrected < SIGNIFICANCE} for one in report.differences
        ]
    return {**found, "remarks": list(report.remarks)}
