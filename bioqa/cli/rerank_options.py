"""The options of the reranker: which model, where it runs, how it reads long articles, how many of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.options import add_options
from bioqa.cli.output import coverage_text, note
from bioqa.cli.search_options import open_retriever
from bioqa.errors import UsageError
from bioqa.pipeline.options import AGGREGATIONS, PipelineOptions
from bioqa.retrieve.options import SearchOptions

if TYPE_CHECKING:
    from bioqa.pipeline.answer import Coverage
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.rerank.reranker import Reranker

reranker_options = add_options(
    click.option("--reranker", default="default", show_default=True, help="Hugging Face name or local folder of a cross-encoder."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1."),
    click.option("--engine", default="auto", show_default=True, help="exact (fp32), cpu-int8, gpu, or the fastest that can."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored at a time; on gpu, 1,024 tokens for each."),
    click.option("--max-length", type=int, help="Tokens read of question and article.  [default: the model's]"),
    click.option(
        "--aggregation", type=click.Choice(list(AGGREGATIONS)), default="maxp", show_default=True,
        help="Score of an article longer than that: its best window, its first, the mean of all; or truncate it.",
    ),
    click.option("--overlap", default=0, show_default=True, help="Sentences shared by adjacent windows."),
)  # fmt: skip
"""The options of a reranker."""


@dataclass(frozen=True)
class RerankerOptions:
    """The values of a reranker's options."""

    reranker: str
    device: str
    engine: str
    batch_size: int
    max_length: int | None
    aggregation: str
    overlap: int

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RerankerOptions":
        """Take the reranker's values out of all those that a command was given.

        Raises:
            UsageError: one of them is out of range.
        """
        options = cls(**{one.name: given.pop(one.name) for one in fields(cls)})
        for name, value, least in (("batch-size", options.batch_size, 1), ("overlap", options.overlap, 0)):
            if value < least:
                raise UsageError(f"--{name} must be {least} or more, not {value}.")
        return options

    def load(self) -> "Reranker":
        """The reranker, loaded."""
        from bioqa.rerank.reranker import Reranker

        return Reranker(
            self.reranker,
            device=self.device,
            batch_size=self.batch_size,
            max_length=self.max_length,
            engine=self.engine,
        )


rerank_options = add_options(
    click.option("--no-rerank", is_flag=True, help="BM25 alone."),
    click.option(
        "--rerank-depth",
        type=int,
        help="Candidates to rerank.  [default: 50 on CPU, 100 on GPU, at least the results asked for]",
    ),
    click.option(
        "--first-stage-weight",
        type=float,
        help="Rank by logit + this times the BM25 score.  [default: what the model's folder says, else 0]",
    ),
    reranker_options,
)
"""Whether and how much to rerank, and the options of a reranker."""


@dataclass(frozen=True)
class RerankOptions:
    """The values of the options of the second stage."""

    no_rerank: bool
    rerank_depth: int | None
    first_stage_weight: float | None
    model: RerankerOptions

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RerankOptions":
        """Take the second stage's values out of all those that a command was given.

        Raises:
            UsageError: a number is out of range.
        """
        depth: int | None = given.pop("rerank_depth")
        check_positive("--rerank-depth", depth)
        return cls(given.pop("no_rerank"), depth, given.pop("first_stage_weight"), RerankerOptions.take(given))


def check_positive(option: str, value: int | None) -> None:
    """Raise UsageError where an option's number is less than 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} must be 1 or more, not {value}.")


@contextmanager
def open_pipeline(
    index: Path | None,
    corpus: Path | None,
    search: SearchOptions,
    options: RerankOptions,
    *,
    top: int,
    sentences: int = 0,
    explain: bool = False,
) -> "Iterator[Pipeline]":
    """The pipeline over the index, or over the corpus file in memory.

    Raises what ``open_retriever`` and ``Reranker`` raise.
    """
    from bioqa.pipeline.pipeline import Pipeline

    chosen = PipelineOptions(
        top=top,
        rerank_depth=options.rerank_depth,
        first_stage_weight=options.first_stage_weight,
        aggregation=options.model.aggregation,
        overlap=options.model.overlap,
        sentences=sentences,
        explain=explain,
        search=search,
    )
    # Loading the reranker and starting Java take about as long; side by side they take little more than one.
    with ThreadPoolExecutor(1) as pool:
        loading = None if options.no_rerank else pool.submit(options.model.load)
        with open_retriever(index, corpus, search) as retriever:
            yield Pipeline(retriever, loading.result() if loading else None, chosen)


def report_coverage(pipeline: "Pipeline", coverage: "Coverage") -> None:
    """Say what was reranked, by what, and how much of it was read."""
    if pipeline.reranker is None:
        return
    read = coverage_text(coverage, pipeline.reranker.max_length)
    weight = pipeline.first_stage_weight
    ranked = f", ranked by logit + {weight:g} × BM25" if weight else ""
    note(f"Reranked {coverage.scored:,} BM25 candidates with {pipeline.reranker.label}{ranked}; {read}.")
