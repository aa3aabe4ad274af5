"""gpu: cross-encoders and encoders of the BERT and XLM-RoBERTa families in 16-bit floats on CUDA GPUs, without padding.

The tokens of a batch are packed one pair after another, as (tokens, width); only attention separates the pairs (FlashAttention
through ``torch.nn.attention.varlen``). Products accumulate in fp32; their operands and what passes between layers are bf16, or fp16
on GPUs before compute capability 8, which have no bf16. Embeddings, the head and pooling are fp32. The last layer is computed at
the first position only where nothing else is read.

Scores are documented to 0.05 logits: in bf16, those of the default reranker on abstracts and snippets were within 0.022 of the
exact ones (0.004 on average; in fp16 0.006 and 0.0005). A pair's score varied by up to 0.006 with the pairs beside it, as products
of other sizes sum in another order.

Batches are meant to take longer to compute than to launch, and many are launched before the first is waited for. So neither CUDA
graphs, which need shapes that repeat, nor ``torch.compile``, which takes half a minute of every start for the few operations
between the products that it could fuse, are used. None of this has been measured on a GPU yet (``benchmarks/rerank_gpu.py`` does).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.network import PendingLogits
from bioqa.rerank.model_folder.architectures import architecture_of, weight_shapes
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.weights import Weights
from bioqa.rerank.pooling import pool_tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor

DEVICES = ("cuda",)
"""Kinds of devices that the engine is offered on. The code also runs on "cpu", as tests do, but slowly."""

TOKENS_PER_PAIR = 1024
"""Tokens in a batch for each pair of the batch size: 32 give 32,768, some ten milliseconds of BERT-base on a data centre GPU."""


class Spans(NamedTuple):
    """Where n pairs begin in a packed tensor of T rows: ``starts`` int32 (n + 1,), from 0 to T; ``longest`` is a number of rows."""

    starts: "Tensor"
    longest: int


class Packed(NamedTuple):
    """The tokens of n pairs, one after another: ``ids``, ``segment_ids`` and ``positions`` int32 (T,)."""

    ids: "Tensor"
    segment_ids: "Tensor"
    positions: "Tensor"
    spans: Spans


class Linear(NamedTuple):
    """A linear layer, or the scale and shift of a normalization."""

    weight: "Tensor"
    bias: "Tensor"


class Layer(NamedTuple):
    """An encoder layer's weights; ``attention`` produces query, key and value side by side."""

    attention: Linear
    attended: Linear
    attended_norm: Linear
    inner: Linear
    outer: Linear
    norm: Linear


Attend = Callable[["Tensor", "Tensor", "Tensor", Spans, Spans], "Tensor"]
"""Attention of packed queries (Tq, heads, size) to packed keys and values (T, heads, size) of the same pair: (Tq, heads, size).
The spans are those of the queries and of the keys.
"""


def attend_packed(query: "Tensor", key: "Tensor", value: "Tensor", query_spans: Spans, key_spans: Spans) -> "Tensor":
    """``Attend`` by FlashAttention, which needs PyTorch 2.10 and a GPU of compute capability 8."""
    from torch.nn.attention.varlen import varlen_attn

    context = varlen_attn(
        query, key, value, query_spans.starts, key_spans.starts, query_spans.longest, key_spans.longest
    )
    assert not isinstance(context, tuple)
    return context


def attend_padded(query: "Tensor", key: "Tensor", value: "Tensor", query_spans: Spans, key_spans: Spans) -> "Tensor":
    """``Attend`` on any device: the pairs are padded for this step only."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    query_places, key_places = _padded_places(query_spans, len(query)), _padded_places(key_spans, len(key))
    lengths = key_spans.starts.diff()
    mask = torch.arange(key_spans.longest, device=key.device) < lengths[:, None]
    context = scaled_dot_product_attention(
        _pad(query, query_places, query_spans),
        _pad(key, key_places, key_spans),
        _pad(value, key_places, key_spans),
        attn_mask=mask[:, None, None, :],
    )
    return context.transpose(1, 2).flatten(0, 1).index_select(0, query_places)


def _padded_places(spans: Spans, rows: int) -> "Tensor":
    """The indices of packed rows in a padded rectangle (n · longest) of the pairs: int64 (rows,)."""
    import torch

    lengths = spans.starts.diff()
    skipped = torch.arange(len(lengths), device=lengths.device) * spans.longest - spans.starts[:-1]
    return torch.arange(rows, device=lengths.device) + skipped.repeat_interleave(lengths, output_size=rows)


def _pad(rows: "Tensor", places: "Tensor", spans: Spans) -> "Tensor":
    """Packed rows (T, heads, size) as (n, heads, longest, size), zeros elsewhere."""
    pairs = len(spans.starts) - 1
    padded = rows.new_zeros(pairs * spans.longest, *rows.shape[1:]).index_copy_(0, places, rows)
    return padded.view(pairs, spans.longest, *rows.shape[1:]).transpose(1, 2)


def working_dtype(device: "torch.device") -> "torch.dtype":
    """bf16, or fp16 on a GPU without bf16. The range of fp16 is smaller; a model that exceeds it needs the engine exact."""
    import torch

    old = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8
    return torch.float16 if old else torch.bfloat16


def best_attention(device: "torch.device", dtype: "torch.dtype", heads: int, size: int) -> Attend:
    """``attend_packed`` if a trial shows that it runs with heads of this size, else ``attend_padded``."""
    import torch

    if device.type != "cuda":
        return attend_padded
    rows = torch.ones(3, heads, size, dtype=dtype, device=device)
    spans = Spans(torch.tensor([0, 1, 3], dtype=torch.int32, device=device), 2)
    try:
        attend_packed(rows, rows, rows, spans, spans).cpu()
    except (ImportError, RuntimeError):  # an older PyTorch or GPU, or a size that the kernel does not support
        return attend_padded
    return attend_packed


class GpuNetwork:
    """The network; it keeps no state between calls, so any number of threads may call it."""

    def __init__(
        self, config: ModelConfig, device: str, *, use_segment_ids: bool, dtype: "torch.dtype | None" = None
    ) -> None:
        """Load the weights onto a device.

        ``use_segment_ids``: whether the tokenizer provides segment ids. ``dtype``: that of ``working_dtype`` by default.

        Raises ModelError if the weights are damaged, or do not match the config.
        """
        import torch

        architecture = architecture_of(config)
        self._weights = Weights(f"the {config.kind} {config.name}", config.folder)
        self._weights.check(weight_shapes(config.json, architecture))
        self._use_segment_ids = use_segment_ids
        self._first_position = architecture.first_position
        self._epsilon: float = config.json["layer_norm_eps"]
        self._heads: int = config.json["num_attention_heads"]
        self._width: int = config.json["hidden_size"]
        self._device = torch.device(device)
        self._dtype = dtype or working_dtype(self._device)
        at = f"{architecture.prefix}embeddings."
        self._word_embeddings, self._segment_embeddings, self._position_embeddings = (
            self._load(f"{at}{kind}_embeddings.weight") for kind in ("word", "token_type", "position")
        )
        self._embedding_norm = self._linear(f"{at}LayerNorm", dtype=torch.float32)
        self._layers = [
            self._layer(f"{architecture.prefix}encoder.layer.{layer}.")
            for layer in range(config.json["num_hidden_layers"])
        ]
        self._head = [self._linear(name, dtype=torch.float32) for name in architecture.head or ()]
        self._pooling = config.pooling
        self._all_positions = architecture.all_positions
        del self._weights
        with torch.inference_mode():
            self._attend = best_attention(self._device, self._dtype, self._heads, self._width // self._heads)

    def _load(self, *names: str, dtype: "torch.dtype | None" = None) -> "Tensor":
        """Weights, concatenated along their first dimension."""
        import torch

        parts = [torch.tensor(self._weights.array(name)).to(self._device, dtype or self._dtype) for name in names]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _linear(self, *names: str, dtype: "torch.dtype | None" = None) -> Linear:
        return Linear(*(self._load(*(f"{name}.{part}" for name in names), dtype=dtype) for part in Linear._fields))

    def _layer(self, at: str) -> Layer:
        return Layer(
            self._linear(*(f"{at}attention.self.{part}" for part in ("query", "key", "value"))),
            self._linear(f"{at}attention.output.dense"),
            self._linear(f"{at}attention.output.LayerNorm"),
            self._linear(f"{at}intermediate.dense"),
            self._linear(f"{at}output.dense"),
            self._linear(f"{at}output.LayerNorm"),
        )

    def __call__(self, batch: Batch) -> NDArray[np.float32] | PendingLogits:
        """The logits of a batch of n pairs, float32 of shape (n,), or the pooled vectors of n texts, (n, dimension); on a GPU, a
        function that waits for them.
        """
        import torch

        with torch.inference_mode():
            output = self._output(self._pack(batch))
            if self._device.type != "cuda":
                on_cpu: NDArray[np.float32] = output.numpy()
                return on_cpu
            host = torch.empty(output.shape, dtype=output.dtype, device="cpu", pin_memory=True)
            host.copy_(output, non_blocking=True)
            cuda: Any = torch.cuda  # parts of it are untyped
            done = cuda.Event()
            done.record(cuda.current_stream(self._device))

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            copied: NDArray[np.float32] = host.numpy()
            return copied

        return wait

    def _pack(self, batch: Batch) -> Packed:
        """The tokens of a batch on the device, in a single asynchronous copy.

        Raises IndexError for ids beyond the embeddings: on a GPU, one such id would make CUDA unusable for the whole process.
        """
        import torch

        is_token = batch.mask.astype(np.bool_)
        ids = batch.ids[is_token]
        segment_ids = batch.segment_ids[is_token] if self._use_segment_ids else np.zeros_like(ids)
        lengths = batch.mask.sum(axis=1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(len(ids)) - np.repeat(starts[:-1], lengths) + self._first_position
        for table, used in (
            (self._word_embeddings, ids),
            (self._segment_embeddings, segment_ids),
            (self._position_embeddings, positions),
        ):
            if used.max() >= len(table):
                raise IndexError("index out of range in self")
        parts = (ids, segment_ids, positions, starts)
        flat = torch.from_numpy(np.concatenate(parts).astype(np.int32))
        if self._device.type == "cuda":
            flat = flat.pin_memory().to(self._device, non_blocking=True)
        split = torch.split(flat, [len(part) for part in parts])
        return Packed(split[0], split[1], split[2], Spans(split[3], int(lengths.max())))

    def _output(self, packed: Packed) -> "Tensor":
        """The logits of n pairs, float32 (n,), or the pooled vectors of n texts, (n, dimension), on the device."""
        import torch
        from torch.nn.functional import linear

        x = self._embed(packed)
        for layer in self._layers if self._all_positions else self._layers[:-1]:
            query, key, value = linear(x, *layer.attention).view(len(x), 3, self._heads, -1).unbind(1)
            x = self._after_attention(layer, x, self._attend(query, key, value, packed.spans, packed.spans))
        if self._all_positions:
            return pool_tensors(x.float(), packed.spans.starts, self._pooling)
        x = self._first_positions(self._layers[-1], x, packed.spans).float()
        if not self._head:
            return x
        pooler, classifier = self._head
        return linear(torch.tanh(linear(x, *pooler)), *classifier)[:, 0]

    def _embed(self, packed: Packed) -> "Tensor":
        """Word, segment and position embeddings, summed and normalized in fp32: (T, width)."""
        from torch.nn.functional import embedding

        x = embedding(packed.ids, self._word_embeddings).float()
        x = x + embedding(packed.segment_ids, self._segment_embeddings)
        x = x + embedding(packed.positions, self._position_embeddings)
        return self._norm(x, self._embedding_norm).to(self._dtype)

    def _first_positions(self, layer: Layer, x: "Tensor", spans: Spans) -> "Tensor":
        """The last layer's output at each pair's first position: (n, width)."""
        import torch
        from torch.nn.functional import linear

        weight, bias = layer.attention
        first = x.index_select(0, spans.starts[:-1])
        query = linear(first, weight[: self._width], bias[: self._width]).view(len(first), self._heads, -1)
        keys_values = linear(x, weight[self._width :], bias[self._width :])
        key, value = keys_values.view(len(x), 2, self._heads, -1).unbind(1)
        single = Spans(torch.arange(len(first) + 1, dtype=torch.int32, device=x.device), 1)
        return self._after_attention(layer, first, self._attend(query, key, value, single, spans))

    def _after_attention(self, layer: Layer, x: "Tensor", context: "Tensor") -> "Tensor":
        """The rest of a layer: from its input ``x`` (rows, width) and its attention's ``context`` (rows, heads, size)."""
        from torch.nn.functional import gelu, linear

        x = self._norm(linear(context.flatten(1), *layer.attended) + x, layer.attended_norm)
        return self._norm(linear(gelu(linear(x, *layer.inner)), *layer.outer) + x, layer.norm)

    def _norm(self, x: "Tensor", scale: Linear) -> "Tensor":
        from torch.nn.functional import layer_norm

        return layer_norm(x, (self._width,), scale.weight, scale.bias, self._epsilon)
