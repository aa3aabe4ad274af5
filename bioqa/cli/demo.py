"""``bioqa demo``: build an index and search it, with the demo collection."""

from pathlib import Path

import click

from bioqa.cli.commands import Command
from bioqa.cli.output import console, note, print_hits
from bioqa.errors import SetupError

QUESTION_IDS = ("demo-3-01", "demo-5-04", "demo-3-07")


def demo_folder() -> Path:
    """The demo collection: inside an installed package, or data/demo of a checkout.

    Raises:
        SetupError: it is in neither place.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "data" / "demo", package.parent / "data" / "demo"):
        if (folder / "questions.json").is_file():
            return folder
    raise SetupError("The demo collection is missing from this installation. Reinstall bioqa.")


@click.command(name="demo", cls=Command, example="bioqa demo")
@click.option(
    "--index",
    type=click.Path(path_type=Path),
    default=Path("indexes/demo"),
    show_default=True,
    help="Where to build the index.",
)
@click.option("--no-rerank", is_flag=True, help="Rank by BM25 only.")
def command(index: Path, no_rerank: bool) -> None:
    """Build the demo index and answer three questions.

    The demo collection is in PubMed's XML: a baseline file and an update file. An existing index is replaced.
    """
    from bioqa.corpus.questions import read_questions
    from bioqa.index.build import build_index
    from bioqa.index.reader import Index
    from bioqa.pipeline.options import PipelineOptions
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.retrieve.bm25 import BM25Retriever

    folder = demo_folder()
    report = build_index(index, [folder / "demo26n0001.xml", folder / "demo26n0002.xml"], overwrite=True)
    note(f"Built {index} from {folder}: {report.documents} articles, written for the demo, in {report.seconds:.1f} s.")
    reranker = None
    if not no_rerank:
        from bioqa.rerank.reranker import Reranker

        reranker = Reranker()
    questions = {question.id: question for question in read_questions(folder / "questions.json")}
    out = console()
    with Index(index) as opened:
        pipeline = Pipeline(BM25Retriever(opened), reranker, PipelineOptions(top=3))
        for id in QUESTION_IDS:
            out.rule()
            print_hits(out, questions[id], pipeline.answer(questions[id]).hits)
    out.rule()
    out.print(f'Ask your own: bioqa search {index} "your question"', style="bold")
