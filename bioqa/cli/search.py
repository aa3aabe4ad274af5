"""``bioqa search``: questions → ranked articles with answer sentences, or a TREC run."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Command, complete_file
from bioqa.cli.output import (
    console,
    first_few,
    note,
    print_facets,
    print_hits,
    print_json,
    progress_bar,
    report_missing_fields,
)
from bioqa.cli.rerank_options import RerankOptions, open_pipeline, report_coverage, rerank_options
from bioqa.cli.search_options import (
    RetrieverOptions,
    report_filters,
    retriever_options,
    search_options,
    take_search_options,
)
from bioqa.corpus.citation_formats import FORMATS, format_hits
from bioqa.errors import UsageError
from bioqa.retrieve.options import SearchOptions
from bioqa.types import Question

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

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
    result_format: str
    explain: bool
    facets: tuple[str, ...]
    facet_values: int


def _facets(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, ...]:
    """The fields of a list such as year,type."""
    return tuple(filter(None, (name.strip() for name in value.split(","))))


def _complete_index(context: click.Context, parameter: click.Parameter, incomplete: str) -> "list[CompletionItem[Any]]":
    """A file name for the first argument; the others are words of the question."""
    if context.params.get("words") or context.params.get("corpus"):
        return []
    return complete_file(context, parameter, incomplete)


@click.command(
    name="search",
    cls=Command,
    example='bioqa search indexes/demo "Which gene is mutated in Marfan syndrome?" --top 3\n'
    "bioqa search indexes/demo --questions questions.json --top 1000 --run out.run",
)
@click.argument("words", metavar="[INDEX] [QUESTION]", nargs=-1, shell_complete=_complete_index)
@click.option(
    "--corpus",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Search this corpus file in memory instead of an INDEX.",
)
@click.option(
    "--questions",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Answer every question of this file: BioASQ JSON, TSV or BEIR.",
)
@click.option(
    "--run",
    metavar="FILE",
    shell_complete=complete_file,
    help="With --questions: write a TREC run (- for standard output).",
)
@click.option(
    "--top", metavar="N", type=click.IntRange(min=1), default=10, show_default=True, help="Results per question."
)
@click.option(
    "--sentences",
    metavar="N",
    type=click.IntRange(min=0),
    default=2,
    show_default=True,
    help="Answer sentences per article.",
)
@rerank_options
@click.option("--abstracts", is_flag=True, help="Show whole abstracts with the answer sentences marked.")
@click.option(
    "--format",
    "result_format",
    type=click.Choice(["text", "json", *FORMATS]),
    default="text",
    show_default=True,
    help="Format of the results: text, one line of JSON per question, or citations.",
)
@click.option("--json", "as_json", is_flag=True, help="Same as --format json.")
@click.option("--explain", is_flag=True, help="Show how the first-stage score of each article is computed.")
@click.option(
    "--facets",
    metavar="FIELDS",
    callback=_facets,
    default="",
    help="Count all matching articles by these fields, such as year,type: year, journal, mesh, type, language, author.",
)
@click.option(
    "--facet-values",
    metavar="N",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="With --facets: the N most frequent values of each field; years are all shown.",
)
@retriever_options
@search_options
def command(words: tuple[str, ...], **given: Any) -> None:
    """Search INDEX for articles that answer QUESTION.

    BM25 or, in an index with vectors, BM25 and the vectors find candidates. A cross-encoder reranks them, and each article is shown
    with the sentences that answer best. Without QUESTION, the question is read from standard input.
    """
    search, rerank = take_search_options(given), RerankOptions.take(given)
    retriever = RetrieverOptions.take(given)
    if given.pop("as_json"):
        given["result_format"] = "json"
    options = _Options(**given)
    _check(options)
    chosen = rerank.pipeline_options(
        top=options.top,
        sentences=options.sentences,
        explain=options.explain,
        facets=options.facets,
        facet_values=options.facet_values,
        search=search,
    )
    index, question = _arguments(words, options)
    questions = _questions(options, question)
    if options.questions is None:
        from bioqa.index.jvm import optimize_for_startup

        optimize_for_startup()
    with open_pipeline(index, options.corpus, rerank, chosen, retriever) as pipeline:
        if options.questions is not None:
            pipeline.check_questions(questions)
        if options.run is not None:
            coverage = _write_run(pipeline, questions, options, options.run)
        elif options.result_format in FORMATS:
            coverage = _write_citations(pipeline, questions, options)
        else:
            coverage = _print_answers(pipeline, questions, options)
        if options.questions is not None:
            report_filters(pipeline.retriever, search)
        report_coverage(pipeline, coverage)


def _check(options: _Options) -> None:
    if options.run is not None and options.questions is None:
        raise UsageError("--run needs --questions FILE: a run is for a set of questions.")
    if options.run is not None and options.result_format != "text":
        option = "--json" if options.result_format == "json" else f"--format {options.result_format}"
        raise UsageError(f"--run and {option} cannot be combined: a run has its own format.")
    if options.result_format in FORMATS:
        for option, given in (
            ("--explain", options.explain),
            ("--abstracts", options.abstracts),
            ("--facets", options.facets),
        ):
            if given:
                raise UsageError(
                    f"{option} and --format {options.result_format} cannot be combined: citations have their own format."
                )
    if options.run is not None and options.explain:
        raise UsageError("--run and --explain cannot be combined: a run has no explanations.")
    if options.run is not None and options.facets:
        raise UsageError("--run and --facets cannot be combined: a run has no counts.")
    if options.corpus is not None and options.explain:
        raise UsageError("--explain needs an index. Build one with `bioqa index build`.")


def _arguments(words: tuple[str, ...], options: _Options) -> tuple[Path | None, str | None]:
    """The index and the question among the arguments."""
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
            raise UsageError("There is no question. Put it in quotes after the index, or pipe it in.")
        try:
            question = sys.stdin.buffer.read().decode("utf-8")
        except UnicodeDecodeError as problem:
            raise UsageError(f"The question on standard input is not UTF-8 (byte {problem.start}).") from None
    return [Question("question", check_question(question))]


def _print_answers(pipeline: "Pipeline", questions: list[Question], options: _Options) -> "Coverage":
    from bioqa.pipeline.answer import Coverage

    out = console()
    coverage = Coverage()
    for number, question in enumerate(questions):
        answer = pipeline.answer(question)
        coverage += answer.coverage
        if options.result_format == "json":
            print_json(answer.to_dict())
        else:
            if number:
                out.rule()
            selective = _is_selective(answer.options.search)
            scale = pipeline.retriever.scale
            print_hits(out, question, answer.hits, abstracts=options.abstracts, selective=selective, scale=scale)
            print_facets(out, answer.facets)
        if options.questions is None:
            report_missing_fields(answer.missing_fields, answer.unknown_filter_values, all_articles=False)
    return coverage


def _write_citations(pipeline: "Pipeline", questions: list[Question], options: _Options) -> "Coverage":
    from bioqa.io.output import open_output
    from bioqa.pipeline.answer import Coverage

    answers = []
    coverage = Coverage()
    for question in questions:
        answer = pipeline.answer(question)
        coverage += answer.coverage
        answers.append((question, answer.hits))
        if options.questions is None:
            report_missing_fields(answer.missing_fields, answer.unknown_filter_values, all_articles=False)
    with open_output("-") as out:
        out.writelines(format_hits(answers, options.result_format))
    return coverage


def _is_selective(search: SearchOptions) -> bool:
    """Whether an article that has a word of the question can be excluded."""
    return bool(search.filters) or search.syntax != "words"


def _write_run(pipeline: "Pipeline", questions: list[Question], options: _Options, path: str) -> "Coverage":
    from bioqa.io.output import open_output
    from bioqa.io.trec import run_lines
    from bioqa.pipeline.answer import Coverage

    first = pipeline.retriever.scale if pipeline.retriever.scale in ("bm25", "dense") else "hybrid"
    tag = first if pipeline.reranker is None else f"{first}+{Path(pipeline.reranker.name).name}"
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
        note(f"{len(empty):,} of {len(questions):,} questions match no article ({first_few(empty)}).")
    return coverage
