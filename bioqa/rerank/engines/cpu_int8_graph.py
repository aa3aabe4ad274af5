"""BERT as an ONNX graph with 8-bit matrix products: from the weights of a folder to what onnxruntime runs.

Weights are quantized once, symmetrically, with one scale per output. Activations are quantized at run time with one scale per
token, so that a pair's score does not depend on the pairs beside it. Attention, normalization and GELU stay fp32. The last layer
is computed at the first position only where nothing else is read, as by a classifier's head.

A few channels of a BERT are far larger than the rest, which would leave the others only a few of the 256 steps. So the output of a
normalization, before it enters a linear layer, is centred and divided by one factor per channel, and the weights are multiplied by
it; the factors balance the two (SmoothQuant, Xiao and others, 2023, with strength 0.5). The ranges of the channels are measured
once on a few sentences, with a graph that does not do this.

Inputs: ``x`` float32 (n · length, width), the summed embeddings of n rows before their normalization; ``shape`` int64
[n, length, width]; ``lengths`` int32 (n,), the number of tokens of each row, followed by padding; ``padded`` bool, whether there is
any padding, as attention is faster without. Output: ``output`` float32, of a classifier the logits (n, 1), of an encoder the last
layer's output at the first positions (n, width) or at all of them (n · length, width).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.model_folder.architectures import Architecture
from bioqa.rerank.model_folder.weights import Array

MICROSOFT = "com.microsoft"
OPSET, IR_VERSION = 21, 10
GELU_MIN = 0.17
"""GELU's minimum is -0.17: its outputs need only a few of the 256 steps below zero."""


class ChannelRange(NamedTuple):
    """Minimum, maximum and mean of each channel: float32 of shape (width,)."""

    min: Array
    max: Array
    mean: Array


class _NormOutput(NamedTuple):
    """The names of a normalization's output and input in the graph, and of its weights."""

    x: str
    input: str
    weights: str


def quantized_norms(config: dict[str, Any], architecture: Architecture) -> dict[str, tuple[str, ...]]:
    """The normalizations whose outputs are quantized, each with the linear layers that read them; without the one in the last
    layer if that has first positions only.
    """
    readers = {}
    norm = f"{architecture.prefix}embeddings.LayerNorm"
    layers = config["num_hidden_layers"]
    for layer in range(layers):
        at = f"{architecture.prefix}encoder.layer.{layer}."
        readers[norm] = tuple(f"{at}attention.self.{part}" for part in ("query", "key", "value"))
        if layer < layers - 1 or architecture.all_positions:
            readers[f"{at}attention.output.LayerNorm"] = (f"{at}intermediate.dense",)
        norm = f"{at}output.LayerNorm"
    return readers


class SmoothedWeights:
    """A model's weights by name, with those of linear layers changed for smoothed inputs; ``norms`` are the weight and bias of
    the normalizations that produce these inputs.
    """

    def __init__(
        self, weight: Callable[[str], Array], norms: Mapping[str, tuple[str, ...]], ranges: Mapping[str, ChannelRange]
    ) -> None:
        self._weight = weight
        self._inputs: dict[str, tuple[Array, Array]] = {}
        self.norms: dict[str, tuple[Array, Array]] = {}
        for norm, layers in norms.items():
            low, high, mean = ranges[norm]
            inputs = np.maximum(high - mean, mean - low)
            weights = np.max([np.abs(weight(f"{layer}.weight")).max(axis=0) for layer in layers], axis=0)
            factor = np.sqrt(_clip_small(inputs) / _clip_small(weights)).astype(np.float32)
            self.norms[norm] = weight(f"{norm}.weight") / factor, (weight(f"{norm}.bias") - mean) / factor
            self._inputs |= dict.fromkeys(layers, (factor, mean))

    def __call__(self, name: str) -> Array:
        """A weight by its name: float32."""
        layer, _, kind = name.rpartition(".")
        if layer not in self._inputs:
            return self._weight(name)
        factor, mean = self._inputs[layer]
        weight = self._weight(f"{layer}.weight")
        return weight * factor if kind == "weight" else self._weight(name) + weight @ mean


def _clip_small(values: Array) -> Array:
    """The values, raised to at least a quarter of their median, as a channel that is small here may be larger for another text."""
    return np.maximum(values, max(float(np.median(values)) / 4, 1e-9))


class _Graph:
    """A growing list of nodes; ``op`` adds one and returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names = 0

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}_{self._names}"

    def constant(self, value: Array) -> str:
        from onnx import numpy_helper

        name = self._name("constant")
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def op(self, kind: str, *inputs: str, domain: str = "", output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or self._name(kind)
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **attributes))
        return output


class _Bert:
    """Writes the layers of one model into a graph."""

    def __init__(
        self,
        weight: Callable[[str], Array],
        config: dict[str, Any],
        architecture: Architecture,
        signed: bool,
        ranges: Mapping[str, ChannelRange] | None,
    ) -> None:
        self.graph = _Graph()
        self.config = config
        self.architecture = architecture
        self.signed = signed
        norms = quantized_norms(config, architecture)
        self.measured = list(norms) if ranges is None else []
        smoothed = None if ranges is None else SmoothedWeights(weight, norms, ranges)
        self.weight: Callable[[str], Array] = smoothed or weight
        self.smoothed_norms = smoothed.norms if smoothed else {}
        self.width: int = config["hidden_size"]
        constant = self.graph.constant
        self.zero_point = constant(np.array(128, dtype=np.uint8))
        self.gelu_zero_point = constant(np.array(16, dtype=np.uint8))
        self.one = constant(np.array(1, dtype=np.float32))
        self.last_axis = constant(np.array([1], dtype=np.int64))
        self.rows_shape = constant(np.array([-1, self.width], dtype=np.int64))

    def build(self) -> bytes:
        from onnx import TensorProto, helper

        x = self.norm("x", f"{self.architecture.prefix}embeddings.LayerNorm")
        layers = self.config["num_hidden_layers"]
        for layer in range(layers):
            first_only = layer == layers - 1 and not self.architecture.all_positions
            x = self.layer(f"{self.architecture.prefix}encoder.layer.{layer}.", x, first_only=first_only)
        if self.architecture.head is None:
            self.graph.op("Identity", x.x, output="output")
        else:
            dense, out = self.architecture.head
            self.exact(self.graph.op("Tanh", self.exact(x.x, dense)), out, output="output")
        inputs = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["tokens", self.width]),
            helper.make_tensor_value_info("shape", TensorProto.INT64, [3]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["rows"]),
            helper.make_tensor_value_info("padded", TensorProto.BOOL, []),
        ]
        outputs = [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["outputs", "features"])]
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["values", self.width]) for name in self.measured
        ]
        graph = helper.make_graph(self.graph.nodes, "bert", inputs, outputs, self.graph.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()
        return model

    def layer(self, at: str, normed: _NormOutput, *, first_only: bool) -> _NormOutput:
        """One encoder layer on rows of (tokens, width), or at the first position of each pair only."""
        op, constant = self.graph.op, self.graph.constant
        x, smoothed = normed.x, self.smoothed(normed)
        quantized = self.quantized(smoothed)
        parts = {
            part: op("Reshape", self.product(quantized, f"{at}attention.self.{part}"), "shape")
            for part in ("key", "value", *(() if first_only else ("query",)))
        }
        if first_only:
            first = constant(np.array(0, dtype=np.int64))
            x, smoothed = (op("Gather", op("Reshape", rows, "shape"), first, axis=1) for rows in (x, smoothed))
            query = self.product(self.quantized(smoothed), f"{at}attention.self.query")
            parts["query"] = op("Reshape", query, constant(np.array([-1, 1, self.width], dtype=np.int64)))
        attended = op("Reshape", self.attention(at, parts), self.rows_shape)
        normed = self.add_and_norm(
            self.product(self.quantized(attended), f"{at}attention.output.dense"), x, f"{at}attention.output"
        )
        inner = self.product(self.quantized(self.smoothed(normed)), f"{at}intermediate.dense")
        inner = op("BiasGelu", inner, self.parameter(f"{at}intermediate.dense.bias"), domain=MICROSOFT)
        return self.add_and_norm(self.product(self.quantized_gelu(inner), f"{at}output.dense"), normed.x, f"{at}output")

    def attention(self, at: str, parts: dict[str, str]) -> str:
        """Self-attention of (n, length, width), with a mask only if there is padding."""
        from onnx import helper

        bias = np.concatenate([self.weight(f"{at}attention.self.{part}.bias") for part in ("query", "key", "value")])
        inputs = [parts["query"], parts["key"], parts["value"], self.graph.constant(bias.astype(np.float32))]
        branches = {}
        for branch, mask in (("then_branch", ["lengths"]), ("else_branch", [])):
            name = f"{at}{branch}"
            node = helper.make_node(
                "MultiHeadAttention",
                inputs + mask,
                [name],
                name=name,
                domain=MICROSOFT,
                num_heads=self.config["num_attention_heads"],
            )
            info = helper.make_empty_tensor_value_info(name)
            branches[branch] = helper.make_graph([node], branch, [], [info])
        return self.graph.op("If", "padded", **branches)

    def quantized(self, x: str) -> tuple[str, str, str]:
        """``x`` as bytes around 128, its zero point, and the scale of each row."""
        op, constant = self.graph.op, self.graph.constant
        largest = op("ReduceMax", op("Abs", x), self.last_axis, keepdims=0)
        scale = op("Mul", largest, constant(np.array(1 / 127, dtype=np.float32)))
        scale = op("Max", scale, constant(np.array(1e-9, dtype=np.float32)))
        return self._bytes(x, scale, self.zero_point)

    def quantized_gelu(self, x: str) -> tuple[str, str, str]:
        """``quantized`` for the outputs of GELU."""
        op, constant = self.graph.op, self.graph.constant
        largest = op("ReduceMax", x, self.last_axis, keepdims=0)
        scale = op("Mul", largest, constant(np.array(1 / 239, dtype=np.float32)))
        scale = op("Max", scale, constant(np.array(GELU_MIN / 16, dtype=np.float32)))
        return self._bytes(x, scale, self.gelu_zero_point)

    def _bytes(self, x: str, scale: str, zero: str) -> tuple[str, str, str]:
        op = self.graph.op
        zeros = op("Expand", zero, op("Shape", scale))
        return op("QuantizeLinear", x, scale, zeros, axis=0), zero, op("Unsqueeze", scale, self.last_axis)

    def product(self, quantized: tuple[str, str, str], name: str) -> str:
        """The product of rows with the weights of a linear layer, without its bias: float32 (tokens, outputs)."""
        op, constant = self.graph.op, self.graph.constant
        values, zero, row_scale = quantized
        weight, scale = quantize(self.weight(f"{name}.weight"))
        if self.signed:
            extra = [zero]
        else:
            weight = (weight.astype(np.int16) + 128).astype(np.uint8)
            extra = [zero, self.zero_point]
        inputs = [values, constant(weight), self.one, constant(scale), *extra]
        return op("Mul", op("MatMulIntegerToFloat", *inputs, domain=MICROSOFT), row_scale)

    def add_and_norm(self, x: str, residual: str, at: str) -> _NormOutput:
        x = self.graph.op("Add", self.graph.op("Add", x, self.parameter(f"{at}.dense.bias")), residual)
        return self.norm(x, f"{at}.LayerNorm")

    def norm(self, x: str, name: str) -> _NormOutput:
        weights = self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias")
        return _NormOutput(self._norm(x, *weights, output=name), x, name)

    def smoothed(self, normed: _NormOutput) -> str:
        """A normalization's output as the linear layers read it."""
        if normed.weights not in self.smoothed_norms:
            return normed.x
        return self._norm(normed.input, *map(self.graph.constant, self.smoothed_norms[normed.weights]))

    def _norm(self, x: str, weight: str, bias: str, output: str = "") -> str:
        epsilon = self.config["layer_norm_eps"]
        return self.graph.op("LayerNormalization", x, weight, bias, output=output, axis=-1, epsilon=epsilon)

    def exact(self, x: str, name: str, output: str = "") -> str:
        """A linear layer in fp32."""
        return self.graph.op(
            "Gemm", x, self.parameter(f"{name}.weight"), self.parameter(f"{name}.bias"), transB=1, output=output
        )

    def parameter(self, name: str) -> str:
        return self.graph.constant(self.weight(name).astype(np.float32))


def build_graph(
    weight: Callable[[str], Array],
    config: dict[str, Any],
    architecture: Architecture,
    *,
    signed: bool,
    ranges: Mapping[str, ChannelRange] | None,
) -> bytes:
    """The serialized graph of a model.

    ``weight`` returns a float array by name. ``signed``: weights as int8, whose products processors without instructions for them
    (VNNI, AMX, dot product) sum with saturation; else as uint8 around 128, exact everywhere. ``ranges``: those of the outputs of
    ``quantized_norms``; if None, nothing is smoothed, and the graph has these outputs too, under their names.
    """
    return _Bert(weight, config, architecture, signed, ranges).build()


def quantize(weight: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A (outputs, inputs) matrix as int8 (inputs, outputs) and the scale of each output: weight ≈ int8.T · scale."""
    weight = weight.astype(np.float32)
    scale = np.maximum(np.abs(weight).max(axis=1), 1e-12) / 127
    return np.rint(weight / scale[:, None]).astype(np.int8).T, scale.astype(np.float32)
