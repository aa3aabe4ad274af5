"""Tokenization ahead of the training step, in data loader workers."""

from dataclasses import dataclass
from typing import Any

from sentence_transformers.cross_encoder.data_collator import CrossEncoderDataCollator

TOKENS = "tokens"
"""The key of a batch under which ``TokenizingCollator`` puts its tokens."""


class PretokenizedInputs:
    """Replaces ``CrossEncoder.preprocess``: returns the tokens set for the next batch, or tokenizes if none are set.

    The library's losses tokenize within the training step; with this, a data loader worker does it beforehand.
    """

    def __init__(self, preprocess: Any) -> None:
        self.preprocess = preprocess
        self.tokens: Any = None

    def __call__(self, inputs: Any, prompt: str | None = None, **options: Any) -> Any:
        """The tokens of ``inputs``."""
        tokens, self.tokens = self.tokens, None
        return self.preprocess(inputs, prompt=prompt, **options) if tokens is None else tokens


@dataclass
class TokenizingCollator(CrossEncoderDataCollator):
    """The library's batch of pairs, with their tokens under ``TOKENS``."""

    def __call__(self, features: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of these dataset rows."""
        batch: dict[str, Any] = super().__call__(features)
        batch[TOKENS] = dict(self.preprocess_fn([(row["question"], row["passage"]) for row in features]))
        return batch
