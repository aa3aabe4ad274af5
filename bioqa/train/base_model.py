"""The base model of a training run."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import ModelError, UsageError, first_line
from bioqa.rerank.model_folder.config import label_count
from bioqa.rerank.model_folder.max_length import RELATIVE_POSITIONS, position_count
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER, DEFAULT_NAME
from bioqa.rerank.model_folder.settings import read_settings
from bioqa.rerank.silence_libraries import silence_libraries

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from bioqa.train.recipe import ModelSettings

PACKAGE = "package:"


def load_base_model(settings: "ModelSettings", folder: Path | None = None) -> "CrossEncoder":
    """A cross-encoder with one label, in fp32 on the CPU: ``settings.base``, or the model of the previous stage in ``folder``.

    A base without a classification head, such as a bi-encoder, gets a randomly initialized one (from torch's seed). Code shipped
    with a model is never run.

    Raises:
        ModelError: the model cannot be found or loaded.
        UsageError: its head has several labels and ``replace_head`` is not set, or ``max_length`` is above its limit.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    source = folder or _resolve_base(settings.base)
    options: dict[str, Any] = {"dtype": torch.float32, "ignore_mismatched_sizes": settings.replace_head}
    activation = {"activation_fn": getattr(torch.nn, settings.activation)()} if settings.activation else {}
    try:
        with silence_libraries():
            config = AutoConfig.from_pretrained(source, trust_remote_code=False).to_dict()
            _check(settings, config)
            model: CrossEncoder = CrossEncoder(
                str(source),
                num_labels=1,
                max_length=settings.max_length,
                device="cpu",
                model_kwargs=options,
                model_card_data=offline_card_data(),
                **activation,
            )
            return model
    except UsageError:
        raise
    except Exception as error:
        raise ModelError(
            f"The base model {settings.base} cannot be loaded: {first_line(error)} Set model.base to a folder, or to a model of "
            "the Hugging Face hub that is reachable, with --set model.base=…."
        ) from error


def base_weight(settings: "ModelSettings") -> float:
    """The first-stage weight of the base model: that in its folder's bioqa.json, else 0. Raises ModelError if it is damaged."""
    source = _resolve_base(settings.base)
    return read_settings(source).first_stage_weight if isinstance(source, Path) else 0.0


def offline_card_data() -> Any:
    """Model card data that sentence-transformers fills without querying the hub."""
    from sentence_transformers.cross_encoder import CrossEncoderModelCardData

    return CrossEncoderModelCardData(local_files_only=True, language="en", generate_widget_examples=False)


def _resolve_base(base: str) -> Path | str:
    """The folder of a base model, or its name on the Hugging Face hub."""
    if base == DEFAULT_NAME:
        return DEFAULT_FOLDER
    if base.startswith(PACKAGE):
        return _in_package(base.removeprefix(PACKAGE))
    folder = Path(base).expanduser()
    if folder.is_dir():
        return folder
    if base.startswith((".", "/", "~")) or base.count("/") > 1:
        raise ModelError(
            f"There is no base model folder {base}. Check the path, or set another with --set model.base=…."
        )
    return base


def _in_package(name: str) -> Path:
    """The model folder inside an installed package, found without importing the package."""
    found = importlib.util.find_spec(name)
    for root in (found and found.submodule_search_locations) or ():
        for config in sorted(Path(root).rglob("config.json")):
            if any(config.parent.glob("*.safetensors")):
                return config.parent
    problem = "contains no model" if found else "is not installed"
    raise ModelError(f"The Python package {name} {problem}. Install it, or set another base with --set model.base=….")


def _check(settings: "ModelSettings", config: dict[str, Any]) -> None:
    """Refuse a head with several labels unless it is to be replaced, and a ``max_length`` above the model's positions."""
    labels = label_count(config)
    if labels != 1 and not settings.replace_head:
        raise UsageError(
            f"The base model {settings.base} has a head with {labels} labels; a reranker has one. "
            "Set model.replace_head = true to replace the head."
        )
    limit = position_count(config)
    if limit is not None and settings.max_length > limit and config.get("model_type") not in RELATIVE_POSITIONS:
        raise UsageError(
            f"model.max_length is {settings.max_length}, but {settings.base} reads at most {limit} tokens. "
            f"Set model.max_length={limit} or less."
        )
