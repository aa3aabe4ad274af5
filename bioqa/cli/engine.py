"""The options of the reranker and of the whole engine: the model, where it runs, how it reads long articles, how many of them."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.first_stage import StageOptions, open_first_stage
from bioqa.cli.options import add_options
from bioqa.cli.output import coverage_text, note
from bioqa.errors import UsageError
from bioqa.rerank.long import LONG

if TYPE_CHECKING:
    from bioqa.rerank import Reranker
    from bioqa.search import SearchEngine

reranker_options = add_options(
    click.option("--reranker", default="default", show_default=True, help="Hugging Face name or local folder of a cross-encoder."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1."),
    click.option("--engine", default="auto", show_default=True, help="exact (fp32), cpu-int8, gpu, or the fastest that can."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored at a time; on gpu, 1,024 tokens for each."),
    click.option("--max-length", type=int, help="Tokens read of question and article.  [default: the model's]"),
    click.option(
        "--long", type=click.Choice(list(LONG)), default="max", show_default=True,
        help="An article longer than that: its best window of sentences, its first, the mean of all; or cut.",
    ),
    click.option("--overlap", default=0, show_default=True, help="Sentences that neighbouring windows share."),
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
    long: str
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
        from bioqa.rerank import Reranker

        return Reranker(
            self.reranker,
            device=self.device,
            batch_size=self.batch_size,
            max_length=self.max_length,
            engine=self.engine,
        )


engine_options = add_options(
    click.option("--no-rerank", is_flag=True, help="BM25 alone."),
    click.option(
        "--rerank-depth",
        type=int,
        help="Candidates to rerank.  [default: 50 on CPU, 100 on GPU, at least the results asked for]",
    ),
    click.option(
        "--bm25-weight",
        type=float,
        help="Rank by logit + this times the BM25 score.  [default: what the model's folder says, else 0]",
    ),
    reranker_options,
)
"""Whether and how much to rerank, and the options of a reranker."""


@dataclass(frozen=True)
class EngineOptions:
    """The values of the options of the second stage."""

    no_rerank: bool
    rerank_depth: int | None
    bm25_weight: float | None
    model: RerankerOptions

    @classmethod
    def take(cls, given: dict[str, Any]) -> "EngineOptions":
        """Take the second stage's values out of all those that a command was given.

        Raises:
            UsageError: a number is out of range.
        """
        depth: int | None = given.pop("rerank_depth")
        check_positive("--rerank-depth", depth)
        return cls(given.pop("no_rerank"), depth, given.pop("bm25_weight"), RerankerOptions.take(given))


def check_positive(option: str, value: int | None) -> None:
    """Raise UsageError where an option's number is less than 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} must be 1 or more, not {value}.")


@contextmanager
def open_engine(
    index: Path | None,
    corpus: Path | None,
    stage: StageOptions,
    options: EngineOptions,
    *,
    sentences: int,
    explain: bool = False,
) -> "Iterator[SearchEngine]":
    """The engine over the index, or over the corpus file in memory; at the end it says what was reranked.

    Raises what ``open_first_stage`` and ``Reranker`` raise.
    """
    from bioqa.search import SearchEngine

    # Loading the reranker and starting Java take about as long; side by side they take little more than one.
    with ThreadPoolExecutor(1) as pool:
        loading = None if options.no_rerank else pool.submit(options.model.load)
        with open_first_stage(index, corpus, stage) as first:
            engine = SearchEngine(
                first,
                loading.result() if loading else None,
                depth=options.rerank_depth,
                sentences=sentences,
                explain=explain,
                long=options.model.long,
                overlap=options.model.overlap,
                bm25_weight=options.bm25_weight,
            )
            yield engine
    if engine.reranker is not None:
        read = coverage_text(engine.coverage, engine.reranker.max_length)
        ranked = f", ranked by logit + {engine.bm25_weight:g} × BM25" if engine.bm25_weight else ""
        note(f"Reranked {engine.coverage.scored:,} BM25 candidates with {engine.reranker.label}{ranked}; {read}.")
