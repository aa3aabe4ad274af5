"""``bioqa eval``: runs judged by qrels, or scores by labels."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.output import console, note, print_table
from bioqa.errors import UsageError

if TYPE_CHECKING:
    from bioqa.evaluate.tables import Table

FORMATS = ("table", "json", "csv", "latex", "markdown")


@dataclass(frozen=True)
class _Options:
    classification: Path | None
    per_query: bool
    compare: tuple[Path, ...]
    test: str
    correction: str
    label_column: str | None
    score_column: str | None
    scale: str
    threshold: float | None
    model: Path | None
    plots: Path | None
    form: str
    as_json: bool
    out: str


@click.command(name="eval")
@click.argument("words", metavar="[QRELS] [RUN] [MEASURE]...", nargs=-1)
@click.option("--per-query", is_flag=True, help="Show the values of every query too.")
@click.option(
    "--compare", type=click.Path(path_type=Path), multiple=True, help="Compare this run with RUN; may be repeated."
)
@click.option(
    "--test",
    type=click.Choice(["student", "fisher", "wilcoxon"]),
    default="student",
    show_default=True,
    help="The paired test of --compare.",
)
@click.option(
    "--correction",
    type=click.Choice(["holm", "bonferroni", "none"]),
    default="holm",
    show_default=True,
    help="For all tests of the call.",
)
@click.option(
    "--classification",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Judge the scored pairs of a CSV, TSV, JSONL or Parquet file.",
)
@click.option("--label-column", help="The column with labels 0 and 1.  [default: label or the like]")
@click.option("--score-column", help="The column with scores.  [default: score, probability or the like]")
@click.option(
    "--scale",
    type=click.Choice(["auto", "probability", "logit"]),
    default="auto",
    show_default=True,
    help="What the scores are; auto: logits where one lies outside 0 to 1.",
)
@click.option("--threshold", type=float, help="A threshold chosen on other data, on the scale of the scores.")
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    help="Take the threshold that this model folder carries; the scores must be its own.",
)
@click.option("--plots", metavar="FOLDER", type=click.Path(path_type=Path), help="Write pictures as PNG files there.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", default="-", help="Write the result to this file.  [default: standard output]")
def command(words: tuple[str, ...], **given: Any) -> None:
    """Measure how well RUN ranks the documents that QRELS calls relevant, or how well scores tell labels apart.

    A measure may have the name that trec_eval, ir-measures or ranx gives it (ndcg_cut_10, nDCG@10, ndcg@10); the default is
    nDCG@10, RR@10, AP and R@100. Values are trec_eval's, with its order of ties and with queries without results as 0. QRELS is a
    TREC or BEIR file, or a BioASQ question file.
    """
    options = _Options(**given)
    _check(words, options)
    if options.classification is not None:
        _judge_pairs(options.classification, options)
    else:
        _judge_runs(words, options)


def _check(words: tuple[str, ...], options: _Options) -> None:
    if options.classification is None:
        if len(words) < 2:
            raise UsageError("Name the qrels and a run: bioqa eval QRELS RUN. For scored pairs: --classification FILE.")
        stray = _given(options, ("label_column", "score_column", "threshold", "model", "plots"))
        if stray or options.scale != "auto":
            raise UsageError(f"{stray or '--scale'} goes with --classification FILE.")
    elif words or options.per_query or options.compare:
        stray = _given(options, ("per_query", "compare")) or " ".join(words)
        raise UsageError(f"--classification judges scored pairs, not runs; take {stray} away.")


def _given(options: _Options, names: tuple[str, ...]) -> str:
    """The first of these options that was used."""
    used = (f"--{name.replace('_', '-')}" for name in names if getattr(options, name) not in (None, False, ()))
    return next(used, "")


def _judge_runs(words: tuple[str, ...], options: _Options) -> None:
    from bioqa.evaluate.ranking import DEFAULT_MEASURES, telling_compilation
    from bioqa.evaluate.ranking_report import judge_runs, means_table, per_query_table, ranking_json

    qrels, run, *measures = words
    correction = None if options.correction == "none" else options.correction
    with telling_compilation(lambda: note("ranx compiles its measures; this takes up to half a minute, once.")):
        report = judge_runs(
            qrels, [run, *options.compare], measures or DEFAULT_MEASURES, test=options.test, correction=correction
        )
    tables = [per_query_table(report)] if options.per_query else []
    if not tables or (options.compare and options.form != "csv"):  # a CSV file holds one table
        tables.append(means_table(report))
    _write(tables, ranking_json(report, per_query=options.per_query), options, [qrels, run, *options.compare])
    for remark in report.remarks:
        note(remark)
    note(f"{report.queries:,} queries.{_how_compared(report.test, correction) if options.compare else ''}")


def _how_compared(test: str, correction: str | None) -> str:
    names = {
        "student": "Student's paired t-test",
        "fisher": "Fisher's randomization test",
        "wilcoxon": "Wilcoxon's test",
    }
    corrected = f", {correction.capitalize()}-corrected over all tests shown" if correction else ", not corrected"
    return (
        f" Changes are from the first run; p-values of {names[test]}, two-sided{corrected}. ↑ ↓: below 0.05. "
        "+ / = / −: queries better, equal, worse."
    )


def _judge_pairs(path: Path, options: _Options) -> None:
    from bioqa.evaluate.classification_report import classification_json, classification_table, judge_pairs, plot_report
    from bioqa.evaluate.scored_pairs import read_scored

    pairs = read_scored(path, options.label_column, options.score_column)
    scale = None if options.scale == "auto" else options.scale
    report = judge_pairs(pairs, threshold=options.threshold, model=options.model, scale=scale)
    if options.plots is not None:
        plot_report(report, options.plots)
    _write([classification_table(report)], {"file": str(path), **classification_json(report)}, options, [path])
    taken = f"Labels from column {pairs.label_column!r}, scores from {pairs.score_column!r}"
    if report.scale == "logit":
        note(f"{taken}: logits; calibration and pictures are of their logistic function. Thresholds are logits.")
    else:
        note(f"{taken}: probabilities.")


def _write(tables: list["Table"], record: dict[str, Any], options: _Options, inputs: Sequence[str | Path]) -> None:
    from bioqa.evaluate.tables import as_csv, as_latex, as_markdown
    from bioqa.io.output import open_output

    form = "json" if options.as_json else options.form
    if form == "table" and options.out == "-":
        for table in tables:
            print_table(console(), table)
        return
    write = {"csv": as_csv, "latex": as_latex, "markdown": as_markdown, "table": _plain}
    text = (
        "\n".join(write[form](table) for table in tables)
        if form != "json"
        else f"{json.dumps(record, ensure_ascii=False)}\n"
    )
    with open_output(options.out, inputs) as out:
        out.write(text)


def _plain(table: "Table") -> str:
    text = io.StringIO()
    print_table(console(text), table)
    return text.getvalue()
