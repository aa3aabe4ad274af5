"""``bioqa search``: questions → ranked articles with answer sentences, or a run file."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.engine import EngineOptions, check_positive, engine_options, open_engine
from bioqa.cli.first_stage import GroupedCommand, StageOptions, check_queries, first_stage_options, tell_left_out
from bioqa.cli.output import answer_json, console, first_few, note, print_hits, progress_bar
from bioqa.errors import UsageError
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.search import SearchEngine


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
    stage: StageOptions
    second: EngineOptions


@click.command(name="search", cls=GroupedCommand)
@click.argument("words", metavar="[INDEX] [QUESTION]", nargs=-1)
@click.option("--corpus", type=click.Path(path_type=Path), help="Search this corpus file in memory; no INDEX then.")
@click.option(
    "--questions", type=click.Path(path_type=Path), help="Ask each question of a file: BioASQ JSON, TSV or BEIR."
)
@click.option("--run", metavar="OUT", help="With --questions: write a TREC run to OUT (- for standard output).")
@click.option("--top", default=10, show_default=True, help="Results per question.")
@click.option("--sentences", default=2, show_default=True, help="Answer sentences shown per article.")
@engine_options
@click.option("--abstracts", is_flag=True, help="Show whole abstracts with the answer sentences marked in them.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON per question.")
@click.option("--explain", is_flag=True, help="Show how the BM25 score of each article came about.")
@first_stage_options
def command(words: tuple[str, ...], **given: Any) -> None:
    """Search INDEX for articles that answer QUESTION.

    The question is read from standard input where none is given. BM25 finds candidates, a cross-encoder reranks them, and each
    article is shown with the sentences that answer best.
    """
    options = _Options(stage=StageOptions.take(given), second=EngineOptions.take(given), **given)
    _check(options)
    index_path, question = _arguments(words, options)
    from bioqa.index.jvm import favour_start

    questions = _questions(options, question)
    if options.questions is None:
        favour_start()
    with open_engine(
        index_path,
        options.corpus,
        options.stage,
        options.second,
        sentences=options.sentences,
        explain=options.explain,
    ) as engine:
        _answer(engine, questions, options)


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
    from bioqa.bioasq.questions import check_question, read_questions

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


def _answer(engine: "SearchEngine", questions: list[Question], options: _Options) -> None:
    from bioqa.rerank.long import check_lengths

    if options.stage.syntax != "words" and options.questions is not None:
        check_queries(engine.index, questions)
    if engine.reranker is not None and options.questions is not None:
        check_lengths(engine.reranker, ((question.id, question.body) for question in questions))
    if options.run is not None:
        _write_run(engine, questions, options, options.run)
    else:
        _print_answers(engine, questions, options)
    tell_left_out(engine.index, questions[0].body if options.questions is None else None)


def _print_answers(engine: "SearchEngine", questions: list[Question], options: _Options) -> None:
    out = console()
    for number, question in enumerate(questions):
        hits = engine.search(question.body, options.top)
        if options.as_json:
            reranker = engine.reranker.name if engine.reranker else None
            click.echo(answer_json(question, hits, reranker, engine.bm25_weight))
            continue
        if number:
            out.rule()
        print_hits(out, question, hits, abstracts=options.abstracts, selected=options.stage.selects)


def _write_run(engine: "SearchEngine", questions: list[Question], options: _Options, path: str) -> None:
    from bioqa.evaluate.runs import open_output, run_lines

    tag = "bm25" if engine.reranker is None else f"bm25+{Path(engine.reranker.name).name}"
    empty = []
    inputs = [options.questions] if options.questions else []
    with open_output(path, inputs) as out, progress_bar("questions", len(questions)) as bar:
        for question, results in engine.run(questions, options.top):
            if not results:
                empty.append(question.id)
            out.writelines(run_lines(question.id, results, tag))
            bar.update()
    if empty:
        note(f"{len(empty)} of {len(questions)} questions found no article ({first_few(empty)}).")
