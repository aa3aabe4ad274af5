"""What every engine provides: a network that turns batches into logits, or into vectors."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch

PendingLogits = Callable[[], NDArray[np.float32]]
"""Waits for the output of a batch that a device is computing meanwhile, and returns them."""


class Network(Protocol):
    """A cross-encoder or an encoder on one device, safe to call from several threads at once."""

    def __call__(self, batch: Batch) -> NDArray[np.float32] | PendingLogits:
        """The logits of a batch of n pairs, float32 of shape (n,), or the pooled vectors of n texts, (n, dimension); or a function
        that waits for them.

        May be called again before earlier batches are waited for.
        """
