"""BERT with a one-label head, in plain torch.

The same arithmetic as transformers' ``BertForSequenceClassification``, without its import (3.5 of the 5.5 seconds that
loading a small model takes). Of the last layer only the first position is computed, since the head reads nothing else.
Whatever differs from plain BERT in config or weights is left to transformers.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.model_folder.config import ModelConfig

if TYPE_CHECKING:
    from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

NEEDED = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
"""What config.json must say."""

USUAL = {
    "hidden_act": "gelu",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "add_cross_attention": False,
    "quantization_config": None,
    "embedding_size": None,
}
"""What config.json may leave out, but not say otherwise."""

SIZES = {
    *("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "layer_norm_eps"),
    *("vocab_size", "max_position_embeddings", "type_vocab_size"),
}
"""What config.json must give a number for."""

IGNORED = "bert.embeddings.position_ids"
"""A constant that older versions of transformers saved among the weights."""


def load_bert(settings: ModelConfig, device: str, *, segments: bool) -> "Bert | None":
    """The folder's model in fp32 on ``device``, or None where it is not plain BERT in one model.safetensors.

    ``segments``: the tokenizer gives segment ids. Raises what safetensors raises for a damaged file.
    """
    config = settings.config
    path = settings.folder / "model.safetensors"
    if not path.is_file() or not _is_plain(config):
        return None
    from safetensors.torch import load_file

    weights = load_file(path)
    weights.pop(IGNORED, None)
    if {name: tuple(weight.shape) for name, weight in weights.items()} != weight_shapes(config):
        return None
    heads, epsilon = config["num_attention_heads"], config["layer_norm_eps"]
    floats = {name: weight.float().to(device) for name, weight in weights.items()}
    return Bert(floats, config["num_hidden_layers"], heads, epsilon, segments=segments)


def _is_plain(config: dict[str, Any]) -> bool:
    return all(config.get(key) == value for key, value in NEEDED.items()) and not unusual(config)


def unusual(config: dict[str, Any]) -> str:
    """What of a config is not plain BERT's arithmetic, "" where all is."""
    for key, value in USUAL.items():
        if config.get(key, value) != value:
            return f"{key} is {config[key]!r}"
    if missing := sorted(SIZES - config.keys()):
        return f"{missing[0]} is missing"
    return "" if config["hidden_size"] % config["num_attention_heads"] == 0 else "its heads do not divide its width"


def weight_shapes(
    config: dict[str, Any], prefix: str = "bert.", head: tuple[str, str] = ("bert.pooler.dense", "classifier")
) -> Shapes:
    """Name → shape of every weight; ``head`` are the names of the head's two layers."""
    width, inner = config["hidden_size"], config["intermediate_size"]
    rows = {
        "word": config["vocab_size"],
        "position": config["max_position_embeddings"],
        "token_type": config["type_vocab_size"],
    }
    shapes: Shapes = {f"{prefix}embeddings.{kind}_embeddings.weight": (count, width) for kind, count in rows.items()}
    shapes |= _norm(f"{prefix}embeddings.LayerNorm", width)
    for layer in range(config["num_hidden_layers"]):
        at = f"{prefix}encoder.layer.{layer}."
        for part in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
            shapes |= _linear(at + part, width, width)
        shapes |= _linear(at + "intermediate.dense", inner, width) | _linear(at + "output.dense", width, inner)
        shapes |= _norm(at + "attention.output.LayerNorm", width) | _norm(at + "output.LayerNorm", width)
    return shapes | _linear(head[0], width, width) | _linear(head[1], 1, width)


def _linear(name: str, out: int, into: int) -> Shapes:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


class Bert:
    """The model; it keeps no state between calls, so any number of threads may call it."""

    def __init__(
        self, weights: "dict[str, Tensor]", layers: int, heads: int, epsilon: float, *, segments: bool
    ) -> None:
        self._weights = weights
        self._layers = layers
        self._heads = heads
        self._epsilon = epsilon
        self._segments = segments

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch of n pairs: float32 of shape (n,)."""
        import torch

        device = self._weights["classifier.weight"].device
        with torch.inference_mode():
            ids = torch.from_numpy(batch.ids).to(device)
            types = torch.from_numpy(batch.types).to(device) if self._segments else torch.zeros_like(ids)
            x = self._embed(ids, types)
            mask = None if batch.mask.all() else torch.from_numpy(batch.mask).to(device).bool()[:, None, None, :]
            for layer in range(self._layers):
                last = layer == self._layers - 1
                x = self._layer(f"bert.encoder.layer.{layer}.", x, x[:, :1] if last else x, mask)
            pooled = torch.tanh(self._linear("bert.pooler.dense", x[:, 0]))
            logits: NDArray[np.float32] = self._linear("classifier", pooled)[:, 0].cpu().numpy()
        return logits

    def _embed(self, ids: "Tensor", types: "Tensor") -> "Tensor":
        """Word, segment and position embeddings of (n, length) ids, summed and normalized: (n, length, width)."""
        from torch.nn.functional import embedding

        table = {k: self._weights[f"bert.embeddings.{k}_embeddings.weight"] for k in ("word", "token_type", "position")}
        x = embedding(ids, table["word"]) + embedding(types, table["token_type"]) + table["position"][: ids.shape[1]]
        return self._norm("bert.embeddings.LayerNorm", x)

    def _layer(self, at: str, x: "Tensor", asking: "Tensor", mask: "Tensor | None") -> "Tensor":
        """One encoder layer: the positions ``asking`` (n, some, width) attend to all of ``x`` (n, length, width)."""
        from torch.nn.functional import gelu, scaled_dot_product_attention

        query, key, value = (
            self._linear(f"{at}attention.self.{part}", source)
            .view(len(x), -1, self._heads, x.shape[2] // self._heads)
            .transpose(1, 2)
            for part, source in (("query", asking), ("key", x), ("value", x))
        )
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        attended = self._norm(
            f"{at}attention.output.LayerNorm", self._linear(f"{at}attention.output.dense", found) + asking
        )
        inner = gelu(self._linear(f"{at}intermediate.dense", attended))
        return self._norm(f"{at}output.LayerNorm", self._linear(f"{at}output.dense", inner) + attended)

    def _linear(self, name: str, x: "Tensor") -> "Tensor":
        from torch.nn.functional import linear

        return linear(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str, x: "Tensor") -> "Tensor":
        from torch.nn.functional import layer_norm

        weight = self._weights[f"{name}.weight"]
        return layer_norm(x, weight.shape, weight, self._weights[f"{name}.bias"], self._epsilon)
