"""``bioqa pairs``: build training pairs from questions, articles and the Cell Ontology, describe them, check splits for leaks."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Group, add_options, complete_file
from bioqa.cli.output import echo, note, print_json, progress_bar
from bioqa.errors import LeakError, UsageError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from bioqa.index.reader import Index
    from bioqa.pairs.build_pairs import PairsReport
    from bioqa.pairs.leaks import Leak
    from bioqa.pairs.negatives import Mining, NegativeSpec
    from bioqa.pairs.pair_statistics import PairStatistics

_PATH = click.Path(path_type=Path)
_WIDTH = 110


@click.group(
    name="pairs", cls=Group, example="bioqa pairs build questions.json --negatives random:1 --out pairs.parquet"
)
def command() -> None:
    """Build training pairs with hard negatives, describe them, check splits for leaks."""


_out_option = click.option("--out", type=_PATH, required=True, help="Parquet file to write.")
_jaccard_option = click.option(
    "--jaccard",
    type=float,
    metavar="SIMILARITY",
    help="Jaccard similarity from which two questions count as near-duplicates.  [default: 0.75]",
)


def _sampling_options(negatives: str) -> Callable[[Any], Any]:
    """How negatives are sampled; ``negatives`` is the help on their kinds."""
    return add_options(
        click.option("--negatives", multiple=True, metavar="KIND:NUMBER", help=negatives),
        _jaccard_option,
        click.option("--seed", default=42, show_default=True, help="The same seed gives the same pairs."),
        click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
    )


_mining_options = add_options(
    click.option(
        "--exclude",
        type=_PATH,
        multiple=True,
        metavar="FILE",
        help="Exclude the questions, passages and documents of this file (dev, test). Repeatable.",
    ),
    click.option(
        "--mine-with",
        metavar="MODEL",
        shell_complete=complete_file,
        help="Mine hard negatives: take the bm25 candidates that this reranker scores highest, not random ones.",
    ),
    click.option(
        "--skip-above",
        type=float,
        metavar="QUANTILE",
        help="With --mine-with: skip candidates scored above this quantile of the question's gold passages.",
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or mps, for --mine-with."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored per batch, for --mine-with."),
)


@command.command(
    example="bioqa pairs build questions.json --index indexes/pubmed --passages abstracts \\\n"
    "    --negatives bm25:4 --split train=0.9,dev=0.1 --out pairs.parquet"
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, type=_PATH)
@_out_option
@click.option(
    "--passages",
    type=click.Choice(["snippets", "abstracts", "articles"]),
    default="snippets",
    show_default=True,
    help="Pair questions with gold snippets, with abstracts of gold documents, or with their titles and abstracts.",
)
@click.option(
    "--index",
    type=_PATH,
    help="Index of the articles, for --passages abstracts or articles and for sentence negatives.",
)
@click.option("--max-positives", type=int, metavar="N", help="Maximum number of gold passages per question.")
@click.option("--share", type=float, help="Scale the numbers of negatives to this share of positives.")
@click.option("--split", metavar="NAME=SHARE,...", help="Write one file per split, such as train=0.9,dev=0.1.")
@_mining_options
@_sampling_options(
    "Negatives per positive: bm25:4, bm25:4:1-50 (from these ranks without gold; 1-100 by default), random:1, "
    "sentence:0.5 (same document, outside gold). Repeatable."
)
def build(sources: tuple[Path, ...], out: Path, index: Path | None, **given: Any) -> None:
    """Build pairs from question SOURCEs.

    A SOURCE is BioASQ JSON, pairs as CSV, TSV, JSON lines or Parquet, or BEIR qrels.
    A question that is in several files is one question with the passages of all. A split keeps near-duplicate questions, and
    questions that share a passage, together, and no two splits use the same passage.

    JSON lines have `query`, `pos` and `neg`, or two texts and a label. PubMedQA's JSON and MedQuAD's tar.gz are read too.
    """
    from bioqa.pairs.build_pairs import BuildOptions, build_pairs
    from bioqa.pairs.duplicates import DEFAULT_JACCARD
    from bioqa.pairs.split import parse_splits

    options = BuildOptions(
        passages=given["passages"],
        negatives=_negatives(given["negatives"]),
        share=given["share"],
        max_positives=given["max_positives"],
        split=tuple(parse_splits(given["split"])) if given["split"] else (),
        exclude=given["exclude"],
        jaccard=DEFAULT_JACCARD if given["jaccard"] is None else given["jaccard"],
        seed=given["seed"],
    )
    with _open_index(index) as opened, progress_bar("questions", None) as bar:
        report = build_pairs(
            sources,
            out,
            options,
            index=opened,
            mining=_mining(given),
            provenance=_provenance("build", sources, options, given, index),
            progress=_advance(bar),
        )
    _print_report(report, given["as_json"])


@command.command(
    example="bioqa pairs titles pubmed/baseline --index indexes/pubmed --limit 10000 \\\n"
    "    --negatives bm25:4 --out pairs.parquet"
)
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True, shell_complete=complete_file)
@click.option("--index", type=_PATH, required=True, help="Index of the articles to sample negatives from.")
@_out_option
@click.option("--limit", type=int, metavar="N", help="Use only the first N articles.")
@click.option(
    "--ask",
    type=click.Choice(["title", "sentence"]),
    multiple=True,
    help="What serves as the question: the title, a sentence of the abstract, or both.  [default: both]",
)
@_mining_options
@_sampling_options("Negatives per positive: bm25:4, bm25:4:1-50 or random:1. Repeatable.")
def titles(sources: tuple[str, ...], index: Path, out: Path, **given: Any) -> None:
    """Build title-abstract and sentence-abstract pairs.

    SOURCEs are articles, the same as for `bioqa index build`.

    The abstract that a sentence is paired with does not contain that sentence.
    """
    from bioqa.index.reader import Index
    from bioqa.pairs.duplicates import DEFAULT_JACCARD
    from bioqa.pairs.title_pairs import ASKED, TitleOptions, build_title_pairs

    options = TitleOptions(
        asked=given["ask"] or ASKED,
        negatives=_negatives(given["negatives"]),
        limit=given["limit"],
        exclude=given["exclude"],
        jaccard=DEFAULT_JACCARD if given["jaccard"] is None else given["jaccard"],
        seed=given["seed"],
    )
    with Index(index) as opened, progress_bar("questions", None) as bar:
        report = build_title_pairs(
            sources,
            opened,
            out,
            options,
            mining=_mining(given),
            provenance=_provenance("titles", sources, options, given, index),
            progress=_advance(bar),
        )
    _print_report(report, given["as_json"])


@command.command(example="bioqa pairs cells cl-basic.obo azimuth-crosswalk.csv --out pairs.parquet")
@click.argument("ontology", type=_PATH)
@click.argument("crosswalks", metavar="CROSSWALK...", nargs=-1, type=_PATH)
@_out_option
@click.option("--share", default=0.07, show_default=True, help="Share of positives.")
@click.option("--no-synonyms", is_flag=True, help="Use only the labels of the crosswalks, not the names of all terms.")
@click.option("--organism", default="Homo sapiens", show_default=True, help="The organism of the labels.")
@click.option("--split", metavar="NAME=SHARE,...", help="Write one file per split, such as train=0.95,dev=0.05.")
@_sampling_options(
    "Kinds of negatives and their weights: bm25:2, bm25:2:1-50, sibling:1 (terms that share a parent), random:3. "
    "Repeatable.  [default: bm25:2, sibling:1, random:3]"
)
def cells(ontology: Path, crosswalks: tuple[Path, ...], out: Path, **given: Any) -> None:
    """Build pairs of cell labels and ontology terms.

    ONTOLOGY is the Cell Ontology (OBO), CROSSWALKs are CSV files of the Human Reference Atlas.

    Left: "cell_type: …; tissue: …; organism: …". Right: "label: …; synonyms: …; definition: …". A split keeps all tissues of a cell
    type together; all splits use all terms.
    """
    from bioqa.pairs.cell_ontology import NEGATIVES, CellOptions, build_cell_pairs
    from bioqa.pairs.duplicates import DEFAULT_JACCARD
    from bioqa.pairs.split import parse_splits

    options = CellOptions(
        negatives=_negatives(given["negatives"]) or NEGATIVES,
        share=given["share"],
        synonyms=not given["no_synonyms"],
        organism=given["organism"],
        split=tuple(parse_splits(given["split"])) if given["split"] else (),
        jaccard=DEFAULT_JACCARD if given["jaccard"] is None else given["jaccard"],
        seed=given["seed"],
    )
    with progress_bar("questions", None) as bar:
        report = build_cell_pairs(
            ontology,
            crosswalks,
            out,
            options,
            provenance=_provenance("cells", (ontology, *crosswalks), options, given),
            progress=_advance(bar),
        )
    _print_report(report, given["as_json"], missing="labels were dropped: their term is not in the ontology")


@command.command(example="bioqa pairs score pairs.parquet --teacher models/large --out scored.parquet")
@click.argument("file", type=_PATH)
@click.option(
    "--teacher",
    multiple=True,
    required=True,
    metavar="MODEL",
    shell_complete=complete_file,
    help="Reranker whose logits to add: a folder, a Hugging Face name or default. Repeatable: the logits are summed.",
)
@click.option("--weight", type=float, multiple=True, metavar="W", help="Weight of each teacher in turn.  [default: 1]")
@_out_option
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or mps.")
@click.option("--engine", default="auto", show_default=True, help="auto, exact, cpu-int8 or gpu.")
@click.option("--max-length", type=int, help="Maximum tokens of a pair.  [default: the teacher's]")
@click.option("--batch-size", default=32, show_default=True, help="Pairs scored per batch.")
def score(file: Path, teacher: tuple[str, ...], weight: tuple[float, ...], out: Path, **given: Any) -> None:
    """Add the scores of a teacher to the pairs in FILE, for distillation.

    A recipe with the loss margin_mse, teacher_mse or teacher_listnet trains a student on them. An interrupted command resumes when
    it is given again.
    """
    from bioqa.pairs.teacher_scores import Teacher, score_pairs_file
    from bioqa.rerank.reranker import Reranker

    if weight and len(weight) != len(teacher):
        raise UsageError(
            f"There are {len(teacher)} --teacher and {len(weight)} --weight. Give one weight for each teacher."
        )
    teachers = [
        Teacher(Reranker(name, **given), one) for name, one in zip(teacher, weight or [1.0] * len(teacher), strict=True)
    ]
    with progress_bar("pairs", None) as bar:
        rows = score_pairs_file(file, out, teachers, note=note, progress=bar.update)
    note(f"{out}: {rows:,} pairs with the scores of {', '.join(one.reranker.label for one in teachers)}.")


@command.command(example="bioqa pairs stats pairs-train.parquet")
@click.argument("file", type=_PATH)
@click.option(
    "--columns", metavar="QUESTION,PASSAGE,LABEL", help="Names of the columns, if they are not the usual ones."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def stats(file: Path, columns: str | None, as_json: bool) -> None:
    """Show rows, share of positives, lengths and samples of FILE."""
    from bioqa.pairs.pair_file import read_provenance
    from bioqa.pairs.pair_statistics import describe_pairs
    from bioqa.pairs.read_pairs import read_batches

    with progress_bar("pairs", None) as bar:
        found = describe_pairs(_counted(read_batches(file, columns.split(",") if columns else None), bar.update))
    if as_json:
        more = {"positive_share": found.positive_share, "provenance": read_provenance(file)}
        print_json(asdict(found) | more)
    else:
        _print_statistics(file, found)


@command.command(example="bioqa pairs check pairs-train.parquet pairs-dev.parquet")
@click.argument("files", metavar="TRAIN DEV [TEST...]", nargs=-1, required=True, type=_PATH)
@click.option("--questions-only", is_flag=True, help="Allow shared passages.")
@click.option("--first-only", is_flag=True, help="Compare only the first file with the others.")
@_jaccard_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(
    files: tuple[Path, ...], questions_only: bool, first_only: bool, jaccard: float | None, as_json: bool
) -> None:
    """Check that no two files share questions or passages.

    Near-duplicate questions count as shared. The exit code is 0 only if nothing is shared.

    The files contain pairs or questions, in any format that `bioqa pairs build` reads.
    """
    from bioqa.pairs.duplicates import DEFAULT_JACCARD
    from bioqa.pairs.leaks import find_leaks

    jaccard = DEFAULT_JACCARD if jaccard is None else jaccard
    with progress_bar("pairs", None) as bar:
        leaks = find_leaks(
            files, passages=not questions_only, first_only=first_only, jaccard=jaccard, progress=bar.update
        )
    if as_json:
        print_json([asdict(leak) for leak in leaks], default=str)
    else:
        _print_leaks(leaks)
    if leaks:
        raise LeakError(
            "The files leak into each other (see above). Build them with --split or --exclude, or drop the rows."
        )
    if not as_json:
        what = "question" if questions_only else "question or passage"
        where = f"in {files[0]} and another file" if first_only else f"in two of {len(files)} files"
        echo(f"No {what} is {where} (near-duplicates: Jaccard {jaccard:g} or more).")


def _negatives(texts: Sequence[str]) -> "tuple[NegativeSpec, ...]":
    from bioqa.pairs.negatives import parse_negatives

    return tuple(parse_negatives(part) for text in texts for part in text.replace(",", " ").split())


def _mining(given: dict[str, Any]) -> "Mining | None":
    if given["mine_with"] is None:
        if given["skip_above"] is not None:
            raise UsageError("--skip-above requires --mine-with MODEL.")
        return None
    from bioqa.pairs.negatives import Mining
    from bioqa.rerank.reranker import Reranker

    reranker = Reranker(given["mine_with"], device=given["device"], batch_size=given["batch_size"])
    return Mining(reranker, given["skip_above"])


def _open_index(index: Path | None) -> "AbstractContextManager[Index | None]":
    if index is None:
        return nullcontext()
    from bioqa.index.reader import Index

    return Index(index)


def _provenance(
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
        "mine_with": given.get("mine_with"),
        "skip_above": given.get("skip_above"),
        "options": json.loads(json.dumps(asdict(options), default=str)),
    }


def _advance(bar: Any) -> Callable[[int, int | None], None]:
    def advance(done: int, total: int | None) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance


def _counted(batches: Iterator[Any], update: Callable[[int], object]) -> Iterator[Any]:
    for batch in batches:
        yield batch
        update(batch.num_rows)


def _print_report(
    report: "PairsReport", as_json: bool, missing: str = "gold documents were dropped: not in the index"
) -> None:
    if as_json:
        dropped = ("excluded_questions", "excluded_passages", "missing_documents", "dropped_negatives")
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
        print_json({"files": files} | {name: getattr(report, name) for name in dropped})
        return
    for one in report.files:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(one.kinds.items()))
        share = f", {one.positives / one.rows:.1%} positive" if one.rows else ""
        echo(f"{one.path}: {one.rows:,} pairs of {one.questions:,} questions{share} ({kinds})")
    for count, what in (
        (report.excluded_questions, "questions were dropped: they or near-duplicates are in --exclude"),
        (report.excluded_passages, "passages were dropped: they are in --exclude"),
        (report.missing_documents, missing),
        (
            report.dropped_negatives,
            "given negatives were dropped: they match gold, are duplicates or are in another split",
        ),
    ):
        if count:
            note(f"{count:,} {what}.")


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"


def _print_statistics(file: Path, found: "PairStatistics") -> None:
    echo(f"{file}: {found.rows:,} pairs of {found.questions:,} questions")
    echo(f"positive  {found.positives:,} ({found.positive_share:.1%})")
    echo("kinds     " + ", ".join(f"{count:,} {kind}" for kind, count in found.kinds.items()))
    echo(f"\n{'characters':<10} {'min':>8} {'mean':>10} {'max':>8}")
    for name, lengths in (("question", found.question), ("passage", found.passage)):
        echo(f"{name:<10} {lengths.min:>8,} {lengths.mean:>10,.2f} {lengths.max:>8,}")
    echo("\nsamples")
    for sample in found.samples:
        echo(f"  {sample.label:g}  {_short(sample.question)}\n     {_short(sample.passage)}")


def _print_leaks(leaks: "Sequence[Leak]") -> None:
    for leak in leaks:
        plural = "" if leak.count == 1 else "s"
        echo(f"{leak.first} and {leak.second} share {leak.count:,} {leak.kind}{plural}:")
        for first, second in leak.samples:
            echo(f"  {_short(first)}")
            if first != second:
                echo(f"  ~ {_short(second)}")
