"""BERT with a one-label head or with pooling, in plain torch.

The same arithmetic as transformers' ``BertForSequenceClassification`` and ``BertModel``, without importing transformers (3.5 of the
5.5 seconds that loading a small model takes). The last layer is computed at the first position only where nothing else is read.
Models whose config or weights depart from plain BERT are left to transformers.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.model_folder.architectures import (
    Architecture,
    architecture_of,
    nonstandard_setting,
    weight_shapes,
)
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.weights import Weights
from bioqa.rerank.pooling import pool_tensors

if TYPE_CHECKING:
    from torch import Tensor

POSITION_IDS = "embeddings.position_ids"
"""A constant that older versions of transformers saved among the weights."""
POOLER = ("pooler.dense.weight", "pooler.dense.bias")
"""Weights of ``BertModel`` that pooling does not use."""


def load_bert(config: ModelConfig, weights: Weights, device: str, *, use_segment_ids: bool) -> "Bert | None":
    """The folder's model in fp32 on ``device``, or None if it is not plain BERT in a single model.safetensors.

    ``weights`` are those of the folder. ``use_segment_ids``: whether the tokenizer provides segment ids.
    """
    if len(weights.files) > 1 or not _is_plain_bert(config) or not _has_weights_of_bert(config, weights):
        return None
    import torch

    architecture = architecture_of(config)
    names = [name for name, _ in weight_shapes(config.json, architecture)]
    floats = {name: torch.tensor(weights.array(name)).to(device) for name in names}
    return Bert(floats, config, architecture, use_segment_ids=use_segment_ids)


def _is_plain_bert(config: ModelConfig) -> bool:
    return (
        config.json.get("architectures") == ["BertModel" if config.pooling else "BertForSequenceClassification"]
        and config.json.get("model_type") == "bert"
        and nonstandard_setting(config.json) is None
    )


def _has_weights_of_bert(config: ModelConfig, weights: Weights) -> bool:
    """Whether the weights are those of this config, none missing and none besides."""
    architecture = architecture_of(config)
    ignored = {architecture.prefix + POSITION_IDS, *(POOLER if config.pooling else ())}
    count = 0
    for name, shape in weight_shapes(config.json, architecture):
        if weights.shapes.get(name) != shape:
            return False
        count += 1
    return count == len(weights.shapes.keys() - ignored)


class Bert:
    """The network; it keeps no state between calls, so any number of threads may call it."""

    def __init__(
        self, weights: "dict[str, Tensor]", config: ModelConfig, architecture: Architecture, *, use_segment_ids: bool
    ) -> None:
        self._weights = weights
        self._architecture = architecture
        self._pooling = config.pooling
        self._layers: int = config.json["num_hidden_layers"]
        self._heads: int = config.json["num_attention_heads"]
        self._epsilon: float = config.json["layer_norm_eps"]
        self._use_segment_ids = use_segment_ids

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """The logits of a batch of n pairs, float32 of shape (n,), or the pooled vectors of n texts, (n, dimension)."""
        import torch

        prefix = self._architecture.prefix
        device = self._weights[f"{prefix}embeddings.word_embeddings.weight"].device
        with torch.inference_mode():
            ids = torch.from_numpy(batch.ids).to(device)
            segment_ids = (
                torch.from_numpy(batch.segment_ids).to(device) if self._use_segment_ids else torch.zeros_like(ids)
            )
            x = self._embed(ids, segment_ids)
            mask = None if batch.mask.all() else torch.from_numpy(batch.mask).to(device).bool()[:, None, None, :]
            for layer in range(self._layers):
                first_only = layer == self._layers - 1 and not self._architecture.all_positions
                x = self._layer(f"{prefix}encoder.layer.{layer}.", x, x[:, :1] if first_only else x, mask)
            output: NDArray[np.float32] = self._output(x, batch).cpu().numpy()
        return output

    def _output(self, x: "Tensor", batch: Batch) -> "Tensor":
        """Logits or pooled vectors, from the last layer's output (n, length or 1, width)."""
        import torch

        if self._architecture.head is not None:
            dense, out = self._architecture.head
            return self._linear(out, torch.tanh(self._linear(dense, x[:, 0])))[:, 0]
        if not self._architecture.all_positions:
            return x[:, 0]
        mask = torch.from_numpy(batch.mask).to(x.device)
        starts = torch.nn.functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))
        return pool_tensors(x[mask.bool()], starts, self._pooling)

    def _embed(self, ids: "Tensor", segment_ids: "Tensor") -> "Tensor":
        """Word, segment and position embeddings of (n, length) ids, summed and normalized: float32 (n, length, width)."""
        from torch.nn.functional import embedding

        at = f"{self._architecture.prefix}embeddings."
        table = {k: self._weights[f"{at}{k}_embeddings.weight"] for k in ("word", "token_type", "position")}
        x = embedding(ids, table["word"]) + embedding(segment_ids, table["token_type"])
        x = x + table["position"][: ids.shape[1]]
        return self._norm(f"{at}LayerNorm", x)

    def _layer(self, at: str, x: "Tensor", queries: "Tensor", mask: "Tensor | None") -> "Tensor":
        """One encoder layer: the positions ``queries`` (n, any, width) attend to all of ``x`` (n, length, width)."""
        from torch.nn.functional import gelu, scaled_dot_product_attention

        query, key, value = (
            self._linear(f"{at}attention.self.{part}", source)
            .view(len(x), -1, self._heads, x.shape[2] // self._heads)
            .transpose(1, 2)
            for part, source in (("query", queries), ("key", x), ("value", x))
        )
        context = scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        attended = self._norm(
            f"{at}attention.output.LayerNorm", self._linear(f"{at}attention.output.dense", context) + queries
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
