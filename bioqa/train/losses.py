"""The losses of sentence-transformers' cross-encoders, by the names that recipes use."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from torch import nn

    from bioqa.train.recipe import LossSettings


class Loss(NamedTuple):
    """A loss: its class in ``sentence_transformers.cross_encoder.losses``, and what an example is.

    "pair": a question, a passage and a label. "list": a question, its passages (the relevant one first) and their labels.
    "tuple": a question, a relevant passage and a fixed number of others.
    """

    library: str
    example: Literal["pair", "list", "tuple"]


LOSSES = {
    "bce": Loss("BinaryCrossEntropyLoss", "pair"),
    "mse": Loss("MSELoss", "pair"),
    "ranknet": Loss("RankNetLoss", "list"),
    "lambda": Loss("LambdaLoss", "list"),
    "listnet": Loss("ListNetLoss", "list"),
    "listmle": Loss("ListMLELoss", "list"),
    "plistmle": Loss("PListMLELoss", "list"),
    "adr_mse": Loss("ADRMSELoss", "list"),
    "multiple_negatives": Loss("MultipleNegativesRankingLoss", "tuple"),
}
"""Pointwise: bce and mse (mean squared error of the probability). Pairwise: ranknet. Listwise: the other lists.
multiple_negatives: cross-entropy of the relevant passage against the given and the batch's other passages.
"""


def make_loss(settings: "LossSettings", model: "CrossEncoder") -> "nn.Module":
    """The loss of a recipe, for ``model``."""
    import torch
    from sentence_transformers.cross_encoder import losses

    loss = LOSSES[settings.name]
    options: dict[str, Any] = {}
    if settings.name == "bce" and settings.pos_weight != 1:
        options["pos_weight"] = torch.tensor(settings.pos_weight)
    if settings.name == "mse":
        options["activation_fn"] = torch.nn.Sigmoid()
    if loss.example == "list":
        options["mini_batch_size"] = -1  # all pairs of a batch in one pass
    made: nn.Module = getattr(losses, loss.library)(model, **options)
    return made
