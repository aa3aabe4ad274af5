"""The cross-encoder losses of sentence-transformers, by the names that recipes use."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from torch import nn


class Loss(NamedTuple):
    """A loss: its class in ``sentence_transformers.cross_encoder.losses`` and the shape of its examples.

    "pair": a question, a passage and a label. "list": a question, its passages (the relevant one first) and their labels.
    "tuple": a question, a relevant passage and a fixed number of negatives.
    """

    class_name: str
    example: Literal["pair", "list", "tuple"]


LOSSES = {
    "bce": Loss("BinaryCrossEntropyLoss", "pair"),
    "mse": Loss("MSELoss", "pair"),
    "ranknet": Loss("RankNetLoss", "list"),
    "lambda": Loss("LambdaLoss", "list"),
    "infonce": Loss("ListNetLoss", "list"),
    "listnet": Loss("ListNetLoss", "list"),
    "listmle": Loss("ListMLELoss", "list"),
    "plistmle": Loss("PListMLELoss", "list"),
    "adr_mse": Loss("ADRMSELoss", "list"),
    "multiple_negatives": Loss("MultipleNegativesRankingLoss", "tuple"),
}
"""Pointwise: bce and mse (mean squared error of the probability). Pairwise: ranknet. Listwise: the other lists.
infonce: cross-entropy of the relevant passage against the others of its list; listnet's target is the softmax of the labels, which
leaves much of it to the negatives. multiple_negatives: cross-entropy of the relevant passage against its negatives and the other
passages of the batch.
"""


def make_loss(name: str, model: "CrossEncoder", *, pos_weight: float = 1.0) -> "nn.Module":
    """The loss ``name``, a key of ``LOSSES``, for ``model``; ``pos_weight`` is the weight of positives (bce only)."""
    import torch
    from sentence_transformers.cross_encoder import losses

    loss = LOSSES[name]
    options: dict[str, Any] = {}
    if name == "bce" and pos_weight != 1:
        options["pos_weight"] = torch.tensor(pos_weight)
    if name == "mse":
        options["activation_fn"] = torch.nn.Sigmoid()
    if loss.example == "list":
        options["mini_batch_size"] = -1  # score all pairs of a batch in one pass
    made: nn.Module = getattr(losses, loss.class_name)(model, **options)
    return made
