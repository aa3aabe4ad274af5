"""gpu: cross-encoders of the BERT and XLM-RoBERTa families in 16-bit numbers on CUDA GPUs, without padding.

The tokens of a batch stand one after another, as (tokens, width); attention alone takes the pairs apart (FlashAttention through
``torch.nn.attention.varlen``). Products add up in fp32; their operands and what goes from layer to layer are bf16, or fp16 on GPUs
before compute capability 8, which have no bf16. Embeddings and the head are fp32. Of the last layer only the first position is
computed, since the head reads nothing else.

Scores are documented to 0.05 logits: those of the default reranker on abstracts and snippets were in bf16 within 0.022 of the exact
ones (0.004 on average; in fp16 0.006 and 0.0005), and within 0.006 of their own beside other pairs, as products of other sizes add
up in another order.

Batches are meant to be computed for longer than their launches take, and many are launched before any is waited for. So CUDA
graphs, which need shapes that repeat, and ``torch.compile``, which takes half a minute of every start for the few operations
between the products that it could join, are left out. None of this has been measured on a GPU yet (``benchmarks/rerank_gpu.py``
does).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.exact_bert import weight_shapes
from bioqa.rerank.model_folder.architectures import FAMILIES, Weights
from bioqa.rerank.model_folder.config import ModelConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bioqa.rerank.engines.exact import Deferred

DEVICES = ("cuda",)
"""Kinds of devices that the engine is offered on. The code runs on "cpu" as well, where tests look at it, but slowly."""

PAIR_TOKENS = 1024
"""Tokens of a batch for each pair of the batch size: 32 make 32,768, some ten milliseconds of BERT-base on a data centre's GPU."""


class Spans(NamedTuple):
    """Where the rows of n pairs begin in a packed tensor of T rows: ``starts`` int32 (n + 1,), from 0 to T; ``longest`` in rows."""

    starts: "Tensor"
    longest: int


class Packed(NamedTuple):
    """The tokens of n pairs, one after another: ``ids``, ``types`` and ``positions`` int32 (T,)."""

    ids: "Tensor"
    types: "Tensor"
    positions: "Tensor"
    spans: Spans


class Linear(NamedTuple):
    """Also the scale and shift of a normalisation."""

    weight: "Tensor"
    bias: "Tensor"


class Layer(NamedTuple):
    """An encoder layer's weights; ``attention`` gives query, key and value side by side."""

    attention: Linear
    attended: Linear
    attended_norm: Linear
    inner: Linear
    outer: Linear
    norm: Linear


Attend = Callable[["Tensor", "Tensor", "Tensor", Spans, Spans], "Tensor"]
"""Attention of packed queries (Tq, heads, size) to packed keys and values (T, heads, size), each pair to itself: (Tq, heads, size).
The spans are those of the queries, then those of the keys.
"""


def attend_packed(query: "Tensor", key: "Tensor", value: "Tensor", asking: Spans, asked: Spans) -> "Tensor":
    """``Attend`` by FlashAttention, which needs PyTorch 2.10 and a GPU of compute capability 8."""
    from torch.nn.attention.varlen import varlen_attn

    found = varlen_attn(query, key, value, asking.starts, asked.starts, asking.longest, asked.longest)
    assert not isinstance(found, tuple)
    return found


def attend_padded(query: "Tensor", key: "Tensor", value: "Tensor", asking: Spans, asked: Spans) -> "Tensor":
    """``Attend`` on any device, by padding the pairs for this step alone."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    q_places, k_places = _places(asking, len(query)), _places(asked, len(key))
    lengths = asked.starts.diff()
    mask = torch.arange(asked.longest, device=key.device) < lengths[:, None]
    found = scaled_dot_product_attention(
        _padded(query, q_places, asking),
        _padded(key, k_places, asked),
        _padded(value, k_places, asked),
        attn_mask=mask[:, None, None, :],
    )
    return found.transpose(1, 2).flatten(0, 1).index_select(0, q_places)


def _places(spans: Spans, rows: int) -> "Tensor":
    """The places of packed rows in a rectangle (n · longest) of the pairs: int64 (rows,)."""
    import torch

    lengths = spans.starts.diff()
    skipped = torch.arange(len(lengths), device=lengths.device) * spans.longest - spans.starts[:-1]
    return torch.arange(rows, device=lengths.device) + skipped.repeat_interleave(lengths, output_size=rows)


def _padded(rows: "Tensor", places: "Tensor", spans: Spans) -> "Tensor":
    """Packed rows (T, heads, size) as (n, heads, longest, size), zeros elsewhere."""
    pairs = len(spans.starts) - 1
    whole = rows.new_zeros(pairs * spans.longest, *rows.shape[1:]).index_copy_(0, places, rows)
    return whole.view(pairs, spans.longest, *rows.shape[1:]).transpose(1, 2)


def working_type(device: "torch.device") -> "torch.dtype":
    """bf16, or fp16 where a GPU has no bf16: its range is smaller, and a model whose activations leave it is told to use exact."""
    import torch

    old = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] < 8
    return torch.float16 if old else torch.bfloat16


def best_attention(device: "torch.device", dtype: "torch.dtype", heads: int, size: int) -> Attend:
    """``attend_packed`` where it runs with heads of such a size, as a trial shows, else ``attend_padded``."""
    import torch

    if device.type != "cuda":
        return attend_padded
    rows = torch.ones(3, heads, size, dtype=dtype, device=device)
    spans = Spans(torch.tensor([0, 1, 3], dtype=torch.int32, device=device), 2)
    try:
        attend_packed(rows, rows, rows, spans, spans).cpu()
    except (ImportError, RuntimeError):  # an older PyTorch, or an older GPU, or a size that the kernel does not take
        return attend_padded
    return attend_packed


class GpuNetwork:
    """The model; it keeps no state between calls, so any number of threads may call it."""

    def __init__(
        self, settings: ModelConfig, device: str, *, segments: bool, dtype: "torch.dtype | None" = None
    ) -> None:
        """Read the weights onto a device.

        ``segments``: the tokenizer gives segment ids. ``dtype`` is by default what ``working_type`` says.

        Raises ModelError where the weights are damaged or of other names.
        """
        import torch

        config = settings.config
        family = FAMILIES[config["architectures"][0]]
        self._weights = Weights(settings)
        self._weights.check(weight_shapes(config, family.prefix, family.head))
        self._segments = segments
        self._first_position = family.first_position
        self._epsilon: float = config["layer_norm_eps"]
        self._heads: int = config["num_attention_heads"]
        self._width: int = config["hidden_size"]
        self._device = torch.device(device)
        self._type = dtype or working_type(self._device)
        at = f"{family.prefix}embeddings."
        self._words, self._segment_rows, self._positions = (
            self._load(f"{at}{kind}_embeddings.weight") for kind in ("word", "token_type", "position")
        )
        self._embedding_norm = self._linear(f"{at}LayerNorm", dtype=torch.float32)
        self._layers = [
            self._layer(f"{family.prefix}encoder.layer.{layer}.") for layer in range(config["num_hidden_layers"])
        ]
        self._pooler, self._classifier = (self._linear(name, dtype=torch.float32) for name in family.head)
        del self._weights
        with torch.inference_mode():
            self._attend = best_attention(self._device, self._type, self._heads, self._width // self._heads)

    def _load(self, *names: str, dtype: "torch.dtype | None" = None) -> "Tensor":
        """Weights, one under another."""
        import torch

        parts = [torch.tensor(self._weights.array(name)).to(self._device, dtype or self._type) for name in names]
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

    def __call__(self, batch: Batch) -> "NDArray[np.float32] | Deferred":
        """Logits of a batch of n pairs, float32 of shape (n,); on a GPU, what waits for them."""
        import torch

        with torch.inference_mode():
            logits = self._logits(self._pack(batch))
            if self._device.type != "cuda":
                found: NDArray[np.float32] = logits.numpy()
                return found
            host = torch.empty(len(logits), dtype=logits.dtype, device="cpu", pin_memory=True)
            host.copy_(logits, non_blocking=True)
            cuda: Any = torch.cuda  # some of it has no types
            done = cuda.Event()
            done.record(cuda.current_stream(self._device))

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            there: NDArray[np.float32] = host.numpy()
            return there

        return wait

    def _pack(self, batch: Batch) -> Packed:
        """The tokens of a batch on the device, in one copy that nothing waits for.

        Raises IndexError for ids that the embeddings do not have: a GPU would end the whole process's use of it.
        """
        import torch

        there = batch.mask.astype(np.bool_)
        ids = batch.ids[there]
        types = batch.types[there] if self._segments else np.zeros_like(ids)
        lengths = batch.mask.sum(axis=1)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        positions = np.arange(len(ids)) - np.repeat(starts[:-1], lengths) + self._first_position
        for rows, used in ((self._words, ids), (self._segment_rows, types), (self._positions, positions)):
            if used.max() >= len(rows):
                raise IndexError("index out of range in self")
        parts = (ids, types, positions, starts)
        flat = torch.from_numpy(np.concatenate(parts).astype(np.int32))
        if self._device.type == "cuda":
            flat = flat.pin_memory().to(self._device, non_blocking=True)
        ids_there, types_there, positions_there, starts_there = torch.split(flat, [len(part) for part in parts])
        return Packed(ids_there, types_there, positions_there, Spans(starts_there, int(lengths.max())))

    def _logits(self, packed: Packed) -> "Tensor":
        """Logits of n pairs, float32 (n,), on the device."""
        import torch
        from torch.nn.functional import linear

        x = self._embed(packed)
        for layer in self._layers[:-1]:
            query, key, value = linear(x, *layer.attention).view(len(x), 3, self._heads, -1).unbind(1)
            x = self._finish(layer, x, self._attend(query, key, value, packed.spans, packed.spans))
        x = self._first_positions(self._layers[-1], x, packed.spans)
        return linear(torch.tanh(linear(x.float(), *self._pooler)), *self._classifier)[:, 0]

    def _embed(self, packed: Packed) -> "Tensor":
        """Word, segment and position embeddings, summed and normalised in fp32: (T, width)."""
        from torch.nn.functional import embedding

        x = embedding(packed.ids, self._words).float()
        x = x + embedding(packed.types, self._segment_rows) + embedding(packed.positions, self._positions)
        return self._norm(x, self._embedding_norm).to(self._type)

    def _first_positions(self, layer: Layer, x: "Tensor", spans: Spans) -> "Tensor":
        """The last layer's output at each pair's first position: (n, width)."""
        import torch
        from torch.nn.functional import linear

        weight, bias = layer.attention
        first = x.index_select(0, spans.starts[:-1])
        query = linear(first, weight[: self._width], bias[: self._width]).view(len(first), self._heads, -1)
        both = linear(x, weight[self._width :], bias[self._width :])
        key, value = both.view(len(x), 2, self._heads, -1).unbind(1)
        single = Spans(torch.arange(len(first) + 1, dtype=torch.int32, device=x.device), 1)
        return self._finish(layer, first, self._attend(query, key, value, single, spans))

    def _finish(self, layer: Layer, x: "Tensor", found: "Tensor") -> "Tensor":
        """A layer after its attention, which ``found`` (rows, heads, size) for the rows of ``x`` (rows, width)."""
        from torch.nn.functional import gelu, linear

        x = self._norm(linear(found.flatten(1), *layer.attended) + x, layer.attended_norm)
        return self._norm(linear(gelu(linear(x, *layer.inner)), *layer.outer) + x, layer.norm)

    def _norm(self, x: "Tensor", scale: Linear) -> "Tensor":
        from torch.nn.functional import layer_norm

        return layer_norm(x, (self._width,), scale.weight, scale.bias, self._epsilon)
