"""The options of reranking: how much, and which reranker on which device."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bioqa.cli.commands import add_options, complete_file, complete_from
from bioqa.cli.output import SCALES, coverage_text, note
from bioqa.cli.search_options import BM25_ONLY, RetrieverOptions, open_retriever
from bioqa.pipeline.options import AGGREGATIONS, PipelineOptions

if TYPE_CHECKING:
    from bioqa.pipeline.answer import Coverage
    from bioqa.pipeline.pipeline import Pipeline
    from bioqa.rerank.reranker import Reranker

reranker_options = add_options(
    click.option(
        "--reranker",
        metavar="MODEL",
        shell_complete=complete_file,
        default="default",
        show_default=True,
        help="Cross-encoder: a Hugging Face name or a local folder.",
    ),
    click.option(
        "--device",
        shell_complete=complete_from("auto", "cpu", "cuda", "mps"),
        default="auto",
        show_default=True,
        help="cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1.",
    ),
    click.option(
        "--engine",
        shell_complete=complete_from("auto", "exact", "cpu-int8", "gpu"),
        default="auto",
        show_default=True,
        help="exact (fp32), cpu-int8 or gpu; auto: the fastest that supports the model.",
    ),
    click.option(
        "--batch-size",
        metavar="N",
        type=click.IntRange(min=1),
        default=32,
        show_default=True,
        help="Pairs per batch; with the gpu engine, 1,024 tokens for each pair.",
    ),
    click.option(
        "--max-length",
        metavar="N",
        type=int,
        help="Maximum number of tokens of question and article.  [default: the model's]",
    ),
    click.option(
        "--aggregation",
        type=click.Choice(list(AGGREGATIONS)),
        default="maxp",
        show_default=True,
        help="How to score longer articles: by the best window, the first, the mean of all, or truncated.",
    ),
    click.option(
        "--overlap",
        metavar="N",
        type=click.IntRange(min=0),
        default=0,
        show_default=True,
        help="Sentences shared by adjacent windows.",
    ),
)
"""The options of a reranker."""


@dataclass(frozen=True)
class RerankerOptions:
    """The values of the options of a reranker."""

    reranker: str
    device: str
    engine: str
    batch_size: int
    max_length: int | None
    aggregation: str
    overlap: int

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RerankerOptions":
        """Remove the options of the reranker from a command's options, and return them as one value."""
        return cls(**{one.name: given.pop(one.name) for one in fields(cls)})

    def load(self) -> "Reranker":
        """Load the reranker. Raises what ``Reranker`` raises."""
        from bioqa.rerank.reranker import Reranker

        return Reranker(
            self.reranker,
            device=self.device,
            batch_size=self.batch_size,
            max_length=self.max_length,
            engine=self.engine,
        )


rerank_options = add_options(
    click.option("--no-rerank", is_flag=True, help="Rank by BM25 only."),
    click.option(
        "--rerank-depth",
        metavar="N",
        type=click.IntRange(min=1),
        help="Candidates to rerank; the others follow in BM25's order.  [default: 50 on CPU, 100 on GPU, or --top if more]",
    ),
    click.option(
        "--first-stage-weight",
        metavar="WEIGHT",
        type=float,
        help="Rank by logit + WEIGHT × the BM25 score.  [default: the model's, else 0]",
    ),
    reranker_options,
)
"""Whether and how much to rerank, and the options of a reranker."""


@dataclass(frozen=True)
class RerankOptions:
    """The values of ``rerank_options``."""

    no_rerank: bool
    rerank_depth: int | None
    first_stage_weight: float | None
    model: RerankerOptions

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RerankOptions":
        """Remove the options of reranking from a command's options, and return them as one value."""
        model = RerankerOptions.take(given)
        return cls(given.pop("no_rerank"), given.pop("rerank_depth"), given.pop("first_stage_weight"), model)

    def pipeline_options(self, **rest: Any) -> PipelineOptions:
        """The options of a pipeline: these, and ``rest``.

        Raises:
            UsageError: a value is out of range.
        """
        return PipelineOptions(
            rerank_depth=self.rerank_depth,
            first_stage_weight=self.first_stage_weight,
            aggregation=self.model.aggregation,
            overlap=self.model.overlap,
            **rest,
        )


@contextmanager
def open_pipeline(
    index: Path | None,
    corpus: Path | None,
    rerank: RerankOptions,
    options: PipelineOptions,
    retriever: RetrieverOptions = BM25_ONLY,
) -> "Iterator[Pipeline]":
    """A pipeline over an index, or else over a corpus file in memory.

    Raises what ``open_retriever`` and ``Reranker`` raise.
    """
    from bioqa.pipeline.pipeline import Pipeline

    # Loading the reranker and starting Java take about as long; in parallel they take little longer than one of them.
    with ThreadPoolExecutor(1) as pool:
        loading = None if rerank.no_rerank else pool.submit(rerank.model.load)
        with open_retriever(index, corpus, options.search, retriever) as opened:
            yield Pipeline(opened, loading.result() if loading else None, options)


def report_coverage(pipeline: "Pipeline", coverage: "Coverage") -> None:
    """Report what was reranked, with which reranker, and how much of it was read."""
    if pipeline.reranker is None:
        return
    read = coverage_text(coverage, pipeline.reranker.max_length)
    weight = pipeline.resolve_options().first_stage_weight
    name = SCALES.get(pipeline.retriever.scale, pipeline.retriever.scale)
    ranked = f", ranked by logit + {weight:g} × {name}" if weight else ""
    note(f"Reranked {coverage.scored:,} {name} candidates with {pipeline.reranker.label}{ranked}; {read}.")
