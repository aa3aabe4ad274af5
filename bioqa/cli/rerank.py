"""``bioqa rerank``: a TREC run → the same candidates in a cross-encoder's order."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.output import coverage_text, first_few, note, progress_bar
from bioqa.cli.rerank_options import RerankerOptions, reranker_options
from bioqa.cli.search_options import open_retriever
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions

if TYPE_CHECKING:
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.pipeline.rerank_run import RerankCheckpoint, RunPlan, Totals
    from bioqa.rerank.reranker import Reranker


@click.command(name="rerank")
@click.option("--run", required=True, type=click.Path(path_type=Path), help="TREC run to rerank, plain or gzipped.")
@click.option(
    "--questions", required=True, type=click.Path(path_type=Path), help="Its questions: BioASQ JSON, TSV or BEIR."
)
@click.option("--index", type=click.Path(path_type=Path), help="Index that holds its articles.")
@click.option("--corpus", type=click.Path(path_type=Path), help="In place of --index: a corpus file, read into memory.")
@click.option("--out", required=True, metavar="OUT", help="TREC run to write (- for standard output).")
@click.option(
    "--rerank-depth",
    "depth",
    default=100,
    show_default=True,
    help="Candidates of each question to rerank; the others follow in the run's order.",
)
@click.option("--first-stage-weight", type=float, help="Rank by logit + this times the score in the run.  [default: 0]")
@reranker_options
def command(
    run: Path,
    questions: Path,
    index: Path | None,
    corpus: Path | None,
    out: str,
    depth: int,
    first_stage_weight: float | None,
    **given: Any,
) -> None:
    """Rerank the candidates of a TREC run.

    Interrupted runs resume when the same command is given again; OUT appears whole at the end.
    """
    options = RerankerOptions.take(given)
    if (index is None) == (corpus is None):
        raise UsageError("Name the articles: --index INDEX or --corpus FILE, one of them.")
    from bioqa.corpus.questions import read_questions
    from bioqa.io.output import check_not_input
    from bioqa.pipeline.options import PipelineOptions
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.pipeline.rerank_run import RerankCheckpoint, plan_run, run_settings

    place = index or corpus
    assert place is not None
    check_not_input(out, (run, questions, place))
    weight = first_stage_weight or 0.0
    chosen = PipelineOptions(
        first_stage_weight=weight, aggregation=options.aggregation, overlap=options.overlap, sentences=0
    )
    plan = plan_run(run, read_questions(questions), depth)
    with open_retriever(index, corpus, SearchOptions()) as retriever:
        reranker = options.load()
        if first_stage_weight is None and reranker.first_stage_weight:
            note(
                f"Ranking by the logit alone. The folder of {reranker.name} names a first-stage weight: where the run's scores are "
                f"BM25's, --first-stage-weight {reranker.first_stage_weight:g} ranks as `bioqa search` does."
            )
        pipeline = Pipeline(retriever, reranker, chosen)
        with RerankCheckpoint(out, run_settings(plan, place, reranker, chosen)) as checkpoint:
            _score(plan, pipeline, checkpoint)
            totals = checkpoint.finish(Path(reranker.name).name)
    _report(plan, place, totals, reranker, weight)


def _score(plan: "RunPlan", pipeline: "Pipeline", checkpoint: "RerankCheckpoint") -> None:
    if checkpoint.changed:
        note(
            f"The settings of an unfinished run to this file changed ({', '.join(checkpoint.changed)}); starting over."
        )
    if checkpoint.done:
        note(f"Resuming after {len(checkpoint.done):,} of {len(plan.questions):,} questions.")
    done = set(checkpoint.done)
    start = time.monotonic()
    pairs = 0
    with progress_bar("questions", len(plan.questions), len(done)) as bar:
        for one in pipeline.rerank(plan, done):
            checkpoint.add(one)
            pairs += one.coverage.scored
            bar.set_postfix_str(f"{pairs / (time.monotonic() - start):,.0f} pairs/s", refresh=False)
            bar.update()


def _report(plan: "RunPlan", place: Path, totals: "Totals", reranker: "Reranker", weight: float) -> None:
    read = coverage_text(totals.coverage, reranker.max_length)
    ranked = f", ranked by logit + {weight:g} × the run's score" if weight else ""
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
        note(
            f"{plan.beyond:,} candidates behind the first {plan.depth:,} of their question were not reranked (--rerank-depth)."
        )
    if plan.unasked:
        note(f"{plan.unasked:,} questions of the file have no line in the run.")
