"""``bioqa bioasq``: submit, validate and eval."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Group, complete_file
from bioqa.cli.output import echo, first_few, note, print_json, progress_bar
from bioqa.cli.rerank_options import RerankOptions, open_pipeline, report_coverage, rerank_options
from bioqa.cli.search_options import (
    RetrieverOptions,
    report_filters,
    retriever_options,
    search_options,
    take_search_options,
)
from bioqa.errors import QuestionError
from bioqa.types import CONCERN, CORRECTED, RETRACTED

if TYPE_CHECKING:
    from bioqa.bioasq.official_measures import PhaseAScores

# Mark → what is said of one article and of several.
_SAID = {
    RETRACTED: ("was retracted", "were retracted"),
    CONCERN: ("has an expression of concern", "have an expression of concern"),
    CORRECTED: ("was corrected", "were corrected"),
}


@click.group(
    name="bioasq", cls=Group, example="bioqa bioasq submit indexes/pubmed questions.json --out submission.json"
)
def command() -> None:
    """Write, validate and score submissions to BioASQ task B, phase A."""


@command.command(
    example="bioqa bioasq submit indexes/pubmed questions.json \\\n    --out submission.json --until 2025-01-31"
)
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("questions", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    shell_complete=complete_file,
    help="Submission to write (- for standard output).",
)
@rerank_options
@retriever_options
@search_options
def submit(index: Path, questions: Path, out: str, **given: Any) -> None:
    """Answer QUESTIONS from INDEX and write a submission.

    QUESTIONS is a BioASQ file. Each question gets its 10 best documents, and as snippets the 10 most probable of their sentences.
    --until excludes articles published after a given day, --as-of those that entered PubMed after it. Articles that were
    retracted or corrected are reported.
    """
    from bioqa.bioasq.official_measures import LIMIT
    from bioqa.bioasq.submission import write_submission
    from bioqa.corpus.questions import read_questions
    from bioqa.io.output import open_output

    search, rerank = take_search_options(given), RerankOptions.take(given)
    retriever = RetrieverOptions.take(given)
    options = rerank.pipeline_options(top=LIMIT, sentences=LIMIT, search=search)
    asked = read_questions(questions)
    with open_pipeline(index, None, rerank, options, retriever) as pipeline:
        pipeline.check_questions(asked)
        with open_output(out, [questions]) as file, progress_bar("questions", len(asked)) as bar:
            report = write_submission(file, pipeline, asked, bar.update)
        report_filters(pipeline.retriever, search)
        report_coverage(pipeline, report.coverage)
    note(f"{out}: {len(asked):,} questions answered.")
    if report.empty:
        note(f"{len(report.empty):,} of them match no article ({first_few(report.empty)}).")
    _report_marks(report.marked)


def _report_marks(marked: dict[str, dict[str, tuple[str, ...]]]) -> None:
    """Report the submitted articles that were retracted, corrected or are subject to an expression of concern."""
    for mark, said in _SAID.items():
        articles = marked.get(mark, {})
        names = [f"{id} by {' and '.join(notices)}" if notices else id for id, notices in articles.items()]
        if names:
            counted = f"{len(names):,} document{'s' * (len(names) > 1)}"
            hint = " To leave such articles out, use --exclude-retracted." if mark == RETRACTED else ""
            note(f"{counted} {said[len(names) > 1]} ({first_few(names)}).{hint}")


@command.command(example="bioqa bioasq validate submission.json --index indexes/pubmed")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--gold", is_flag=True, help="FILE is a gold or training file, without limits on documents and snippets.")
@click.option("--index", type=click.Path(path_type=Path), help="Compare the snippets with the articles of this index.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(file: Path, gold: bool, index: Path | None, as_json: bool) -> None:
    """Validate a submission or a gold file.

    Checks ids, bodies, types, URLs, duplicates, the limits of 10 documents and 10 snippets, and that the offsets of a snippet
    match the length of its text; with --index, that they match the article. The exit code is 0 only if FILE is valid.
    """
    from bioqa.bioasq.validate import validate as check

    if index is None:
        report = check(file, gold=gold)
    else:
        from bioqa.index.reader import Index

        with Index(index) as articles:
            report = check(file, gold=gold, articles=articles)
    count, kind = len(report.problems), "gold file" if gold else "submission"
    contents = f"{report.questions:,} questions, {report.documents:,} documents, {report.snippets:,} snippets"
    if as_json:
        print_json({"file": str(file), "valid": not count, **asdict(report)})
    else:
        for problem in report.problems:
            echo(f"{problem.where}: {problem.what}")
        result = f"{count:,} problem{'s' * (count > 1)}" if count else f"a valid {kind}"
        echo(f"{file}: {result} ({contents})")
    if count:
        raise QuestionError(f"{file} is not a valid {kind}.")


@command.command(name="eval", example="bioqa bioasq eval gold.json submission.json --per-question")
@click.argument("gold", type=click.Path(path_type=Path))
@click.argument("system", type=click.Path(path_type=Path))
@click.option(
    "--edition",
    metavar="N",
    type=int,
    default=14,
    show_default=True,
    help="Score by the rules of this edition of BioASQ, 1 to 14.",
)
@click.option("--per-question", is_flag=True, help="Also show the values of each question.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(gold: Path, system: Path, edition: int, per_question: bool, as_json: bool) -> None:
    """Score SYSTEM against GOLD with the official measures.

    Both are phase A files; documents and snippets are scored. The values equal those of the organisers' evaluator, which also
    ignores questions of GOLD that SYSTEM does not answer. The rules changed with editions 3, 8 and 9. BioASQ ranks systems by the
    MAP of documents and, since BioASQ 9, by the F1 of snippets. A snippet without sections or offsets scores 0.
    """
    from bioqa.bioasq.official_measures import LIMIT, score_phase_a
    from bioqa.bioasq.phase_a_file import read_phase_a

    golden, answers = read_phase_a(gold), read_phase_a(system)
    found = score_phase_a(golden, answers, edition)
    if as_json:
        print_json(_as_json(found, per_question), allow_nan=False)
    else:
        _print_scores(found, per_question)
    long = [one.id for one in answers if max(len(one.documents), len(one.snippets)) > LIMIT]
    for text, ids in (
        ("Gold questions without an answer, excluded from the means", found.unanswered),
        ("Answers to questions that are not in the gold file, ignored", found.unknown),
        ("Questions without gold documents, excluded from the means of documents", found.without_documents),
        ("Questions without gold snippets, excluded from the means of snippets", found.without_snippets),
        (f"Answers with more than {LIMIT} documents or snippets, all of which count", long),
    ):
        if ids:
            note(f"{text}: {len(ids):,} ({first_few(ids)}).")
    for path, file in {gold: golden, system: answers}.items():
        snippets = [snippet for one in file for snippet in one.snippets]
        if unknown := sum(not snippet.is_known for snippet in snippets):
            note(f"Snippets of {path} without section or offsets, which score 0: {unknown:,} of {len(snippets):,}.")


def _as_json(found: "PhaseAScores", per_question: bool) -> dict[str, Any]:
    """The measures as a JSON object, with null for NaN."""
    record = asdict(found)
    for one in (record, *record["questions"]):
        for part in ("documents", "snippets"):
            one[part] = {name: value if math.isfinite(value) else None for name, value in one[part].items()}
    questions = record.pop("questions")
    return {**record, "questions": len(questions), **({"per_question": questions} if per_question else {})}


def _print_scores(found: "PhaseAScores", per_question: bool) -> None:
    if per_question:
        width = max(len("question"), *(len(question.id) for question in found.questions))
        echo(f"{'':<{width}}  {'documents':<31}  snippets")
        echo(f"{'question':<{width}}  " + "  ".join([f"{name:>6}" for name in ("P", "R", "F1", "AP")] * 2))
        for question in found.questions:
            cells = (*_cells(question.documents), *_cells(question.snippets))
            echo(f"{question.id:<{width}}  {'  '.join(cells)}")
        echo()
    echo(f"BioASQ task B phase A, rules of edition {found.edition}, {len(found.questions):,} questions")
    echo(f"{'':<9}  " + "  ".join(f"{name:>9}" for name in ("precision", "recall", "F1", "MAP", "GMAP")))
    for name in ("documents", "snippets"):
        echo(f"{name:<9}  " + "  ".join(f"{cell:>9}" for cell in _cells(getattr(found, name))))


def _cells(scores: Any) -> list[str]:
    return [f"{value:6.4f}" if math.isfinite(value) else f"{'-':>6}" for value in asdict(scores).values()]
