"""The function that a model applies to its logit, by name; nothing is imported by a name found in a file.

sentence-transformers saves the dotted path of a class ("torch.nn.modules.activation.Sigmoid") and imports any path
that starts with "torch."; bioqa accepts only the classes listed here.
"""

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError

DEFAULT_ACTIVATION = "Sigmoid"
"""What ``CrossEncoder`` uses for one label when nothing is saved."""

SCALES = {
    "Identity": "raw output of the model (a logit: no fixed range)",
    "Sigmoid": "uncalibrated probability (logistic function of the logit, 0 to 1)",
    "Tanh": "hyperbolic tangent of the logit (-1 to 1)",
    "ReLU": "logit, negative values as 0",
    "Softplus": "softplus of the logit (above 0)",
    "LogSigmoid": "logarithm of the probability (below 0)",
}
"""Activation name → the scale of its scores, in words."""


def activation_name(saved: str, model: str) -> str:
    """The key of SCALES for a saved dotted path such as "torch.nn.modules.linear.Identity".

    Raises ModelError for anything else, naming ``model``.
    """
    match = re.fullmatch(r"torch\.nn\.(?:modules\.\w+\.)?(\w+)", saved)
    if match and match[1] in SCALES:
        return match[1]
    raise ModelError(
        f"The reranker {model} uses the activation {saved!r}, which bioqa does not support; "
        f"it supports {', '.join(SCALES)} of torch.nn."
    )


_FUNCTIONS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "Identity": lambda x: x,
    "Sigmoid": lambda x: np.exp(-np.logaddexp(0, -x)),
    "Tanh": np.tanh,
    "ReLU": lambda x: np.maximum(x, 0),
    "Softplus": lambda x: np.logaddexp(0, x),
    "LogSigmoid": lambda x: -np.logaddexp(0, -x),
}


def activate(name: str, logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The scores of logits under the activation ``name`` (a key of SCALES): float32, same shape."""
    return _FUNCTIONS[name](logits.astype(np.float64)).astype(np.float32)


def probabilities(logits: NDArray[np.float32], a: float = 1.0, b: float = 0.0) -> NDArray[np.float32]:
    """The logistic function of a·logit + b: float32, same shape, 0 to 1."""
    return activate("Sigmoid", (logits * np.float32(a) + np.float32(b)).astype(np.float32, copy=False))
