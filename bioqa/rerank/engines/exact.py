"""exact: the model of any architecture in fp32, ready to be called with batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, first_line
from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.exact_bert import POOLER, load_bert
from bioqa.rerank.engines.network import Network
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.modules import SCORES, HeadModule
from bioqa.rerank.model_folder.weights import Weights
from bioqa.rerank.pooling import pool_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def load_exact_network(config: ModelConfig, device: str, *, use_segment_ids: bool, pad_id: int) -> Network:
    """Read the weights as fp32, from safetensors only.

    ``use_segment_ids``: whether the tokenizer provides segment ids. ``pad_id``: its padding token, for a config without one; some
    models find the end of each pair by it. Raises ModelError if the weights are missing, damaged or
    pickled, have no classification head, or need code that is not installed here.
    """
    weights = Weights(f"the {config.kind} {config.name}", config.folder)
    try:
        bert = load_bert(config, weights, device, use_segment_ids=use_segment_ids)
        if bert is not None:
            return bert
        model = _load_with_transformers(config, weights, device, pad_id)
        head = [_load_module(module).eval().to(device) for module in config.head]
        return TransformersNetwork(model, use_segment_ids, head, config.pooling)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_explain(config, error)) from error


class TransformersNetwork:
    """A transformers model of any architecture in evaluation mode: a classifier, one with sentence-transformers' modules as its
    ``head``, or with ``pooling`` an encoder.
    """

    def __init__(
        self,
        model: "PreTrainedModel",
        use_segment_ids: bool,
        head: "Sequence[nn.Module]" = (),
        pooling: Sequence[str] = (),
    ) -> None:
        self._model = model
        self._use_segment_ids = use_segment_ids
        self._head = head
        self._pooling = pooling

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """The logits of a batch of n pairs, float32 of shape (n,), or the pooled vectors of n texts, (n, dimension)."""
        import torch

        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._use_segment_ids:
            inputs["token_type_ids"] = batch.segment_ids
        device = self._model.device
        with torch.inference_mode():
            tensors = {key: torch.from_numpy(value).to(device) for key, value in inputs.items()}
            output = self._model(**tensors)
            if self._pooling:
                mask = tensors["attention_mask"]
                starts = torch.nn.functional.pad(mask.sum(dim=1).cumsum(0), (1, 0))
                scores: Tensor = pool_tensors(output[0][mask.bool()], starts, self._pooling)
            elif self._head:
                scores = self._scores({**tensors, "token_embeddings": output[0]})[:, 0]
            else:
                scores = output.logits[:, 0]
            result: NDArray[np.float32] = scores.float().cpu().numpy()
        return result

    def _scores(self, features: "dict[str, Tensor]") -> "Tensor":
        for module in self._head:
            features = module(features)
        return features[SCORES]


def _load_module(module: HeadModule) -> "nn.Module":
    """A module of sentence-transformers with its weights, which ``model_folder.modules`` has checked to be safetensors."""
    from sentence_transformers.base.modules import Dense
    from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Normalize, Pooling

    classes: dict[str, Any] = {one.__name__: one for one in (Dense, Dropout, LayerNorm, Normalize, Pooling)}
    loaded: nn.Module = classes[module.kind].load(str(module.folder), local_files_only=True)
    return loaded


def _load_with_transformers(config: ModelConfig, weights: Weights, device: str, pad_id: int) -> "PreTrainedModel":
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    from bioqa.rerank.silence_libraries import silence_libraries

    auto_class: Any = AutoModel if config.head or config.pooling else AutoModelForSequenceClassification
    local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    with silence_libraries():
        auto_config = AutoConfig.from_pretrained(config.folder, **local)
        if not any(str(a).endswith("ForSequenceClassification") for a in auto_config.architectures or []):
            auto_config.num_labels = 1  # as in CrossEncoder; a head without weights is refused below
        if auto_config.pad_token_id is None:
            auto_config.pad_token_id = pad_id
        weights.check_config(auto_config, auto_class, allow_other_shapes=bool(config.json.get("quantization_config")))
        model, report = auto_class.from_pretrained(
            config.folder,
            config=auto_config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            **local,
        )
    unused = POOLER if config.pooling else ()
    if missing := sorted(set(report["missing_keys"]).difference(unused)):
        raise ModelError(_explain_missing(config, missing))
    loaded: PreTrainedModel = model.eval().to(device)
    return loaded


def _explain_missing(config: ModelConfig, keys: list[str]) -> str:
    """The message for weights that are missing, which transformers would initialize at random."""
    listed = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    if config.json.get("auto_map"):
        return _needs_code(config)
    if len(keys) <= 6 and not config.pooling:
        return (
            f"{config.name} has no classification head ({listed} missing): it is a base model or a bi-encoder, "
            "not a cross-encoder; train it on pairs first, or name a cross-encoder."
        )
    return (
        f"The weights of the {config.kind} {config.name} do not match its config ({len(keys)} missing: {listed}); "
        "fetch the model again."
    )


def _needs_code(config: ModelConfig) -> str:
    return f"The {config.kind} {config.name} needs code from its own repository (auto_map in its config); bioqa does not run it."


def _explain(config: ModelConfig, error: Exception) -> str:
    if config.json.get("auto_map"):
        return _needs_code(config)
    return f"The {config.kind} {config.name} cannot be loaded from {config.folder}: {first_line(error)}"
