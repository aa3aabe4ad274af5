"""``bioqa classify``: binary classification measures of scored pairs."""

from pathlib import Path

import click

from bioqa.cli.commands import Command, add_options
from bioqa.cli.output import note
from bioqa.cli.result_output import RESULT_OPTIONS, write_result


@click.command(name="classify", cls=Command, example="bioqa classify scores.csv --reranker models/mine --plots plots")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--threshold", type=float, help="Threshold chosen on other data, on the scale of the scores.")
@click.option(
    "--reranker",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Use the threshold in this model folder; the scores must be this model's own, not calibrated probabilities.",
)
@click.option("--label-column", help="Column with the labels, 0 or 1.  [default: label or a similar name]")
@click.option("--score-column", help="Column with the scores.  [default: score, probability or a similar name]")
@click.option(
    "--scale",
    type=click.Choice(["auto", "probability", "logit"]),
    default="auto",
    show_default=True,
    help="Scale of the scores; auto: probabilities if all are between 0 and 1.",
)
@click.option("--plots", metavar="FOLDER", type=click.Path(path_type=Path), help="Write plots (PNG) to this folder.")
@add_options(*RESULT_OPTIONS)
def command(
    file: Path,
    threshold: float | None,
    reranker: Path | None,
    label_column: str | None,
    score_column: str | None,
    scale: str,
    plots: Path | None,
    table_format: str,
    as_json: bool,
    out: str,
) -> None:
    """Measure how well the scores in FILE separate relevant pairs (label 1) from others (label 0).

    FILE is a CSV, TSV, JSONL or Parquet file. The measures are at a threshold that was chosen beforehand (default: probability 0.5)
    and, for comparison, at the best threshold of this file, which is optimistic.
    """
    from bioqa.evaluate.classification_report import (
        classification_json,
        classification_table,
        evaluate_scored_pairs,
        plot_classification,
    )
    from bioqa.evaluate.scored_pairs import read_scored

    pairs = read_scored(file, label_column, score_column)
    chosen = None if scale == "auto" else scale
    report = evaluate_scored_pairs(pairs, threshold=threshold, reranker=reranker, scale=chosen)
    if plots is not None:
        plot_classification(report, plots)
    write_result(
        [classification_table(report)],
        {"file": str(file), **classification_json(report)},
        "json" if as_json else table_format,
        out,
        inputs=[file],
    )
    columns = f"Labels from column {pairs.label_column!r}, scores from column {pairs.score_column!r}"
    if report.scale == "logit":
        note(f"{columns}: logits. Thresholds are logits; calibration and plots use their logistic function.")
    else:
        note(f"{columns}: probabilities.")
