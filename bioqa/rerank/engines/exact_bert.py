"""BERT with a one-label head, in plain torch.

The same arithmetic as transformers' ``BertForSequenceClassification``, without importing transformers (3.5 of the 5.5 seconds
that loading a small model takes). The last layer is computed at the first position only, since the head reads nothing else.
Models whose config or weights depart from plain BERT are left to transformers.
"""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.model_folder.architectures import BERT, nonstandard_setting, weight_shapes
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.weights import Weights

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = "bert.embeddings.position_ids"
"""A constant that older versions of transformers saved among the weights."""


def load_bert(config: ModelConfig, weights: Weights, device: str, *, use_segment_ids: bool) -> "Bert | None":
    """The folder's model in fp32 on ``device``, or None if it is not plain BERT in a single model.safetensors.

    ``weights`` are those of the folder. ``use_segment_ids``: whether the tokenizer provides segment ids.
    """
    if len(weights.files) > 1 or not _is_plain_bert(config) or not _has_weights_of_bert(config, weights):
        return None
    from safetensors.torch import load_file

    layers, heads = config.json["num_hidden_layers"], config.json["num_attention_heads"]
    floats = {name: weight.float().to(device) for name, weight in load_file(weights.files[0]).items()}
    floats.pop(IGNORED, None)
    return Bert(floats, layers, heads, config.json["layer_norm_eps"], use_segment_ids=use_segment_ids)


def _is_plain_bert(config: ModelConfig) -> bool:
    return (
        config.json.get("architectures") == ["BertForSequenceClassification"]
        and config.json.get("model_type") == "bert"
        and nonstandard_setting(config.json) is None
    )


def _has_weights_of_bert(config: ModelConfig, weights: Weights) -> bool:
    """Whether the weights are those of this config, none missing and none besides."""
    count = 0
    for name, shape in weight_shapes(config.json, BERT):
        if weights.shapes.get(name) != shape:
            return False
        count += 1
    return count == len(weights.shapes.keys() - {IGNORED})


class Bert:
    """The network; it keeps no state between calls, so any number of threads may call it."""

    def __init__(
        self, weights: "dict[str, Tensor]", layers: int, heads: int, epsilon: float, *, use_segment_ids: bool
    ) -> None:
        self._weights = weights
        self._layers = layers
        self._heads = heads
        self._epsilon = epsilon
        self._use_segment_ids = use_segment_ids

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """The logits of a batch of n pairs: float32 of shape (n,)."""
        import torch

        device = self._weights["classifier.weight"].device
        with torch.inference_mode():
            ids = torch.from_numpy(batch.ids).to(device)
            segment_ids = (
                torch.from_numpy(batch.segment_ids).to(device) if self._use_segment_ids else torch.zeros_like(ids)
            )
            x = self._embed(ids, segment_ids)
            mask = None if batch.mask.all() else torch.from_numpy(batch.mask).to(device).bool()[:, None, None, :]
            for layer in range(self._layers):
                last = layer == self._layers - 1
                x = self._layer(f"bert.encoder.layer.{layer}.", x, x[:, :1] if last else x, mask)
            pooled = torch.tanh(self._linear("bert.pooler.dense", x[:, 0]))
            logits: NDArray[np.float32] = self._linear("classifier", pooled)[:, 0].cpu().numpy()
        return logits

    def _embed(self, ids: "Tensor", segment_ids: "Tensor") -> "Tensor":
        """Word, segment and position embeddings of (n, length) ids, summed and normalized: float32 (n, length, width)."""
        from torch.nn.functional import embedding

        table = {k: self._weights[f"bert.embeddings.{k}_embeddings.weight"] for k in ("word", "token_type", "position")}
        x = embedding(ids, table["word"]) + embedding(segment_ids, table["token_type"])
        x = x + table["position"][: ids.shape[1]]
        return self._norm("bert.embeddings.LayerNorm", x)

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
