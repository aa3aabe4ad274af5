"""What turns pooled token embeddings into a text's vector: sentence-transformers' ``Dense`` and ``Normalize``."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, first_line
from bioqa.rerank.model_folder.files import WEIGHTS_FILE, check_files, read_json_object
from bioqa.rerank.model_folder.modules import check_module_weights

Vectors = NDArray[np.float32]

ACTIVATIONS: dict[str, Callable[[Vectors], Vectors]] = {
    "torch.nn.modules.linear.Identity": lambda x: x,
    "torch.nn.modules.activation.Tanh": np.tanh,
    "torch.nn.modules.activation.ReLU": lambda x: np.maximum(x, 0),
    "torch.nn.modules.activation.Sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
}
"""Saved name → function. Others are not imported by their names, as they could be any code."""
DEFAULT_ACTIVATION = "torch.nn.modules.activation.Tanh"


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A linear layer: ``weight`` float32 (width, inputs), ``bias`` float32 (width,), and a key of ``ACTIVATIONS``."""

    weight: Vectors
    bias: Vectors
    activation: str

    @property
    def width(self) -> int:
        """The dimension of its output."""
        return len(self.weight)

    def __call__(self, vectors: Vectors) -> Vectors:
        """The output for n vectors: float32 (n, width)."""
        return ACTIVATIONS[self.activation](vectors @ self.weight.T + self.bias).astype(np.float32, copy=False)


def read_dense(model: str, folder: Path) -> Dense:
    """A Dense module. ``model`` is what messages call the model.

    Raises ModelError if its files are missing or damaged, or it has settings that bioqa does not support.
    """
    from safetensors.numpy import load_file

    what = f"The module {folder.name} of {model[0].lower()}{model[1:]}"
    check_module_weights(what, folder)
    check_files(what, folder)
    settings = read_json_object(folder / "config.json") or {}
    activation = str(settings.get("activation_function", DEFAULT_ACTIVATION))
    if activation not in ACTIVATIONS:
        known = ", ".join(name.rpartition(".")[2] for name in ACTIVATIONS)
        raise ModelError(f"{what} has the activation {activation[:100]!r}; bioqa supports {known}.")
    ends = {settings.get(key) or "sentence_embedding" for key in ("module_input_name", "module_output_name")}
    if settings.get("use_residual") or ends != {"sentence_embedding"}:
        raise ModelError(f"{what} is not a plain linear layer on the text's vector, which is what bioqa supports.")
    try:
        weights = load_file(folder / WEIGHTS_FILE)
        weight = weights["linear.weight"].astype(np.float32)
        bias = weights.get("linear.bias", np.zeros(len(weight))).astype(np.float32)
        if weight.ndim != 2 or bias.shape != weight.shape[:1]:
            raise ValueError(f"its weights have the shapes {weight.shape} and {bias.shape}")
    except Exception as error:  # safetensors' own error, and those of values of the wrong type
        raise ModelError(f"{what} is damaged ({first_line(error)[:-1]}); fetch the model again.") from error
    return Dense(weight, bias, activation)


def normalized(vectors: Vectors) -> Vectors:
    """Vectors (n, width) at length 1; zero vectors stay as they are."""
    lengths = np.sqrt(np.square(vectors, dtype=np.float32).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.maximum(lengths, np.float32(1e-12)), dtype=np.float32)
