"""The options of the reranker, and the search engine that a command's options ask for."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bioqa.cli.first_stage import StageOptions, open_first_stage
from bioqa.cli.output import note
from bioqa.errors import UsageError

if TYPE_CHECKING:
    from bioqa.rerank import Reranker
    from bioqa.search import SearchEngine

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OPTIONS = (
    click.option(
        "--reranker", default="default", show_default=True, help="Hugging Face name or local folder of a cross-encoder."
    ),
    click.option("--no-rerank", is_flag=True, help="BM25 alone."),
    click.option(
        "--rerank-depth",
        type=int,
        help="Candidates to rerank.  [default: 50 on CPU, 100 on GPU, at least the results asked for]",
    ),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N or mps."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored at a time."),
)


def reranker_options(command: _Command) -> _Command:
    """Give a command the options of the reranker."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class RerankerOptions:
    """The values of the reranker's options."""

    reranker: str
    no_rerank: bool
    rerank_depth: int | None
    device: str
    batch_size: int

    @classmethod
    def take(cls, given: dict[str, Any]) -> "RerankerOptions":
        """Take the reranker's values out of all those that a command was given.

        Raises:
            UsageError: a number is less than 1.
        """
        options = cls(**{one.name: given.pop(one.name) for one in fields(cls)})
        check_positive("--rerank-depth", options.rerank_depth)
        check_positive("--batch-size", options.batch_size)
        return options

    def load(self) -> "Reranker | None":
        """The reranker; None for BM25 alone."""
        if self.no_rerank:
            return None
        from bioqa.rerank import Reranker

        return Reranker(self.reranker, device=self.device, batch_size=self.batch_size)


def check_positive(option: str, value: int | None) -> None:
    """Raise UsageError where an option's number is less than 1."""
    if value is not None and value < 1:
        raise UsageError(f"{option} must be 1 or more, not {value}.")


@contextmanager
def open_engine(
    index: Path | None,
    corpus: Path | None,
    stage: StageOptions,
    reranking: RerankerOptions,
    *,
    sentences: int,
    explain: bool = False,
) -> "Iterator[SearchEngine]":
    """The engine over the index, or over the corpus file in memory; at the end it says what was reranked.

    Raises what ``open_first_stage`` and ``Reranker`` raise.
    """
    from bioqa.search import SearchEngine

    # Loading torch and starting Java take a second each; side by side they take little more than one.
    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(reranking.load)
        with open_first_stage(index, corpus, stage) as first:
            depth = reranking.rerank_depth
            engine = SearchEngine(first, loading.result(), depth=depth, sentences=sentences, explain=explain)
            yield engine
    if engine.reranker is not None:
        reranker = engine.reranker
        cut = f"; {engine.cut:,} have sentences longer than its {reranker.max_length} tokens, cut" if engine.cut else ""
        note(f"Reranked {engine.scored:,} BM25 candidates with {reranker.name} on {reranker.device}{cut}.")
