"""``bioqa pairs``: training pairs from questions, articles and the Cell Ontology; what is in them; whether splits leak."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import add_options
from bioqa.cli.output import note, progress_bar
from bioqa.errors import LeakError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bioqa.index.reader import Index
    from bioqa.pairs.build_pairs import BuildReport
    from bioqa.pairs.leaks import Leak
    from bioqa.pairs.negatives import Mining, Negatives
    from bioqa.pairs.statistics import Statistics

_PATH = click.Path(path_type=Path)
_WIDTH = 110


@click.group(name="pairs")
def command() -> None:
    """Build training pairs with hard negatives, describe them, check that splits do not leak."""


_out_option = click.option("--out", type=_PATH, required=True, help="Parquet file to write.")


def _drawing_options(negatives: str) -> Callable[[Any], Any]:
    """How negatives are drawn; ``negatives`` is the help on their kinds."""
    return add_options(
        click.option("--negatives", multiple=True, metavar="KIND:NUMBER", help=negatives),
        click.option(
            "--threshold",
            type=float,
            help="Questions with so much of their words in common (Jaccard) are near-duplicates.  [default: 0.75]",
        ),
        click.option("--seed", default=42, show_default=True, help="The same seed gives the same pairs."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )


_mining_options = add_options(
    click.option(
        "--exclude",
        type=_PATH,
        multiple=True,
        metavar="FILE",
        help="Keep the questions, passages and documents of this file out: dev and test.",
    ),
    click.option(
        "--mine", metavar="MODEL", help="Take the bm25 negatives that this reranker scores highest, not at random."
    ),
    click.option(
        "--skip-above",
        type=float,
        metavar="QUANTILE",
        help="With --mine: leave out candidates scored above this quantile of the question's gold passages.",
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or mps, for --mine."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored at a time under --mine."),
)


@command.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_PATH)
@_out_option
@click.option(
    "--passages",
    type=click.Choice(["snippets", "abstracts", "articles"]),
    default="snippets",
    show_default=True,
    help="Pair questions with gold snippets, with abstracts of gold documents, or with their titles and abstracts.",
)
@click.option("--index", type=_PATH, help="Index of the articles, for abstracts, articles and sentence negatives.")
@click.option("--max-positives", type=int, metavar="NUMBER", help="Take at most so many gold passages of a question.")
@click.option("--share", type=float, help="Scale the numbers of negatives to this share of positives.")
@click.option("--split", metavar="NAME=SHARE,...", help="Write a file for each split, as train=0.9,dev=0.1.")
@_mining_options
@_drawing_options(
    "Negatives for each positive: bm25:4, bm25:4:1-50 (from these ranks without gold; 1-100 unless given), random:1, "
    "sentence:0.5 (same document, outside gold). Repeatable."
)
def build(sources: tuple[Path, ...], out: Path, index: Path | None, **given: Any) -> None:
    """Build pairs from question SOURCEs: BioASQ JSON, pairs as CSV, TSV, JSON lines or Parquet, BEIR qrels, and others.

    The same question in several files is one question with the passages of all. A split keeps near-duplicate questions, and
    questions with a passage in common, on one side, and no passage is used in two splits.

    JSON lines hold `query`, `pos` and `neg`, or two texts and a label. PubMedQA's JSON and MedQuAD's tar.gz are taken too.
    """
    from bioqa.pairs.build_pairs import BuildOptions, build_pairs
    from bioqa.pairs.duplicates import THRESHOLD
    from bioqa.pairs.split import parse_splits

    options = BuildOptions(
        passages=given["passages"],
        negatives=_negatives(given["negatives"]),
        share=given["share"],
        max_positives=given["max_positives"],
        split=tuple(parse_splits(given["split"])) if given["split"] else (),
        exclude=given["exclude"],
        threshold=THRESHOLD if given["threshold"] is None else given["threshold"],
        seed=given["seed"],
    )
    with _opened(index) as opened, progress_bar("questions", None) as bar:
        report = build_pairs(
            sources,
            out,
            options,
            index=opened,
            mining=_mining(given),
            made=_made("build", sources, options, given, index),
            progress=_advance(bar),
        )
    _tell(report, given["as_json"])


@command.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--index", type=_PATH, required=True, help="Index of the articles that negatives are drawn from.")
@_out_option
@click.option("--articles", type=int, help="Stop after so many articles.")
@click.option(
    "--ask",
    type=click.Choice(["title", "sentence"]),
    multiple=True,
    help="What stands for the question: the title, a sentence of the abstract, or both.  [default: both]",
)
@_mining_options
@_drawing_options("Negatives for each positive: bm25:4, bm25:4:1-50 or random:1. Repeatable.")
def titles(sources: tuple[str, ...], index: Path, out: Path, **given: Any) -> None:
    """Build title-abstract and sentence-abstract pairs from corpus SOURCEs, as `bioqa index build` takes them.

    The abstract that a sentence is paired with is without that sentence.
    """
    from bioqa.pairs.duplicates import THRESHOLD
    from bioqa.pairs.title_pairs import ASKED, TitleOptions, build_titles

    options = TitleOptions(
        asked=given["ask"] or ASKED,
        negatives=_negatives(given["negatives"]),
        articles=given["articles"],
        exclude=given["exclude"],
        threshold=THRESHOLD if given["threshold"] is None else given["threshold"],
        seed=given["seed"],
    )
    from bioqa.index.reader import Index

    with Index(index) as opened, progress_bar("questions", None) as bar:
        report = build_titles(
            sources,
            opened,
            out,
            options,
            mining=_mining(given),
            made=_made("titles", sources, options, given, index),
            progress=_advance(bar),
        )
    _tell(report, given["as_json"])


@command.command()
@click.argument("ontology", type=_PATH)
@click.argument("crosswalks", metavar="CROSSWALK...", nargs=-1, type=_PATH)
@_out_option
@click.option("--share", default=0.07, show_default=True, help="Share of positives.")
@click.option("--no-synonyms", is_flag=True, help="Ask the labels of the crosswalks alone, not the names of all terms.")
@click.option("--organism", default="Homo sapiens", show_default=True, help="The organism of the labels.")
@click.option("--split", metavar="NAME=SHARE,...", help="Write a file for each split, as train=0.95,dev=0.05.")
@_drawing_options(
    "Kinds of negatives and their weights: bm25:2, bm25:2:1-50, sibling:1 (terms with a parent in common), random:3. "
    "Repeatable.  [default: these]"
)
def cells(ontology: Path, crosswalks: tuple[Path, ...], out: Path, **given: Any) -> None:
    """Build pairs of cell labels and terms from ONTOLOGY (OBO) and CROSSWALKs (CSV of the Human Reference Atlas).

    Left: "cell_type: …; tissue: …; organism: …". Right: "label: …; synonyms: …; definition: …". A split keeps all tissues of a cell
    type on one side; the terms are in all.
    """
    from bioqa.pairs.cell_ontology import NEGATIVES, CellOptions, build_cells
    from bioqa.pairs.duplicates import THRESHOLD
    from bioqa.pairs.split import parse_splits

    options = CellOptions(
        negatives=_negatives(given["negatives"]) or NEGATIVES,
        share=given["share"],
        synonyms=not given["no_synonyms"],
        organism=given["organism"],
        split=tuple(parse_splits(given["split"])) if given["split"] else (),
        threshold=THRESHOLD if given["threshold"] is None else given["threshold"],
        seed=given["seed"],
    )
    with progress_bar("questions", None) as bar:
        made = _made("cells", (ontology, *crosswalks), options, given)
        report = build_cells(ontology, crosswalks, out, options, made=made, progress=_advance(bar))
    _tell(report, given["as_json"], missing="labels have a term that is not in the ontology")


@command.command()
@click.argument("file", type=_PATH)
@click.option(
    "--columns", metavar="QUESTION,PASSAGE,LABEL", help="Names of the columns, where they are not usual ones."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(file: Path, columns: str | None, as_json: bool) -> None:
    """Describe the pairs of FILE: rows, share of positives, lengths in characters, three samples."""
    from bioqa.pairs.pair_file import read_batches, read_made
    from bioqa.pairs.statistics import describe

    with progress_bar("pairs", None) as bar:
        batches = _counted(read_batches(file, columns.split(",") if columns else None), bar.update)
        found = describe(batches)
    if as_json:
        share = {"positive_share": found.positive_share, "made": read_made(file)}
        click.echo(json.dumps(asdict(found) | share, ensure_ascii=False))
    else:
        _print_statistics(file, found)


@command.command()
@click.argument("files", metavar="TRAIN DEV [TEST...]", nargs=-1, required=True, type=_PATH)
@click.option("--questions-only", is_flag=True, help="Passages may be shared.")
@click.option("--first-only", is_flag=True, help="Compare the first file with the others, not these among themselves.")
@click.option("--threshold", type=float, help="Share of common words of near-duplicates.  [default: 0.75]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    files: tuple[Path, ...], questions_only: bool, first_only: bool, threshold: float | None, as_json: bool
) -> None:
    """Check that no two files share a question, a near-duplicate of one, or a passage; the exit code is 0 only then.

    Files are pairs or question files, in any form that `bioqa pairs build` takes.
    """
    from bioqa.pairs.duplicates import THRESHOLD
    from bioqa.pairs.leaks import find_leaks

    limit = THRESHOLD if threshold is None else threshold
    with progress_bar("pairs", None) as bar:
        leaks = find_leaks(
            files, passages=not questions_only, first_only=first_only, threshold=limit, progress=_update(bar)
        )
    if as_json:
        click.echo(json.dumps([asdict(leak) for leak in leaks], ensure_ascii=False, default=str))
    else:
        _print_leaks(leaks)
    if leaks:
        raise LeakError(
            "The files leak into each other: see above. Build them with --split or --exclude, or take the rows out."
        )
    if not as_json:
        what = "question" if questions_only else "question or passage"
        where = f"in {files[0]} and another file" if first_only else f"in two of {len(files)} files"
        click.echo(f"No {what} stands {where} (near-duplicates: Jaccard {limit:g} or more).")


def _negatives(texts: Sequence[str]) -> "tuple[Negatives, ...]":
    from bioqa.pairs.negatives import parse_negatives

    return tuple(parse_negatives(part) for text in texts for part in text.replace(",", " ").split())


def _mining(given: dict[str, Any]) -> "Mining | None":
    if given["mine"] is None:
        if given["skip_above"] is not None:
            raise UsageError("--skip-above needs --mine MODEL.")
        return None
    from bioqa.pairs.negatives import Mining
    from bioqa.rerank.reranker import Reranker

    reranker = Reranker(given["mine"], device=given["device"], batch_size=given["batch_size"])
    return Mining(reranker, given["skip_above"])


def _opened(index: Path | None) -> "AbstractContextManager[Index | None]":
    if index is None:
        return nullcontext()
    from bioqa.index.reader import Index

    return Index(index)


def _made(
    name: str, sources: Sequence[str | Path], options: Any, given: dict[str, Any], index: Path | None = None
) -> dict[str, Any]:
    """How a file was made, for its metadata."""
    from bioqa import __version__

    return {
        "command": f"bioqa pairs {name}",
        "version": __version__,
        "seed": options.seed,
        "sources": [str(source) for source in sources],
        "index": str(index) if index else None,
        "mine": given.get("mine"),
        "skip_above": given.get("skip_above"),
        "options": json.loads(json.dumps(asdict(options), default=str)),
    }


def _advance(bar: Any) -> Callable[[int, int | None], None]:
    def advance(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance


def _update(bar: Any) -> Callable[[int], None]:
    def update(count: int) -> None:
        bar.update(count)

    return update


def _counted(batches: Iterator[Any], update: Callable[[int], object]) -> Iterator[Any]:
    for batch in batches:
        yield batch
        update(batch.num_rows)


def _tell(report: "BuildReport", as_json: bool, missing: str = "gold documents are not in the index") -> None:
    if as_json:
        left_out = ("excluded_questions", "excluded_passages", "missing_documents", "given_negatives")
        files = [
            {
                "path": str(one.path),
                "rows": one.rows,
                "questions": one.questions,
                "positives": one.positives,
                "kinds": dict(sorted(one.kinds.items())),
            }
            for one in report.files
        ]
        click.echo(json.dumps({"files": files} | {name: getattr(report, name) for name in left_out}))
        return
    for one in report.files:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(one.kinds.items()))
        share = f", {one.positives / one.rows:.1%} positive" if one.rows else ""
        click.echo(f"{one.path}: {one.rows:,} pairs of {one.questions:,} questions{share} ({kinds})")
    for count, what in (
        (report.excluded_questions, "questions were left out: --exclude holds them, or near-duplicates"),
        (report.excluded_passages, "passages were left out: --exclude holds them"),
        (report.missing_documents, f"{missing}: left out"),
        (
            report.given_negatives,
            "given negatives were left out: gold of the question has their words, they come twice, or another split has them",
        ),
    ):
        if count:
            note(f"{count:,} {what}.")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _print_statistics(file: Path, found: "Statistics") -> None:
    click.echo(f"{file}: {found.rows:,} pairs of {found.questions:,} questions")
    click.echo(f"positive  {found.positives:,} ({found.positive_share:.1%})")
    click.echo("kinds     " + ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items()))
    click.echo(f"\n{'characters':<10} {'min':>8} {'mean':>10} {'max':>8}")
    for name, lengths in (("question", found.question), ("passage", found.passage)):
        click.echo(f"{name:<10} {lengths.min:>8,} {lengths.mean:>10,.2f} {lengths.max:>8,}")
    click.echo("\nsamples")
    for sample in found.samples:
        click.echo(f"  {sample.label:g}  {_short(sample.question)}\n     {_short(sample.passage)}")


def _print_leaks(leaks: "Sequence[Leak]") -> None:
    for leak in leaks:
        plural = "" if leak.count == 1 else "s"
        click.echo(f"{leak.first} and {leak.second} share {leak.count:,} {leak.kind}{plural}:")
        for first, second in leak.samples:
            click.echo(f"  {_short(first)}")
            if first != second:
                click.echo(f"  ~ {_short(second)}")
