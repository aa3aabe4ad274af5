"""The network of a model folder, loaded in fp32 and ready to be called with batches."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError
from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.exact_bert import load_bert
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.tokenizer import reason

if TYPE_CHECKING:
    from transformers import PreTrainedModel


Deferred = Callable[[], NDArray[np.float32]]
"""Waits for the logits of a batch that a device is computing meanwhile."""


class Network(Protocol):
    """Anything that scores batches: the exact fp32 networks here, ``int8.Int8Network``, ``gpu.GpuNetwork``."""

    def __call__(self, batch: Batch) -> NDArray[np.float32] | Deferred:
        """Logits of a batch of n pairs, float32 of shape (n,), or what waits for them. Must be callable from several threads at
        once, and again before an earlier batch was waited for.
        """


def load_network(settings: ModelConfig, device: str, *, segments: bool) -> Network:
    """Read the weights, from safetensors only, as fp32.

    ``segments``: the tokenizer gives segment ids. Raises ModelError where the weights are missing, damaged, pickled,
    without a classification head, or need code that is not installed here.
    """
    folder, name = settings.folder, settings.name
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"The reranker {name} has no safetensors weights (model.safetensors) in {folder}; other formats "
            "(pytorch_model.bin) can run code when opened, so convert it with save_pretrained where you trust it."
        )
    try:
        return load_bert(settings, device, segments=segments) or TransformersNetwork(_load(settings, device), segments)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(_explain(settings, error)) from error


class TransformersNetwork:
    """A transformers sequence-classification model of any architecture, in evaluation mode."""

    def __init__(self, model: "PreTrainedModel", segments: bool) -> None:
        self._model = model
        self._segments = segments

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch of n pairs: float32 of shape (n,)."""
        import torch

        inputs = {"input_ids": batch.ids, "attention_mask": batch.mask}
        if self._segments:
            inputs["token_type_ids"] = batch.types
        device = self._model.device
        with torch.inference_mode():
            output = self._model(**{key: torch.from_numpy(value).to(device) for key, value in inputs.items()})
            logits: NDArray[np.float32] = output.logits[:, 0].float().cpu().numpy()
        return logits


def _load(settings: ModelConfig, device: str) -> "PreTrainedModel":
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from bioqa.rerank.silence_libraries import quiet

    local: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    with quiet():
        config = AutoConfig.from_pretrained(settings.folder, **local)
        if not any(str(a).endswith("ForSequenceClassification") for a in config.architectures or []):
            config.num_labels = 1  # as in CrossEncoder; a head that is not in the weights is refused below
        model, report = AutoModelForSequenceClassification.from_pretrained(
            settings.folder, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True, **local
        )
    if report["missing_keys"]:
        raise ModelError(_missing(settings, sorted(report["missing_keys"])))
    loaded: PreTrainedModel = model.eval().to(device)
    return loaded


def _missing(settings: ModelConfig, keys: list[str]) -> str:
    """What to say of weights that transformers would fill with random numbers."""
    listed = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    if settings.config.get("auto_map"):
        return _needs_code(settings)
    if len(keys) <= 6:
        return (
            f"{settings.name} has no classification head ({listed} missing): it is a base model or a bi-encoder, "
            "not a cross-encoder; train it on pairs first, or name a cross-encoder."
        )
    return (
        f"The weights of the reranker {settings.name} do not fit its config ({len(keys)} missing: {listed}); "
        "fetch the model again."
    )


def _needs_code(settings: ModelConfig) -> str:
    return f"The reranker {settings.name} needs code from its own repository (auto_map in its config); bioqa runs none."


def _explain(settings: ModelConfig, error: Exception) -> str:
    if settings.config.get("auto_map"):
        return _needs_code(settings)
    if type(error).__name__ == "SafetensorError":
        return f"The weights of the reranker {settings.name} are damaged ({reason(error)[:-1]}); fetch the model again."
    return f"The reranker {settings.name} cannot be loaded from {settings.folder}: {reason(error)}"
