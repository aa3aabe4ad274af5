"""``bioqa bioasq``: submit, validate and eval."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.output import first_few, note, progress_bar
from bioqa.cli.rerank_options import RerankOptions, open_pipeline, report_coverage, rerank_options
from bioqa.cli.search_options import GroupedCommand, report_missing_fields, search_options, take_search_options
from bioqa.errors import QuestionError

if TYPE_CHECKING:
    from bioqa.bioasq.measures import PhaseA


@click.group(name="bioasq")
def command() -> None:
    """Write and check BioASQ task B phase A files, and score them by the official measures."""


@command.command(cls=GroupedCommand)
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("questions", type=click.Path(path_type=Path))
@click.option("--out", required=True, metavar="FILE", help="Where to write the submission (- for standard output).")
@rerank_options
@search_options
def submit(index: Path, questions: Path, out: str, **given: Any) -> None:
    """Answer QUESTIONS from INDEX: a phase A submission.

    QUESTIONS is a BioASQ file. Each question gets its 10 best documents, and of their sentences the 10 that answer most
    probably as snippets. --until keeps out what was published after a given day.
    """
    from bioqa.bioasq.measures import LIMIT
    from bioqa.bioasq.submission import write_submission
    from bioqa.corpus.questions import read_questions
    from bioqa.io.output import open_output

    search, second = take_search_options(given), RerankOptions.take(given)
    asked = read_questions(questions)
    with open_pipeline(index, None, search, second, top=LIMIT, sentences=LIMIT) as pipeline:
        pipeline.check_questions(asked)
        with open_output(out, [questions]) as file, progress_bar("questions", len(asked)) as bar:
            report = write_submission(file, pipeline, asked, bar.update)
        if search.filters:
            missing = pipeline.retriever.missing_field_counts(None, search)
            report_missing_fields(missing, pipeline.retriever.unknown_filter_values(search), all_articles=True)
        report_coverage(pipeline, report.coverage)
    note(f"{out}: {len(asked):,} questions answered.")
    if report.empty:
        note(f"{len(report.empty):,} of them matched no article ({first_few(report.empty)}).")


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--gold", is_flag=True, help="It is a gold or training file, which may have more than 10 of each.")
@click.option("--index", type=click.Path(path_type=Path), help="Hold the snippets against the articles of this index.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(file: Path, gold: bool, index: Path | None, as_json: bool) -> None:
    """Check FILE; the exit code is 0 only if it is valid.

    FILE is a phase A submission, or with --gold a gold file. Checked are ids, bodies, types, URLs, the limits of 10 documents
    and 10 snippets, duplicates, and that each snippet's text is as long as its offsets say; with --index also that it is the
    article's text there.
    """
    from bioqa.bioasq.validate import validate as check

    if index is None:
        verdict = check(file, gold=gold)
    else:
        from bioqa.index.reader import Index

        with Index(index) as articles:
            verdict = check(file, gold=gold, articles=articles)
    count, kind = len(verdict.problems), "gold file" if gold else "submission"
    held = f"{verdict.questions:,} questions, {verdict.documents:,} documents, {verdict.snippets:,} snippets"
    if as_json:
        click.echo(json.dumps({"file": str(file), "valid": not count, **asdict(verdict)}, ensure_ascii=False))
    else:
        for problem in verdict.problems:
            click.echo(f"{problem.where}: {problem.what}")
        found = f"{count:,} problem{'s' * (count > 1)}" if count else f"a valid {kind}"
        click.echo(f"{file}: {found} ({held})")
    if count:
        raise QuestionError(f"{file} is not a valid {kind}.")


@command.command(name="eval")
@click.argument("gold", type=click.Path(path_type=Path))
@click.argument("system", type=click.Path(path_type=Path))
@click.option(
    "--edition", type=int, default=8, show_default=True, help="Rules: 5 for BioASQ 3 to 7, 8 for BioASQ 8 and later."
)
@click.option("--per-question", is_flag=True, help="Show the values of each question, too.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(gold: Path, system: Path, edition: int, per_question: bool, as_json: bool) -> None:
    """Score SYSTEM against GOLD by the official measures.

    Both are phase A files; documents and snippets are scored. The values are those of the organisers' evaluator. As there,
    questions of GOLD that SYSTEM leaves out count nowhere. Systems are ranked by the MAP of documents, and since BioASQ 9 by
    the F1 of snippets.
    """
    from bioqa.bioasq.answers import read_answers
    from bioqa.bioasq.measures import LIMIT, evaluate_phase_a

    answers = read_answers(system)
    found = evaluate_phase_a(read_answers(gold), answers, edition)
    if as_json:
        click.echo(json.dumps(_as_json(found, per_question), ensure_ascii=False, allow_nan=False))
    else:
        _print_scores(found, per_question)
    long = [one.id for one in answers if max(len(one.documents), len(one.snippets)) > LIMIT]
    for text, ids in (
        ("Gold questions without an answer, left out of the means", found.unanswered),
        ("Answers to questions that are not gold, left out", found.unknown),
        (f"Answers of more than {LIMIT} documents or snippets, which all count", long),
    ):
        if ids:
            note(f"{text}: {len(ids):,} ({first_few(ids)}).")


def _as_json(found: "PhaseA", per_question: bool) -> dict[str, Any]:
    """The measures as JSON, which has no NaN: null."""
    record = asdict(found)
    for question in record["questions"]:
        for part in ("documents", "snippets"):
            question[part] = {name: value if math.isfinite(value) else None for name, value in question[part].items()}
    questions = record.pop("questions")
    return {**record, "questions": len(questions), **({"per_question": questions} if per_question else {})}


def _print_scores(found: "PhaseA", per_question: bool) -> None:
    if per_question:
        width = max(len("question"), *(len(question.id) for question in found.questions))
        click.echo(f"{'':<{width}}  {'documents':<31}  snippets")
        click.echo(f"{'question':<{width}}  " + "  ".join([f"{name:>6}" for name in ("P", "R", "F1", "AP")] * 2))
        for question in found.questions:
            cells = (*_cells(question.documents), *_cells(question.snippets))
            click.echo(f"{question.id:<{width}}  {'  '.join(cells)}")
        click.echo()
    click.echo(f"BioASQ task B phase A, rules of edition {found.edition}, {len(found.questions):,} questions")
    click.echo(f"{'':<9}  " + "  ".join(f"{name:>9}" for name in ("precision", "recall", "F1", "MAP", "GMAP")))
    for name in ("documents", "snippets"):
        click.echo(f"{name:<9}  " + "  ".join(f"{cell:>9}" for cell in _cells(getattr(found, name))))


def _cells(scores: Any) -> list[str]:
    return [f"{value:6.4f}" if math.isfinite(value) else f"{'-':>6}" for value in asdict(scores).values()]
