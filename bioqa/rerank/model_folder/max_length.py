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
"""Models that number positions from pad_token_id + 1, so that many of their position embeddings are never used."""

RELATIVE_POSITIONS = {"deberta", "deberta-v2"}
"""Models that can read past max_position_embeddings."""

UNLIMITED = 1e20
"""From here on transformers takes a tokenizer's model_max_length for "not known" and cuts nothing."""


def max_length(settings: ModelConfig, tokenizer_length: float, wanted: int | None, special: int) -> int | None:
    """Tokens of a pair, special ones included, after which it is cut; None where nothing limits the model.

    As in sentence-transformers: ``wanted`` if given, else what the folder sets, else the smaller of the tokenizer's
    length and the model's positions. ``special`` is how many special tokens a pair has. Raises UsageError where
    ``wanted`` is out of reach.
    """
    reach = position_count(settings.config)
    if wanted is not None:
        if wanted <= special + 1:
            raise UsageError(
                f"A maximum length of {wanted} tokens leaves no room for text; give {special + 2} or more."
            )
        if reach is not None and wanted > reach and settings.config.get("model_type") not in RELATIVE_POSITIONS:
            raise UsageError(
                f"A maximum length of {wanted} tokens is more than the {reach} that {settings.name} can read."
            )
        return wanted
    length = settings.max_length if settings.max_length is not None else tokenizer_length
    if reach is not None and not (settings.max_length and settings.config.get("model_type") in RELATIVE_POSITIONS):
        length = min(length, reach)
    if length <= special + 1:
        raise ModelError(
            f"The reranker {settings.name} says it reads {length:.0f} tokens, which leaves no room for text."
        )
    return None if length >= UNLIMITED else int(length)


def position_count(config: dict[str, Any]) -> int | None:
    """The longest input, in tokens, that the model has positions for; None where the config sets no limit."""
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int) or positions <= 0:
        return None
    if config.get("model_type") in OFFSET_POSITIONS:
        padding = config.get("pad_token_id")
        return positions - (padding if isinstance(padding, int) else 1) - 1
    return positions
