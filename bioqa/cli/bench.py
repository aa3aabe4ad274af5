"""``bioqa bench``: run a benchmark suite, compare two results."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.output import note, progress_bar

if TYPE_CHECKING:
    from bioqa.bench.compare import Differences
    from bioqa.bench.results import SuiteResult, SystemResult


@click.group(name="bench")
def command() -> None:
    """Run a benchmark suite, compare two results."""


@contextmanager
def _bar(label: str, total: int) -> Iterator[Callable[[], object]]:
    with progress_bar("questions", total) as bar:
        bar.set_description(label)
        yield bar.update


@command.command()
@click.argument("suite", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: results/SUITE]")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting: reranker.depth=50.")
@click.option("--questions", type=int, help="Only the first so many questions of each collection.")
@click.option("--no-rerank", is_flag=True, help="First stages alone.")
@click.option(
    "--cache", type=click.Path(path_type=Path), help="Where indexes and scores are kept.  [default: OUT/cache]"
)
@click.option(
    "--optimistic", is_flag=True, help="Also report measures with the relevant passages that BM25 missed added."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def run(
    suite: Path,
    out: Path | None,
    overrides: tuple[str, ...],
    questions: int | None,
    no_rerank: bool,
    cache: Path | None,
    optimistic: bool,
    as_json: bool,
) -> None:
    """Run the first stages and rerankers of SUITE, a TOML file, on its collections.

    The results are runs, qrels, measures, report.json and report.html. What was killed goes on where it was when the same command
    is given again, and what has not changed since is not done again.
    """
    from bioqa.bench.results import as_json as to_json
    from bioqa.bench.run_cache import Work
    from bioqa.bench.run_suite import run_suite
    from bioqa.bench.suite import read_suite, without_rerankers

    out = out or Path("results") / suite.stem
    work = Work(cache or out / "cache", questions, optimistic, note, _bar)
    chosen = read_suite(suite, overrides)
    result = run_suite(without_rerankers(chosen) if no_rerank else chosen, out, work)
    if as_json:
        click.echo(json.dumps(to_json(result), ensure_ascii=False))
        return
    _print(result)
    click.echo(f"Written: {out / 'report.html'}")


def _print(result: "SuiteResult") -> None:
    for collection in result.collections:
        measures = list(collection.systems[0].measures)
        click.echo(f"{collection.name}: {collection.questions:,} questions, {collection.passages:,} passages")
        width = max(len(system.name) for system in collection.systems)
        click.echo("  " + " " * width + "".join(f"{name:>15}" for name in measures))
        for system in collection.systems:
            click.echo(f"  {system.name:<{width}}" + "".join(f"{system.measures[name]:>15.4f}" for name in measures))
            if system.name != result.baseline and system.comparisons:
                click.echo("  " + " " * width + "".join(_comparison(system, name) for name in measures))


def _comparison(system: "SystemResult", measure: str) -> str:
    from bioqa.bench.report import p_text

    return f"{p_text(system.comparisons[measure].corrected):>15}"


@command.command()
@click.argument("first", metavar="A", type=click.Path(path_type=Path))
@click.argument("second", metavar="B", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(first: Path, second: Path, as_json: bool) -> None:
    """Compare two results of `bioqa bench run`, folders or their report.json: what B changes.

    Systems are paired by collection and name, and tested question by question; settings that differ are listed.
    """
    from bioqa.bench.compare import compare_results

    found = compare_results(first, second)
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False))
        return
    _print_differences(found)


def _print_differences(found: "Differences") -> None:
    from bioqa.bench.report import p_text

    group = None
    for change in found.changes:
        if (change.collection, change.system) != group:
            group = change.collection, change.system
            asked = f" ({change.questions:,} questions)" if change.questions is not None else ""
            click.echo(f"{change.collection}: {change.system}{asked}")
        p = p_text(change.corrected) if change.corrected is not None else "not tested: no measures.json"
        figures = f"{change.first:.4f} → {change.second:.4f}  {change.difference:+.4f}"
        click.echo(f"  {change.measure:<16} {figures}  {p}")
    for line in found.unpaired:
        click.echo(f"Not compared: {line}.")
    for name, first, second in found.settings:
        click.echo(f"Setting {name}: {_value(first)} → {_value(second)}")
    if not found.settings:
        click.echo("No setting differs.")


def _value(value: object) -> str:
    return "–" if value is None else json.dumps(value, ensure_ascii=False)
