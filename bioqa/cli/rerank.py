"""``bioqa rerank``: a TREC run → the same candidates in a cross-encoder's order."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.engine import RerankerOptions, reranker_options
from bioqa.cli.output import coverage_text, first_few, note, progress_bar
from bioqa.errors import UsageError

if TYPE_CHECKING:
    from bioqa.rerank import Reranker
    from bioqa.rerun import Journal, Lookup, Plan, Totals


@click.command(name="rerank")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="TREC run to rerank, plain or gzipped.")
@click.option(
    "--questions", required=True, type=click.Path(path_type=Path), help="Its questions: BioASQ JSON, TSV or BEIR."
)
@click.option("--index", type=click.Path(path_type=Path), help="Index that holds its articles.")
@click.option("--corpus", type=click.Path(path_type=Path), help="In place of --index: a corpus file, read into memory.")
@click.option("--out", required=True, metavar="OUT", help="TREC run to write (- for standard output).")
@click.option("--depth", default=100, show_default=True, help="Candidates of each question; those after are left out.")
@click.option("--bm25-weight", type=float, help="Rank by logit + this times the score in the run.  [default: 0]")
@reranker_options
def command(
    run: Path,
    questions: Path,
    index: Path | None,
    corpus: Path | None,
    out: str,
    depth: int,
    bm25_weight: float | None,
    **given: Any,
) -> None:
    """Rerank the candidates of a TREC run.

    A run that was killed goes on where it was when the same command is given again; OUT appears whole at the end.
    """
    options = RerankerOptions.take(given)
    if (index is None) == (corpus is None):
        raise UsageError("Name the articles: --index INDEX or --corpus FILE, one of them.")
    from bioqa.bioasq.questions import read_questions
    from bioqa.outputs import check_not_input
    from bioqa.rerun import Journal, plan_run, settings_of

    place = index or corpus
    assert place is not None
    check_not_input(out, (run, questions, place))
    plan = plan_run(run, read_questions(questions), depth, bm25_weight or 0.0)
    with _articles(index, corpus) as lookup:
        reranker = options.load()
        if bm25_weight is None and reranker.bm25_weight:
            note(
                f"Ranking by the logit alone. The folder of {reranker.name} names a weight for BM25: where the run's scores are "
                f"BM25's, --bm25-weight {reranker.bm25_weight:g} ranks as `bioqa search` does."
            )
        with Journal(out, settings_of(plan, place, reranker, options.long, options.overlap)) as journal:
            _score(plan, lookup, reranker, journal, options)
            totals = journal.finish(Path(reranker.name).name)
    _report(plan, place, totals, reranker)


@contextmanager
def _articles(index: Path | None, corpus: Path | None) -> "Iterator[Lookup]":
    """Articles by id, of an index or of a corpus file."""
    from bioqa.index import Index

    if index is not None:
        with Index(index) as opened:
            yield opened.get_many
        return
    from bioqa.corpus import expand_sources, read_source
    from bioqa.index.memory import latest

    assert corpus is not None
    articles = latest(record for source in expand_sources([corpus]) for record in read_source(source))
    yield lambda ids: [articles.get(id) for id in ids]


def _score(plan: "Plan", lookup: "Lookup", reranker: "Reranker", journal: "Journal", options: RerankerOptions) -> None:
    from bioqa.rerun import rerank_run

    if journal.changed:
        note(f"An unfinished run to the same file had another {', another '.join(journal.changed)}: it begins anew.")
    if journal.done:
        note(f"Going on after {len(journal.done):,} of {len(plan.questions):,} questions.")
    done = set(journal.done)
    found = rerank_run(plan, lookup, reranker, long=options.long, overlap=options.overlap, done=done)
    start = time.monotonic()
    pairs = 0
    with progress_bar("questions", len(plan.questions), len(done)) as bar:
        for one in found:
            journal.add(one)
            pairs += one.coverage.scored
            bar.set_postfix_str(f"{pairs / (time.monotonic() - start):,.0f} pairs/s", refresh=False)
            bar.update()


def _report(plan: "Plan", place: Path, totals: "Totals", reranker: "Reranker") -> None:
    read = coverage_text(totals.coverage, reranker.max_length)
    ranked = f", ranked by logit + {plan.bm25_weight:g} × the run's score" if plan.bm25_weight else ""
    note(
        f"Reranked {totals.coverage.scored:,} candidates of {len(plan.questions):,} questions with "
        f"{reranker.label}{ranked}; {read}."
    )
    if totals.missing:
        note(f"{totals.missing:,} of {plan.pairs:,} candidates are not in {place} and were left out.")
    if totals.empty:
        note(
            f"{len(totals.empty):,} of {len(plan.questions):,} questions have no candidate left ({first_few(totals.empty)})."
        )
    if plan.beyond:
        note(f"{plan.beyond:,} candidates after the first {plan.depth:,} of their question were left out (--depth).")
    if plan.unasked:
        note(f"{plan.unasked:,} questions of the file have no line in the run.")
