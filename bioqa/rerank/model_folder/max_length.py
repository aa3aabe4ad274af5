"""How many tokens of a pair a model reads."""

from typing import Any

from bioqa.errors import ModelError, UsageError
from bioqa.rerank.model_folder.config import ModelConfig

OFFSET_POSITIONS = {
    "camembert",
    "data2vec-text",
    "longformer",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
}
"""Models that number positions from pad_token_id + 1, so that their first position embeddings are never used."""

RELATIVE_POSITIONS = {"deberta", "deberta-v2"}
"""Models that can read past max_position_embeddings."""

UNLIMITED = 1e20
"""transformers takes a model_max_length from here on as "unknown" and does not truncate."""


def choose_max_length(
    config: ModelConfig, tokenizer_length: float, requested: int | None, special_tokens: int
) -> int | None:
    """The maximum length of a pair in tokens, special tokens included; None if nothing limits the model.

    As in sentence-transformers: ``requested`` if given, else what the folder sets, else the smaller of the tokenizer's
    length and the number of positions. ``special_tokens`` is the number of special tokens of a pair.

    Raises UsageError if ``requested`` is too short or too long, and ModelError if the folder's own length is too short.
    """
    limit = position_count(config.json)
    if requested is not None:
        if requested <= special_tokens + 1:
            raise UsageError(
                f"A maximum length of {requested} tokens leaves no room for text; use {special_tokens + 2} or more."
            )
        if limit is not None and requested > limit and config.json.get("model_type") not in RELATIVE_POSITIONS:
            raise UsageError(
                f"A maximum length of {requested} tokens is more than the {limit} that {config.name} can read."
            )
        return requested
    length = config.max_length if config.max_length is not None else tokenizer_length
    if limit is not None and not (config.max_length and config.json.get("model_type") in RELATIVE_POSITIONS):
        length = min(length, limit)
    if length <= special_tokens + 1:
        raise ModelError(
            f"The {config.kind} {config.name} has a maximum length of {length:.0f} tokens, which leaves no room for text."
        )
    return None if length >= UNLIMITED else int(length)


def position_count(config: dict[str, Any]) -> int | None:
    """The longest input, in tokens, that a model with this config.json has positions for; None if it sets no limit."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.get("model_type") in OFFSET_POSITIONS:
        padding = config.get("pad_token_id")
        return positions - (padding if isinstance(padding, int) else 1) - 1
    return positions
