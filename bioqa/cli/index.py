"""``bioqa index``: build, update, info, verify and tune."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bioqa.cli.output import human_bytes, note, progress_bar
from bioqa.errors import IndexStateError, UsageError

if TYPE_CHECKING:
    from bioqa.evaluate.tune_bm25 import Tuning
    from bioqa.index.build import BuildProgress

_UNITS = {"": 1, "m": 1, "mb": 1, "g": 1024, "gb": 1024}


@click.group(name="index")
def command() -> None:
    """Build a BM25 index from abstract dumps, keep it current, check it, tell what it holds."""


def _megabytes(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """A size such as 4g or 800m in MiB."""
    if value is None:
        return None
    digits = value.rstrip("mMgGbB")
    unit = value[len(digits) :].lower()
    if not digits.isdecimal() or unit not in _UNITS:
        raise UsageError(f"--memory must be a size such as 4g or 800m, not {value!r}.")
    return int(digits) * _UNITS[unit]


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--overwrite", is_flag=True, help="Replace an index that is there already.")
@click.option("--skip-bad", is_flag=True, help="Skip malformed records, report them and count them.")
@click.option("--workers", type=int, help="Processes that read and index.  [default: the cores]")
@click.option(
    "--memory", callback=_megabytes, help="Java memory for all of them, as 4g.  [default: a quarter of the machine's]"
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def build(
    index: Path,
    sources: tuple[str, ...],
    overwrite: bool,
    skip_bad: bool,
    workers: int | None,
    memory: int | None,
    as_json: bool,
) -> None:
    """Build INDEX from each SOURCE: PubMed XML (.xml, .xml.gz), JSONL, Parquet, a BEIR folder, a folder of these or a glob.

    Later sources win: a citation that comes again replaces the earlier one, and DeleteCitation drops it. A build that was killed
    goes on where it was when the same command is given again. An index that is replaced stays searchable until the new one is
    whole.
    """
    from bioqa.index.build import build_index

    with progress_bar("MB", None) as bar:

        def progress(state: "BuildProgress") -> None:
            bar.total = state.bytes / 1e6
            speed = f"{state.articles:,} citations"
            bar.set_postfix_str(f"{state.sources_done}/{state.sources} files, {speed}", refresh=False)
            bar.update(state.bytes_done / 1e6 - bar.n)

        report = build_index(
            index,
            sources,
            overwrite=overwrite,
            skip_bad=skip_bad,
            workers=workers,
            memory_mb=memory,
            note=note,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    deleted = f", {report.deletions:,} deletions" if report.deletions else ""
    skipped = f", {report.skipped:,} malformed skipped" if skip_bad else ""
    resumed = f" (gone on after {report.resumed:,} sources)" if report.resumed else ""
    click.echo(
        f"{index}: {report.documents:,} articles ({report.articles:,} read{deleted}{skipped}) in {report.seconds:.1f} s{resumed}"
    )


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--skip-bad", is_flag=True, help="Skip malformed records, report them and count them.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def update(index: Path, files: tuple[str, ...], skip_bad: bool, as_json: bool) -> None:
    """Take update FILEs into INDEX: revisions replace, DeleteCitation deletes, files known already are left out.

    All of a call appears at once, at its end; searches meanwhile see the index as it was.
    """
    from bioqa.index.update import update_index

    with progress_bar("citations", None) as bar:
        report = update_index(index, files, skip_bad=skip_bad, note=note, progress=_advance(bar.update))
    if as_json:
        click.echo(json.dumps(asdict(report)))
        return
    known = f", {report.files_known:,} known already" if report.files_known else ""
    click.echo(
        f"{index}: {report.documents:,} articles ({report.documents_before:,} before) after {report.files:,} files{known}: "
        f"{report.articles:,} records, {report.deletions:,} deletions, {report.skipped:,} skipped, in {report.seconds:.1f} s"
    )


def _advance(update: Callable[[float], object]) -> Callable[[int], None]:
    def advance(count: int) -> None:
        update(count)

    return advance


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(index: Path, as_json: bool) -> None:
    """Check every byte of INDEX and its counts; the exit code is 0 only if it is sound."""
    from bioqa.index.verify import verify_index

    report = verify_index(index)
    if as_json:
        click.echo(json.dumps(asdict(report), ensure_ascii=False))
    else:
        for warning in report.warnings:
            click.echo(f"Warning: {warning}")
        for error in report.errors:
            click.echo(f"Error: {error}")
        if not report.errors:
            click.echo(f"{index}: no errors, {report.documents:,} articles")
    if report.errors:
        raise IndexStateError(f"{index} is damaged. Build it again with --overwrite, or put a copy back.")


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(index: Path, as_json: bool) -> None:
    """Tell what INDEX holds: documents, fields, sources, snapshot date, size."""
    from bioqa.index.reader import Index

    with Index(index) as opened:
        facts = opened.info()
    if as_json:
        click.echo(json.dumps(asdict(facts), ensure_ascii=False, indent=1))
        return
    rows = {
        "Index": facts.path,
        "Documents": f"{facts.documents:,}",
        "Fields": ", ".join(facts.fields),
        "Snapshot": f"{facts.snapshot or 'not known'} (latest revision date of a citation)",
        "Built": f"{facts.created} by bioqa {facts.version}, index format {facts.format}",
        "Size": human_bytes(facts.size),
        "Sources": f"{len(facts.sources):,}",
    }
    for name, value in rows.items():
        click.echo(f"{name:<10} {value}")
    for entry in facts.sources:
        deletions = f", {entry.deletions:,} deletions" if entry.deletions else ""
        skipped = f", {entry.skipped:,} skipped" if entry.skipped else ""
        click.echo(
            f"  {entry.path}  {entry.articles:,} articles{deletions}{skipped}, {human_bytes(entry.size)}, md5 {entry.md5}"
        )


def _numbers(context: click.Context, parameter: click.Parameter, value: str) -> tuple[float, ...]:
    """Numbers parted by commas."""
    try:
        return tuple(float(one) for one in value.split(","))
    except ValueError:
        raise UsageError(f"{parameter.opts[0]} must be numbers parted by commas, not {value!r}.") from None


@command.command()
@click.argument("index", type=click.Path(path_type=Path))
@click.option(
    "--questions", required=True, type=click.Path(path_type=Path), help="Questions: BioASQ JSON, TSV or BEIR."
)
@click.option(
    "--qrels",
    type=click.Path(path_type=Path),
    help="Relevant articles, TREC or BEIR.  [default: BioASQ's gold documents]",
)
@click.option(
    "--k1", callback=_numbers, default="0.4,0.6,0.9,1.2,1.5,2", show_default=True, help="Values of k1, by commas."
)
@click.option(
    "--b", callback=_numbers, default="0.1,0.2,0.3,0.4,0.5,0.6,0.75,0.9", show_default=True, help="Values of b."
)
@click.option("--measure", default="ndcg@10", show_default=True, help="What to choose by.")
@click.option("--depth", default=100, show_default=True, help="Results per question.")
@click.option("--folds", default=5, show_default=True, help="Parts of the cross-validation.")
@click.option("--seed", default=42, show_default=True, help="Of the random deal into folds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def tune(
    index: Path,
    questions: Path,
    qrels: Path | None,
    k1: tuple[float, ...],
    b: tuple[float, ...],
    measure: str,
    depth: int,
    folds: int,
    seed: int,
    as_json: bool,
) -> None:
    """Choose BM25's k1 and b for INDEX by a grid on questions with known relevant articles.

    What the choice is worth is told by cross-validation: for each part of the questions the values are chosen on the others.
    """
    from bioqa.corpus.qrels import read_qrels
    from bioqa.corpus.questions import read_questions
    from bioqa.evaluate.measures import COMPILING
    from bioqa.evaluate.ranking import telling_compilation
    from bioqa.evaluate.tune_bm25 import tune_bm25
    from bioqa.index.reader import Index
    from bioqa.retrieve.bm25 import BM25Retriever

    asked, judged = read_questions(questions), read_qrels(qrels or questions)
    with (
        Index(index) as opened,
        telling_compilation(lambda: note(COMPILING)),
        progress_bar("settings", len(k1) * len(b)) as bar,
    ):
        found = tune_bm25(
            BM25Retriever(opened),
            asked,
            judged,
            k1s=k1,
            bs=b,
            measure=measure,
            depth=depth,
            folds=folds,
            seed=seed,
            advance=bar.update,
        )
    if as_json:
        click.echo(json.dumps(asdict(found), ensure_ascii=False))
    else:
        _print_tuning(found)


def _print_tuning(found: "Tuning") -> None:
    from bioqa.bench.report import p_text

    bs = sorted({point.b for point in found.grid})
    scores = {(point.k1, point.b): point.mean for point in found.grid}
    click.echo(f"{found.measure}, mean over {found.questions:,} questions:")
    click.echo("  k1 \\ b " + "".join(f"{b:>9g}" for b in bs))
    for k1 in sorted({point.k1 for point in found.grid}):
        click.echo(f"  {k1:<7g}" + "".join(f"{scores[k1, b]:>9.4f}" for b in bs))
    click.echo("Chosen on the other folds, and held out against the default:")
    for number, fold in enumerate(found.folds, start=1):
        values = f"k1 {fold.k1:g}, b {fold.b:g}"
        click.echo(
            f"  fold {number}: {values:<16} {fold.held_out:.4f} against {fold.default:.4f} ({fold.questions:,} questions)"
        )
    click.echo(
        f"Held out: {found.held_out:.4f}; default (k1 {found.default_k1:g}, b {found.default_b:g}): {found.default:.4f}; "
        f"{p_text(found.p)} (paired t-test)."
    )
    if found.held_out <= found.default:
        click.echo("On questions that it has not seen, what tuning chooses is no better: keep the default.")
    elif found.p > 0.05:
        click.echo("The gain may be chance.")
    click.echo(
        f"Best on all questions: --k1 {found.best.k1:g} --b {found.best.b:g} ({found.best.mean:.4f}, which flatters)."
    )
