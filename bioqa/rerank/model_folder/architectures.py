"""The architectures that bioqa computes itself, without transformers: BERT, RoBERTa and XLM-RoBERTa, classifiers and encoders."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bioqa.rerank.model_folder.config import ModelConfig

Shapes = Iterator[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What distinguishes these architectures: the prefix of the encoder's weights, the names of a classifier's two layers (None:
    the output is the last layer's), the position id of the first token, and whether the last layer's output is needed at every
    position or only at the first.
    """

    prefix: str
    head: tuple[str, str] | None
    first_position: int
    all_positions: bool = False


BERT = Architecture("bert.", ("bert.pooler.dense", "classifier"), 0)
ROBERTA = Architecture("roberta.", ("classifier.dense", "classifier.out_proj"), 2)
ARCHITECTURES = {
    "BertForSequenceClassification": BERT,
    "RobertaForSequenceClassification": ROBERTA,
    "XLMRobertaForSequenceClassification": ROBERTA,
}
"""Name in config.json → architecture of a classifier."""
ENCODERS = {
    "BertModel": Architecture("", None, 0),
    "RobertaModel": Architecture("", None, 2),
    "XLMRobertaModel": Architecture("", None, 2),
}
"""Name in config.json → architecture of an encoder."""

MODEL_TYPES = ("bert", "roberta", "xlm-roberta")

STANDARD = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
    "embedding_size": None,
}
"""What config.json may omit, but must not contradict."""

SIZES = {
    *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "layer_norm_eps"),
    *("vocab_size", "max_position_embeddings", "type_vocab_size"),
}
"""What config.json must contain a number for."""


def architecture_of(config: ModelConfig) -> Architecture:
    """The architecture of a model for which ``unsupported_architecture`` finds no reason against it."""
    name = config.json["architectures"][0]
    if not config.pooling:
        return ARCHITECTURES[name]
    return replace(ENCODERS[name], all_positions=config.pooling != ("cls",))


def unsupported_architecture(config: ModelConfig) -> str | None:
    """Why bioqa cannot compute a model itself, as the end of a sentence; None if it can."""
    names = config.json.get("architectures") or ["a model without a named architecture"]
    known, what = (ENCODERS, "encoder") if config.pooling else (ARCHITECTURES, "classifier")
    if config.head:
        return f"its head is {' + '.join(module.kind for module in config.head)}"
    if names[0] not in known:
        return f"it is {names[0]}, not a BERT or XLM-RoBERTa {what}"
    if config.json.get("model_type") not in MODEL_TYPES:
        return f"its model_type is {config.json.get('model_type')!r}"
    if reason := nonstandard_setting(config.json):
        return f"{reason} in its config"
    if known[names[0]].first_position and config.json.get("pad_token_id", 1) != 1:
        return "its padding token is not 1, from which its positions are counted"
    return None


def nonstandard_setting(config: dict[str, Any]) -> str | None:
    """What in config.json departs from BERT's arithmetic, None if nothing does."""
    for key, value in STANDARD.items():
        if config.get(key, value) != value:
            return f"{key} is {config[key]!r}"
    if missing := sorted(SIZES - config.keys()):
        return f"{missing[0]} is missing"
    if config["hidden_size"] % config["num_attention_heads"]:
        return "hidden_size is not a multiple of num_attention_heads"
    return None


def weight_shapes(config: dict[str, Any], architecture: Architecture) -> Shapes:
    """(name, shape) of every weight of a model with this config.json, which may ask for any number of layers."""
    prefix, head = architecture.prefix, architecture.head
    width, inner = config["hidden_size"], config["intermediate_size"]
    rows = {
        "word": config["vocab_size"],
        "position": config["max_position_embeddings"],
        "token_type": config["type_vocab_size"],
    }
    for kind, count in rows.items():
        yield f"{prefix}embeddings.{kind}_embeddings.weight", (count, width)
    yield from _norm(f"{prefix}embeddings.LayerNorm", width)
    for layer in range(config["num_hidden_layers"]):
        at = f"{prefix}encoder.layer.{layer}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            yield from _linear(at + part, width, width)
        yield from _linear(at + "intermediate.dense", inner, width)
        yield from _linear(at + "output.dense", width, inner)
        for norm in ("attention.output.LayerNorm", "output.LayerNorm"):
            yield from _norm(at + norm, width)
    if head is not None:
        yield from _linear(head[0], width, width)
        yield from _linear(head[1], 1, width)


def _linear(name: str, outputs: int, inputs: int) -> Shapes:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> Shapes:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
