"""The cross-encoder losses of sentence-transformers, by the names that recipes use."""

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder
    from torch import nn


class Loss(NamedTuple):
    """A loss: its class in ``sentence_transformers.cross_encoder.losses`` and the shape of its examples.

    "pair": a question, a passage and a label. "list": a question, its passages (the relevant one first) and their labels.
    "tuple": a question, a relevant passage and a fixed number of negatives. With ``teacher``, teacher scores take the place of
    labels.
    """

    class_name: str
    example: Literal["pair", "list", "tuple"]
    teacher: bool = False


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
    "cached_multiple_negatives": Loss("CachedMultipleNegativesRankingLoss", "tuple"),
    "margin_mse": Loss("MarginMSELoss", "tuple", teacher=True),
    "teacher_mse": Loss("MSELoss", "pair", teacher=True),
    "teacher_listnet": Loss("ListNetLoss", "list", teacher=True),
}
"""Pointwise: bce and mse (mean squared error of the probability). Pairwise: ranknet. Listwise: the other lists.
infonce: cross-entropy of the relevant passage against the others of its list; listnet's target is the softmax of the labels, which
leaves much of it to the negatives. multiple_negatives: cross-entropy of the relevant passage against its negatives and the other
passages of the batch; cached_multiple_negatives computes the same in parts, so that memory does not limit the batch.

Distillation, from the raw logits of a teacher (``bioqa pairs score``): margin_mse (differences between the relevant passage and
each negative; Hofstätter et al., arXiv 2010.02666), teacher_mse (the logits themselves), teacher_listnet (their softmax over a
list).
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
