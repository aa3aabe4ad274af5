"""Run a suite and write the results: runs, qrels, measures, ``report.json`` and ``report.html``."""

import datetime
import json
from collections.abc import Iterable
from pathlib import Path

from bioqa.bench.collection import read_collection
from bioqa.bench.environment import environment
from bioqa.bench.report import render_report
from bioqa.bench.results import CollectionResult, SuiteResult, SystemDetails
from bioqa.bench.run_collection import BenchOptions, CollectionRuns, check_first_stage, run_collection
from bioqa.bench.suite import Suite
from bioqa.bench.suite_reranker import SuiteReranker
from bioqa.bench.summarize import SystemValues, run_of, summarize, system_details
from bioqa.errors import UsageError
from bioqa.evaluate.measures import COMPILING, check_measures
from bioqa.evaluate.ranking import notify_compilation
from bioqa.io.output import open_output, output_errors
from bioqa.io.trec import qrels_lines, run_lines
from bioqa.types import Article


def run_suite(suite: Suite, out: str | Path, options: BenchOptions) -> SuiteResult:
    """Run every system on every collection, and write the results to the folder ``out``.

    It gets ``report.html``, ``report.json`` (``SuiteResult``), ``measures.json`` (collection → system → measure → question →
    value), ``runs/COLLECTION/SYSTEM.run`` and ``qrels/COLLECTION.txt``. An interrupted run resumes when it is
    called again with the same cache.

    Raises:
        UsageError: a setting is invalid; checked before anything is run.
        BioqaError: reading, indexing, searching or reranking failed.
        OutputError: the results cannot be written.
    """
    out = Path(out)
    check_measures(suite.measures)
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"The limit of questions must be 1 or more, not {options.limit}.")
    collections = [read_collection(spec) for spec in suite.collections]
    for stage in suite.first_stages:
        check_first_stage(stage)
    for spec in suite.rerankers:
        SuiteReranker(spec).check()
    _make_folder(out)
    results: list[CollectionResult] = []
    values: dict[str, SystemValues] = {}
    shown: dict[str, dict[str, SystemDetails]] = {}
    for collection in collections:
        runs = run_collection(suite, collection, options)
        with notify_compilation(lambda: options.note(COMPILING)):
            result, values[collection.name] = summarize(suite, runs, optimistic=options.optimistic)
        shown[collection.name] = _details(suite, runs, values[collection.name])
        _write_runs(suite, runs, out)
        results.append(result)
    found = SuiteResult(
        suite=suite.name,
        description=suite.description,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        questions=options.limit,
        baseline=suite.baseline,
        environment=environment(),
        settings=suite.written,
        collections=results,
    )
    with open_output(out / "measures.json") as file:
        json.dump(values, file, ensure_ascii=False)
    with open_output(out / "report.html") as file:
        file.write(render_report(found, shown))
    with open_output(out / "report.json") as file:
        json.dump(found.to_dict(), file, ensure_ascii=False, indent=1)
        file.write("\n")
    return found


def _make_folder(folder: Path) -> None:
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _details(suite: Suite, runs: CollectionRuns, values: SystemValues) -> dict[str, SystemDetails]:
    from bioqa.index.reader import Index

    with Index(runs.index) as index:

        def articles(ids: Iterable[str]) -> dict[str, Article]:
            found = ((id, index.get(id)) for id in ids)
            return {id: article for id, article in found if article is not None}

        return system_details(suite, runs, values, articles)


def _write_runs(suite: Suite, runs: CollectionRuns, out: Path) -> None:
    name = runs.collection.name
    _make_folder(out / "runs" / name)
    _make_folder(out / "qrels")
    with open_output(out / "qrels" / f"{name}.txt") as file:
        for id, grades in runs.collection.qrels.items():
            file.writelines(qrels_lines(id, grades))
    for system in suite.systems:
        with open_output(out / "runs" / name / f"{system.file_name}.run") as file:
            for id, scores in run_of(runs, system).items():
                file.writelines(run_lines(id, scores.items(), system.file_name))
