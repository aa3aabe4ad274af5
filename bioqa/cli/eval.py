"""``bioqa eval``: measures of runs against relevance judgements."""

from pathlib import Path

import click

from bioqa.cli.commands import Command, add_options
from bioqa.cli.output import note
from bioqa.cli.result_output import RESULT_OPTIONS, write_result

_TESTS = {
    "student": "Student's paired t-test",
    "fisher": "Fisher's randomization test",
    "wilcoxon": "Wilcoxon's signed-rank test",
}


@click.command(name="eval", cls=Command, example="bioqa eval qrels.txt bm25.run nDCG@10 AP --compare reranked.run")
@click.argument("qrels", type=click.Path(path_type=Path))
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("measures", metavar="[MEASURE]...", nargs=-1)
@click.option("--per-query", is_flag=True, help="Also show the values of each query.")
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Another run to compare with RUN; can be repeated.",
)
@click.option(
    "--test",
    type=click.Choice(list(_TESTS)),
    default="student",
    show_default=True,
    help="Paired test of --compare.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "bonferroni", "none"]),
    default="holm",
    show_default=True,
    help="Correction for multiple tests.",
)
@add_options(*RESULT_OPTIONS)
def command(
    qrels: Path,
    run: Path,
    measures: tuple[str, ...],
    per_query: bool,
    compare: tuple[Path, ...],
    test: str,
    correction: str,
    table_format: str,
    as_json: bool,
    out: str,
) -> None:
    """Measure the ranking of RUN, a TREC run file, against the relevance judgements in QRELS.

    QRELS is a TREC or BEIR file, or a BioASQ question file. A measure can have its name in trec_eval, ir-measures or ranx
    (ndcg_cut_10, nDCG@10, ndcg@10), or be bioasq-map@10; the default is nDCG@10, RR@10, AP and R@100. Values equal those of
    `trec_eval -c`: ties are broken by document id, and queries without results count 0.
    """
    from bioqa.evaluate.measures import COMPILING
    from bioqa.evaluate.ranking import DEFAULT_MEASURES, notify_compilation
    from bioqa.evaluate.ranking_report import evaluate_run_files, means_table, per_query_table, ranking_json

    chosen = None if correction == "none" else correction
    with notify_compilation(lambda: note(COMPILING)):
        report = evaluate_run_files(qrels, [run, *compare], measures or DEFAULT_MEASURES, test=test, correction=chosen)
    tables = [per_query_table(report)] if per_query else []
    if not tables or (compare and table_format != "csv"):  # a CSV file has one table
        tables.append(means_table(report))
    write_result(
        tables,
        ranking_json(report, per_query=per_query),
        "json" if as_json else table_format,
        out,
        inputs=[qrels, run, *compare],
    )
    for remark in report.remarks:
        note(remark)
    note(f"{report.queries:,} queries.{_comparison_note(test, chosen) if compare else ''}")


def _comparison_note(test: str, correction: str | None) -> str:
    corrected = f"{correction.capitalize()}-corrected for all tests shown" if correction else "not corrected"
    return (
        f" Differences are from the first run; p-values: {_TESTS[test]}, two-sided, {corrected}. ↑ ↓: p < 0.05. "
        "+ / = / −: number of queries better, equal, worse."
    )
