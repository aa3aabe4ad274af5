"""Run a suite and write what it found: runs, qrels, measures, ``report.json`` and ``report.html``."""

import datetime
import json
from collections.abc import Iterable
from pathlib import Path

from bioqa.bench.collection import read_collection
from bioqa.bench.environment import environment
from bioqa.bench.report import page
from bioqa.bench.results import CollectionResult, Details, SuiteResult, as_json
from bioqa.bench.run_cache import CollectionRuns, Work, check_first_stage, run_collection
from bioqa.bench.suite import Suite
from bioqa.bench.suite_reranker import SuiteReranker
from bioqa.bench.summarize import Values, assess, details, run_of
from bioqa.errors import OutputError, UsageError
from bioqa.evaluate.measures import COMPILING, check_measures
from bioqa.evaluate.ranking import telling_compilation
from bioqa.io.output import open_output
from bioqa.io.trec import qrels_lines, run_lines
from bioqa.types import Article


def run_suite(suite: Suite, out: str | Path, work: Work) -> SuiteResult:
    """Run every system on every collection, and write the results to the folder ``out``.

    It gets ``report.html``, ``report.json`` (``SuiteResult``), ``measures.json`` (collection → system → measure → question →
    value), ``runs/COLLECTION/SYSTEM.run`` and ``qrels/COLLECTION.txt``. A run that was killed goes on where it was when it is
    called again with the same cache.

    Raises:
        UsageError: a setting makes no sense; known before anything is run.
        BioqaError: what reading, indexing, searching and reranking raise.
        OutputError: the results cannot be written.
    """
    out = Path(out)
    check_measures(suite.measures)
    if work.questions is not None and work.questions < 1:
        raise UsageError(f"The number of questions must be 1 or more, not {work.questions}.")
    collections = [read_collection(spec) for spec in suite.collections]
    for stage in suite.first_stages:
        check_first_stage(stage)
    for spec in suite.rerankers:
        SuiteReranker(spec).check()
    _make(out)
    results: list[CollectionResult] = []
    values: dict[str, Values] = {}
    shown: dict[str, dict[str, Details]] = {}
    for collection in collections:
        runs = run_collection(suite, collection, work)
        with telling_compilation(lambda: work.note(COMPILING)):
            result, values[collection.name] = assess(suite, runs, optimistic=work.optimistic)
        shown[collection.name] = _details(suite, runs, values[collection.name])
        _write_runs(suite, runs, out)
        results.append(result)
    found = SuiteResult(
        suite=suite.name,
        description=suite.description,
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        questions=work.questions,
        baseline=suite.baseline,
        environment=environment(),
        settings=suite.written,
        collections=results,
    )
    with open_output(out / "measures.json") as file:
        json.dump(values, file, ensure_ascii=False)
    with open_output(out / "report.html") as file:
        file.write(page(found, shown))
    with open_output(out / "report.json") as file:
        json.dump(as_json(found), file, ensure_ascii=False, indent=1)
        file.write("\n")
    return found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputError(f"{folder} cannot be written: {problem.strerror or problem}.") from problem


def _details(suite: Suite, runs: CollectionRuns, values: Values) -> dict[str, Details]:
    from bioqa.index.reader import Index

    with Index(runs.index) as index:

        def articles(ids: Iterable[str]) -> dict[str, Article]:
            found = ((id, index.get(id)) for id in ids)
            return {id: article for id, article in found if article is not None}

        return details(suite, runs, values, articles)


def _write_runs(suite: Suite, runs: CollectionRuns, out: Path) -> None:
    name = runs.collection.name
    _make(out / "runs" / name)
    _make(out / "qrels")
    with open_output(out / "qrels" / f"{name}.txt") as file:
        for id, grades in runs.collection.qrels.items():
            file.writelines(qrels_lines(id, grades))
    for system in suite.systems:
        with open_output(out / "runs" / name / f"{system.file_name}.run") as file:
            for id, scores in run_of(runs, system).items():
                file.writelines(run_lines(id, scores.items(), system.file_name))
