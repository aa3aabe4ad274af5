"""``bioqa bench``: run a benchmark suite, or compare two results."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.commands import Group
from bioqa.cli.output import echo, note, print_json, progress_bar

if TYPE_CHECKING:
    from bioqa.bench.compare import ResultComparison
    from bioqa.bench.results import SuiteResult, SystemResult


@click.group(name="bench", cls=Group, example="bioqa bench run benchmarks/suites/demo.toml --out results/demo")
def command() -> None:
    """Run a benchmark suite, or compare two results."""


@contextmanager
def _progress(label: str, total: int) -> Iterator[Callable[[], object]]:
    with progress_bar("questions", total, label=label) as bar:
        yield bar.update


@command.command(example="bioqa bench run benchmarks/suites/demo.toml --set reranker.rerank-depth=10")
@click.argument("suite", type=click.Path(path_type=Path))
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="FOLDER", help="Write the results here.  [default: results/SUITE]"
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as reranker.rerank-depth=50."
)
@click.option("--limit", metavar="N", type=int, help="Use only the first N questions of each collection.")
@click.option("--no-rerank", is_flag=True, help="Run the first stages only.")
@click.option(
    "--cache",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Keep indexes and scores here.  [default: OUT/cache]",
)
@click.option(
    "--optimistic",
    is_flag=True,
    help="Also report an upper bound, labelled as such, with the positives that BM25 missed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def run(
    suite: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    limit: int | None,
    no_rerank: bool,
    cache: Path | None,
    optimistic: bool,
    as_json: bool,
) -> None:
    """Run the first stages and rerankers of SUITE.

    SUITE is a TOML file with collections, first stages and rerankers.
    The results are runs, qrels, measures.json, report.json and report.html. Interrupted runs resume; unchanged results are reused.
    """
    from bioqa.bench.run_collection import BenchOptions
    from bioqa.bench.run_suite import run_suite
    from bioqa.bench.suite import read_suite, without_rerankers

    out = out or Path("results") / (suite.stem.strip(".") or "suite")
    options = BenchOptions(cache or out / "cache", limit, optimistic, note, _progress)
    chosen = read_suite(suite, overrides)
    result = run_suite(without_rerankers(chosen) if no_rerank else chosen, out, options)
    if as_json:
        print_json(result.to_dict())
        return
    _print(result)
    echo(f"Wrote {out / 'report.html'}.")


def _print(result: "SuiteResult") -> None:
    for collection in result.collections:
        measures = list(collection.systems[0].measures)
        echo(f"{collection.name}: {collection.questions:,} questions, {collection.passages:,} passages")
        width = max(len(system.name) for system in collection.systems)
        echo("  " + " " * width + "".join(f"{name:>15}" for name in measures))
        for system in collection.systems:
            echo(f"  {system.name:<{width}}" + "".join(f"{system.measures[name]:>15.4f}" for name in measures))
            if system.name != result.baseline and system.comparisons:
                echo("  " + " " * width + "".join(_comparison(system, name) for name in measures))


def _comparison(system: "SystemResult", measure: str) -> str:
    from bioqa.evaluate.significance import format_p_value

    return f"{format_p_value(system.comparisons[measure].corrected):>15}"


@command.command(example="bioqa bench compare results/before results/after")
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two results of `bioqa bench run`.

    A and B are folders or report.json files.
    Systems are matched by collection and name, and compared over the questions that both results have. Settings that differ are
    listed.
    """
    from bioqa.bench.compare import compare_results

    found = compare_results(first, second)
    if as_json:
        print_json(asdict(found))
        return
    _print_differences(found)


def _print_differences(found: "ResultComparison") -> None:
    from bioqa.evaluate.significance import format_p_value

    group = None
    for change in found.changes:
        if (change.collection, change.system) != group:
            group = change.collection, change.system
            echo(f"{change.collection}: {change.system}{_asked(change.questions)}")
        if change.corrected is not None:
            p = format_p_value(change.corrected)
        elif change.questions is not None:
            p = "not tested: a test needs two questions or more"
        else:
            p = "not tested: measures.json is missing"
        figures = f"{change.first:.4f} → {change.second:.4f}  {change.difference:+.4f}"
        echo(f"  {change.measure:<16} {figures}  {p}")
    for line in found.unpaired:
        echo(f"Not compared: {line}.")
    for name, first, second in found.settings:
        echo(f"Setting {name}: {_value(first)} → {_value(second)}")
    if not found.settings:
        echo("The settings are the same.")


def _asked(questions: int | None) -> str:
    if questions is None:
        return ""
    return f" ({questions:,} questions)" if questions != 1 else " (only 1 question in common)"


def _value(value: object) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)
