"""``bioqa tune`` and ``bioqa index tune``: settings chosen on questions with known relevant articles."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import Command, add_options, numbers
from bioqa.cli.output import echo, note, print_json, progress_bar
from bioqa.cli.rerank_options import RerankerOptions, reranker_options
from bioqa.cli.search_options import filter_options, report_filters, search_options, take_filters, take_search_options
from bioqa.errors import UsageError
from bioqa.pipeline.options import PipelineOptions
from bioqa.retrieve.options import SearchOptions
from bioqa.types import Question

if TYPE_CHECKING:
    from bioqa.evaluate.tune_bm25 import Tuning
    from bioqa.evaluate.tune_weight import WeightTuning
    from bioqa.io.trec import Qrels
    from bioqa.pipeline.pipeline import Pipeline

WEIGHTS = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,1,1.3,1.6,2"


@dataclass(frozen=True, slots=True)
class _Data:
    """The options that say what to tune on."""

    index: Path | None
    questions: Path | None
    qrels: Path | None
    suite: Path | None
    collection: str | None
    cache: Path | None

    def __post_init__(self) -> None:
        if self.suite is None:
            if self.index is None or self.questions is None:
                raise UsageError("Give an INDEX and --questions FILE, or --suite FILE.")
            if self.collection is not None or self.cache is not None:
                raise UsageError("--collection and --cache need --suite FILE.")
        elif self.index is not None or self.questions is not None or self.qrels is not None:
            raise UsageError("A collection of --suite has its own index, questions and judgements: give no others.")


def _questions_options(*, required: bool) -> Callable[[Any], Any]:
    return add_options(
        click.option(
            "--questions",
            metavar="FILE",
            required=required,
            type=click.Path(path_type=Path),
            help="Questions: BioASQ JSON, TSV or BEIR.",
        ),
        click.option(
            "--qrels",
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="Relevant articles, TREC or BEIR.  [default: BioASQ's gold documents]",
        ),
    )


_validation_options = add_options(
    click.option("--measure", default="ndcg@10", show_default=True, help="Measure to maximize."),
    click.option(
        "--folds",
        metavar="N",
        type=click.IntRange(min=2),
        default=5,
        show_default=True,
        help="Folds of cross-validation.",
    ),
    click.option("--seed", metavar="N", type=int, default=42, show_default=True, help="Seed of the random folds."),
    click.option("--json", "as_json", is_flag=True, help="Print JSON."),
)


@click.command(
    name="tune",
    cls=Command,
    example="bioqa tune indexes/demo --questions questions.json \\\n    --reranker models/mine --write\n"
    "bioqa tune --suite benchmarks/suites/scifact.toml --reranker models/mine",
)
@click.argument("index", type=click.Path(path_type=Path), required=False)
@_questions_options(required=False)
@click.option(
    "--suite",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Tune on a collection of this benchmark suite instead of INDEX and --questions.",
)
@click.option("--collection", metavar="NAME", help="Collection of --suite.  [default: its only one]")
@click.option(
    "--cache",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Keep the index of a collection here.  [default: results/SUITE/cache, as `bioqa bench run`]",
)
@click.option(
    "--weights", metavar="VALUES", callback=numbers, default=WEIGHTS, show_default=True, help="Weights to try."
)
@click.option(
    "--rerank-depth",
    metavar="N",
    type=click.IntRange(min=1),
    help="Candidates to rerank.  [default: 50 on CPU, 100 on GPU]",
)
@_validation_options
@click.option("--write", is_flag=True, help="Store the weight in the model folder's bioqa.json.")
@reranker_options
@search_options
def command(
    weights: tuple[float, ...],
    measure: str,
    rerank_depth: int | None,
    folds: int,
    seed: int,
    write: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Choose a reranker's first-stage weight on questions with known relevant articles.

    Articles are ranked by logit + weight × the BM25 score. The candidates of each question are scored once, and every weight ranks
    them. Cross-validation estimates the gain over weight 0 and over the weight in the model folder: for each fold of the
    questions, the weight is chosen on the other folds. Tune on questions that the reranker was not trained on.
    """
    from bioqa.evaluate.measures import COMPILING
    from bioqa.evaluate.ranking import notify_compilation
    from bioqa.evaluate.tune_weight import tune_weight

    search, options = take_search_options(given), RerankerOptions.take(given)
    data = _Data(**given)
    chosen = PipelineOptions(
        rerank_depth=rerank_depth, aggregation=options.aggregation, overlap=options.overlap, search=search
    )
    folder = _writable_folder(options.reranker) if write else None
    index, asked, judged, where = _judged_questions(data)
    with (
        _pipeline(index, options, chosen) as pipeline,
        notify_compilation(lambda: note(COMPILING)),
        progress_bar("questions", len(asked)) as bar,
    ):
        found = tune_weight(
            pipeline,
            asked,
            judged,
            weights=weights,
            measure=measure,
            folds=folds,
            seed=seed,
            advance=bar.update,
        )
    if as_json:
        print_json(asdict(found))
    else:
        _print(found)
    if folder is not None:
        _write(folder, found, where)


def _writable_folder(reranker: str) -> Path:
    """The model folder to write to.

    Raises:
        UsageError: it is the built-in model, or not a local folder.
    """
    from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER, resolve_model

    folder = resolve_model(reranker)[1]
    if folder.resolve() == DEFAULT_FOLDER.resolve():
        raise UsageError(
            "--write does not change the built-in reranker. Give --first-stage-weight to the search instead, or name a model "
            "folder of your own with --reranker."
        )
    if not Path(reranker).expanduser().is_dir():
        raise UsageError(
            f"--write needs a model folder; {reranker} is in the cache of the Hugging Face hub. Download it with `hf download "
            f"{reranker} --local-dir FOLDER` and name FOLDER."
        )
    return folder


def _judged_questions(data: _Data) -> "tuple[Path, Sequence[Question], Qrels, str]":
    """The index to search, the questions with a relevant article, their judgements, and what they are called."""
    if data.index is not None and data.questions is not None:
        from bioqa.corpus.qrels import read_qrels
        from bioqa.corpus.questions import read_questions

        judged = read_qrels(data.qrels or data.questions)
        relevant = {id for id, grades in judged.items() if any(grade > 0 for grade in grades.values())}
        asked = [one for one in read_questions(data.questions) if one.id in relevant]
        return data.index, asked, judged, data.questions.name
    from bioqa.bench.collection import read_collection
    from bioqa.bench.run_collection import BenchOptions, collection_index
    from bioqa.bench.suite import read_suite

    assert data.suite is not None
    specs = read_suite(data.suite).collections
    named = [one for one in specs if data.collection in (None, one.name)]
    if len(named) != 1:
        names = ", ".join(one.name for one in specs)
        raise UsageError(f"Name a collection of {data.suite} with --collection: {names}.")
    found = read_collection(named[0])
    options = BenchOptions(data.cache or Path("results") / data.suite.stem / "cache", note=note)
    return collection_index(found, options), found.questions, found.qrels, f"{found.name} of {data.suite.name}"


@contextmanager
def _pipeline(index: Path, options: RerankerOptions, chosen: PipelineOptions) -> "Iterator[Pipeline]":
    from bioqa.index.reader import Index
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.retrieve.bm25 import BM25Retriever

    with Index(index) as opened:
        yield Pipeline(BM25Retriever(opened), options.load(), chosen)


def _print(found: "WeightTuning") -> None:
    from bioqa.evaluate.significance import format_p_value

    echo(f"{found.measure}, mean over {found.questions:,} questions:")
    for point in found.grid:
        mark = "  (the model's)" if point.weight == found.current_weight else ""
        echo(f"  weight {point.weight:<6g} {point.mean:.4f}{mark}")
    echo("Chosen on the other folds and measured on the held-out fold, compared with weight 0 and the model's:")
    for number, fold in enumerate(found.folds, start=1):
        echo(
            f"  fold {number}: weight {fold.weight:<6g} {fold.held_out:.4f}, weight 0 {fold.zero:.4f}, the model's "
            f"{fold.current:.4f} ({fold.questions:,} questions)"
        )
    echo(
        f"Held out: {found.held_out:.4f}; weight 0: {found.zero:.4f}, {format_p_value(found.p_zero)}; the model's "
        f"{found.current_weight:g}: {found.current:.4f}, {format_p_value(found.p_current)} (paired t-tests)."
    )
    if found.held_out <= found.current:
        echo(f"On unseen questions the tuned weight does no better than the model's own, {found.current_weight:g}.")
    elif found.p_current > 0.05:
        echo("The gain over the model's weight is not statistically significant.")
    echo(
        f"Best on all questions: --first-stage-weight {found.best.weight:g} ({found.best.mean:.4f}, optimistic: tuned on the "
        "same questions)."
    )


def _write(folder: Path, found: "WeightTuning", where: str) -> None:
    from bioqa.rerank.model_folder.settings import SETTINGS_FILE, update_settings

    update_settings(
        folder,
        first_stage_weight=found.best.weight,
        first_stage_weight_chosen_by=f"highest {found.measure} of {found.questions:,} questions: {where}",
        first_stage_weights_tried={f"{point.weight:g}": round(point.mean, 4) for point in found.grid},
    )
    note(f"Stored first_stage_weight {found.best.weight:g} in {folder / SETTINGS_FILE}.")


@click.command(
    name="tune", cls=Command, example="bioqa index tune indexes/demo --questions questions.json --k1 0.6,0.9,1.2"
)
@click.argument("index", type=click.Path(path_type=Path))
@_questions_options(required=True)
@click.option(
    "--k1",
    metavar="VALUES",
    callback=numbers,
    default="0.4,0.6,0.9,1.2,1.5,2",
    show_default=True,
    help="Values of k1 to try.",
)
@click.option(
    "--b",
    metavar="VALUES",
    callback=numbers,
    default="0.1,0.2,0.3,0.4,0.5,0.6,0.75,0.9",
    show_default=True,
    help="Values of b to try.",
)
@click.option(
    "--top", metavar="N", type=click.IntRange(min=1), default=100, show_default=True, help="Results per question."
)
@_validation_options
@filter_options
def bm25_command(
    index: Path,
    questions: Path,
    qrels: Path | None,
    k1: tuple[float, ...],
    b: tuple[float, ...],
    measure: str,
    top: int,
    folds: int,
    seed: int,
    as_json: bool,
    **given: Any,
) -> None:
    """Tune BM25's k1 and b on questions with known relevant articles.

    All pairs of the values are tried. Cross-validation estimates the gain: for each fold of the questions, the values are chosen
    on the other folds.
    """
    from bioqa.corpus.qrels import read_qrels
    from bioqa.corpus.questions import read_questions
    from bioqa.evaluate.measures import COMPILING
    from bioqa.evaluate.ranking import notify_compilation
    from bioqa.evaluate.tune_bm25 import tune_bm25
    from bioqa.index.reader import Index
    from bioqa.retrieve.bm25 import BM25Retriever

    search = SearchOptions(filters=take_filters(given))
    asked, judged = read_questions(questions), read_qrels(qrels or questions)
    with (
        Index(index) as opened,
        notify_compilation(lambda: note(COMPILING)),
        progress_bar("settings", len(k1) * len(b)) as bar,
    ):
        retriever = BM25Retriever(opened)
        found = tune_bm25(
            retriever,
            asked,
            judged,
            k1s=k1,
            bs=b,
            measure=measure,
            top=top,
            folds=folds,
            seed=seed,
            filters=search.filters,
            advance=bar.update,
        )
        report_filters(retriever, search)
    if as_json:
        print_json(asdict(found))
    else:
        _print_bm25(found)


def _print_bm25(found: "Tuning") -> None:
    from bioqa.evaluate.significance import format_p_value

    bs = sorted({point.b for point in found.grid})
    scores = {(point.k1, point.b): point.mean for point in found.grid}
    echo(f"{found.measure}, mean over {found.questions:,} questions:")
    echo("  k1 \\ b " + "".join(f"{b:>9g}" for b in bs))
    for k1 in sorted({point.k1 for point in found.grid}):
        echo(f"  {k1:<7g}" + "".join(f"{scores[k1, b]:>9.4f}" for b in bs))
    echo("Chosen on the other folds and measured on the held-out fold, compared with the default:")
    for number, fold in enumerate(found.folds, start=1):
        values = f"k1 {fold.k1:g}, b {fold.b:g}"
        echo(
            f"  fold {number}: {values:<16} {fold.held_out:.4f}, default {fold.default:.4f} ({fold.questions:,} questions)"
        )
    echo(
        f"Held out: {found.held_out:.4f}; default (k1 {found.default_k1:g}, b {found.default_b:g}): {found.default:.4f}; "
        f"{format_p_value(found.p)} (paired t-test)."
    )
    if found.held_out <= found.default:
        echo("On unseen questions the tuned values are no better: keep the default.")
    elif found.p > 0.05:
        echo("The gain is not statistically significant.")
    echo(
        f"Best on all questions: --k1 {found.best.k1:g} --b {found.best.b:g} ({found.best.mean:.4f}, optimistic: tuned on the "
        "same questions)."
    )
