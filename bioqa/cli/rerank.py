"""``bioqa rerank``: a TREC run → the same candidates in a cross-encoder's order."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.output import coverage_text, first_few, note, progress_bar
from bioqa.cli.rerank_options import RerankerOptions, reranker_options
from bioqa.cli.search_options import open_retriever
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions

if TYPE_CHECKING:
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.pipeline.rerank_run import RerankCheckpoint, RerankReport, RunPlan
    from bioqa.rerank.reranker import Reranker


@click.command(
    name="rerank",
    cls=Command,
    example="bioqa rerank --run in.run --questions questions.json --index indexes/demo \\\n    --out out.run",
)
@click.option(
    "--run",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="TREC run to rerank, plain or gzipped.",
)
@click.option(
    "--questions",
    metavar="FILE",
    required=True,
    type=click.Path(path_type=Path),
    help="The run's questions: BioASQ JSON, TSV or BEIR.",
)
@click.option("--index", type=click.Path(path_type=Path), help="Index with the run's articles.")
@click.option(
    "--corpus",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Read the articles from this corpus file instead of an index.",
)
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="TREC run to write (- for standard output).",
)
@click.option(
    "--rerank-depth",
    "depth",
    metavar="N",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Candidates per question to rerank; the others follow in the run's order.",
)
@click.option(
    "--first-stage-weight",
    metavar="WEIGHT",
    type=float,
    help="Rank by logit + WEIGHT × the score in the run.  [default: 0]",
)
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

    An interrupted run resumes when the same command is given again; the output file is written at the end.
    """
    if (index is None) == (corpus is None):
        raise UsageError("Give either --index INDEX or --corpus FILE.")
    from bioqa.corpus.questions import read_questions
    from bioqa.io.output import check_not_input
    from bioqa.pipeline.options import PipelineOptions
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.pipeline.rerank_run import RerankCheckpoint, plan_run, run_settings

    options = RerankerOptions.take(given)
    articles = index or corpus
    assert articles is not None
    check_not_input(out, (run, questions, articles))
    weight = first_stage_weight or 0.0
    chosen = PipelineOptions(first_stage_weight=weight, aggregation=options.aggregation, overlap=options.overlap)
    plan = plan_run(run, read_questions(questions), depth)
    with open_retriever(index, corpus, SearchOptions()) as retriever:
        reranker = options.load()
        if first_stage_weight is None and reranker.first_stage_weight:
            note(
                f"Ranking by the logit only. {reranker.name} has a first-stage weight: if the run's scores are BM25's, "
                f"--first-stage-weight {reranker.first_stage_weight:g} ranks as `bioqa search` does."
            )
        pipeline = Pipeline(retriever, reranker, chosen)
        with RerankCheckpoint(out, run_settings(plan, articles, reranker, chosen)) as checkpoint:
            _rerank(plan, pipeline, checkpoint)
            report = checkpoint.finish(Path(reranker.name).name)
    _print_report(plan, articles, report, reranker, weight)


def _rerank(plan: "RunPlan", pipeline: "Pipeline", checkpoint: "RerankCheckpoint") -> None:
    done = checkpoint.done
    if checkpoint.changed:
        note(f"The settings of the unfinished run changed ({', '.join(checkpoint.changed)}); starting over.")
    if done:
        note(f"Resuming after {len(done):,} of {len(plan.questions):,} questions.")
    start = time.monotonic()
    pairs = 0
    with progress_bar("questions", len(plan.questions), len(done)) as bar:
        for ranked in pipeline.rerank(plan, done):
            checkpoint.add(ranked)
            pairs += ranked.coverage.scored
            bar.set_postfix_str(f"{pairs / (time.monotonic() - start):,.0f} pairs/s", refresh=False)
            bar.update()


def _print_report(plan: "RunPlan", articles: Path, report: "RerankReport", reranker: "Reranker", weight: float) -> None:
    read = coverage_text(report.coverage, reranker.max_length)
    ranked = f", ranked by logit + {weight:g} × the run's score" if weight else ""
    questions = len(plan.questions)
    note(
        f"Reranked {report.coverage.scored:,} candidates of {questions:,} questions with {reranker.label}{ranked}; {read}."
    )
    if report.missing:
        note(f"{report.missing:,} of {plan.pairs:,} candidates are not in {articles} and were dropped.")
    if report.empty:
        note(f"{len(report.empty):,} of {questions:,} questions have no candidate left ({first_few(report.empty)}).")
    if plan.not_reranked:
        note(f"{plan.not_reranked:,} candidates beyond the first {plan.depth:,} of a question were not reranked.")
    if plan.without_results:
        note(f"{plan.without_results:,} questions of the file are not in the run.")
