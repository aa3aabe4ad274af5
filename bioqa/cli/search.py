"""``bioqa search``: questions → ranked articles with answer sentences, or a run file."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.output import console, first_few, note, print_hits, progress_bar
from bioqa.cli.rerank_options import RerankOptions, check_positive, open_pipeline, report_coverage, rerank_options
from bioqa.cli.search_options import GroupedCommand, report_missing_fields, search_options, take_search_options
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.pipeline.answer import Coverage
    from bioqa.pipeline.pipeline import Pipeline


@dataclass(frozen=True)
class _Options:
    corpus: Path | None
    questions: Path | None
    run: str | None
    top: int
    sentences: int
    abstracts: bool
    as_json: bool
    explain: bool
    search: SearchOptions
    second: RerankOptions


@click.command(name="search", cls=GroupedCommand)
@click.argument("words", metavar="[INDEX] [QUESTION]", nargs=-1)
@click.option("--corpus", type=click.Path(path_type=Path), help="Search this corpus file in memory; no INDEX then.")
@click.option(
    "--questions", type=click.Path(path_type=Path), help="Ask each question of a file: BioASQ JSON, TSV or BEIR."
)
@click.option("--run", metavar="OUT", help="With --questions: write a TREC run to OUT (- for standard output).")
@click.option("--top", default=10, show_default=True, help="Results per question.")
@click.option("--sentences", default=2, show_default=True, help="Answer sentences shown per article.")
@rerank_options
@click.option("--abstracts", is_flag=True, help="Show whole abstracts with the answer sentences marked in them.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per question.")
@click.option("--explain", is_flag=True, help="Show how the BM25 score of each article came about.")
@search_options
def command(words: tuple[str, ...], **given: Any) -> None:
    """Search INDEX for articles that answer QUESTION.

    The question is read from standard input where none is given. BM25 finds candidates, a cross-encoder reranks them, and each
    article is shown with the sentences that answer best.
    """
    options = _Options(search=take_search_options(given), second=RerankOptions.take(given), **given)
    _check(options)
    index_path, question = _arguments(words, options)
    from bioqa.index.jvm import optimize_for_startup

    questions = _questions(options, question)
    if options.questions is None:
        optimize_for_startup()
    with open_pipeline(
        index_path,
        options.corpus,
        options.search,
        options.second,
        top=options.top,
        sentences=options.sentences,
        explain=options.explain,
    ) as pipeline:
        _answer(pipeline, questions, options)


def _check(options: _Options) -> None:
    check_positive("--top", options.top)
    if options.sentences < 0:
        raise UsageError(f"--sentences must be 0 or more, not {options.sentences}.")
    if options.run is not None and options.questions is None:
        raise UsageError("--run needs --questions FILE: a run file is for a set of questions.")
    if options.run is not None and options.as_json:
        raise UsageError("--run and --json exclude each other: a run file has its own format.")
    if options.run is not None and options.explain:
        raise UsageError("--run and --explain exclude each other: a run file holds scores only.")
    if options.corpus is not None and options.explain:
        raise UsageError(
            "--explain needs an index: --corpus is searched in memory. Build one with `bioqa index build`."
        )


def _arguments(words: tuple[str, ...], options: _Options) -> tuple[Path | None, str | None]:
    """Which words are the index and which the question."""
    index = None
    if options.corpus is None:
        if not words:
            raise UsageError('Name an index, or a corpus file with --corpus: bioqa search INDEX "question".')
        index, words = Path(words[0]), words[1:]
    if options.questions is not None:
        if words:
            raise UsageError(f"Give a question or --questions FILE, not both (found {' '.join(words)!r}).")
        return index, None
    return index, None if words in ((), ("-",)) else " ".join(words)


def _questions(options: _Options, question: str | None) -> list[Question]:
    from bioqa.corpus.questions import check_question, read_questions

    if options.questions is not None:
        return read_questions(options.questions)
    if question is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise UsageError("No question was given. Put it after the index in quotes, or pipe it in.")
        try:
            question = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as problem:
            raise UsageError(f"The question on standard input is not UTF-8 (byte {problem.start}).") from None
    return [Question("question", check_question(question))]


def _answer(pipeline: "Pipeline", questions: list[Question], options: _Options) -> None:
    if options.questions is not None:
        pipeline.check_questions(questions)
    if options.run is not None:
        coverage = _write_run(pipeline, questions, options, options.run)
    else:
        coverage = _print_answers(pipeline, questions, options)
    report_coverage(pipeline, coverage)


def _print_answers(pipeline: "Pipeline", questions: list[Question], options: _Options) -> "Coverage":
    from bioqa.pipeline.answer import Coverage

    out = console()
    coverage = Coverage()
    for number, question in enumerate(questions):
        answer = pipeline.answer(question)
        coverage += answer.coverage
        if options.as_json:
            click.echo(json.dumps(answer.to_dict(), ensure_ascii=False))
        else:
            if number:
                out.rule()
            print_hits(out, question, answer.hits, abstracts=options.abstracts, selected=_selects(options.search))
        if options.questions is None:
            report_missing_fields(answer.missing_fields, answer.unknown_filter_values, all_articles=False)
    if options.questions is not None:
        _report_filters(pipeline)
    return coverage


def _selects(search: SearchOptions) -> bool:
    """Whether an article that has a word of the question may be excluded."""
    return bool(search.filters) or search.syntax != "words"


def _report_filters(pipeline: "Pipeline") -> None:
    search = pipeline.options.search
    if search.filters:
        missing = pipeline.retriever.missing_field_counts(None, search)
        report_missing_fields(missing, pipeline.retriever.unknown_filter_values(search), all_articles=True)


def _write_run(pipeline: "Pipeline", questions: list[Question], options: _Options, path: str) -> "Coverage":
    from bioqa.io.output import open_output
    from bioqa.io.trec import run_lines
    from bioqa.pipeline.answer import Coverage

    tag = "bm25" if pipeline.reranker is None else f"bm25+{Path(pipeline.reranker.name).name}"
    empty = []
    coverage = Coverage()
    inputs = [options.questions] if options.questions else []
    with open_output(path, inputs) as out, progress_bar("questions", len(questions)) as bar:
        for ranked in pipeline.run(questions):
            coverage += ranked.coverage
            if not ranked.candidates:
                empty.append(ranked.question.id)
            out.writelines(run_lines(ranked.question.id, ranked.results, tag))
            bar.update()
    if empty:
        note(f"{len(empty)} of {len(questions)} questions matched no article ({first_few(empty)}).")
    _report_filters(pipeline)
    return coverage
