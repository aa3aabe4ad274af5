"""The options of commands that rerank: the model, where it runs, and how it reads long articles."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bioqa.errors import UsageError
from bioqa.rerank.long import LONG

if TYPE_CHECKING:
    from bioqa.rerank import Reranker

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--reranker", default="default", show_default=True, help="Hugging Face name or local folder of a cross-encoder."),
    click.option("--device", default="auto", show_default=True, help="cpu, cuda, cuda:N, mps, or several GPUs: cuda:0,cuda:1."),
    click.option("--engine", default="auto", show_default=True, help="exact (fp32), cpu-int8, or the fastest that runs the model."),
    click.option("--batch-size", default=32, show_default=True, help="Pairs scored at a time."),
    click.option("--max-length", type=int, help="Tokens read of question and article.  [default: the model's]"),
    click.option(
        "--long", type=click.Choice(list(LONG)), default="max", show_default=True,
        help="An article longer than that: its best window of sentences, its first, the mean of all; or cut.",
    ),
    click.option("--overlap", default=0, show_default=True, help="Sentences that neighbouring windows share."),
)  # fmt: skip


def reranker_options(command: _Command) -> _Command:
    """Give a command the options of a reranker."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


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
