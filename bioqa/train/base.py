"""The model that a training begins with."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import ModelError, UsageError, first_line
from bioqa.rerank.model_folder.config import label_count
from bioqa.rerank.model_folder.max_length import RELATIVE_POSITIONS, position_count
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER, DEFAULT_NAME
from bioqa.rerank.silence_libraries import silence_libraries

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from bioqa.train.recipe import ModelSettings

PACKAGE = "package:"


def load_base(settings: "ModelSettings", folder: Path | None = None) -> "CrossEncoder":
    """A cross-encoder with one label, in fp32 on CPU: ``settings.base``, or what a stage before wrote to ``folder``.

    A base without a head gets a fresh one, drawn from torch's seed; so does a bi-encoder. No code of a model is run.

    Raises:
        ModelError: it cannot be found or loaded.
        UsageError: its head has several labels and is not to be replaced, or it cannot read as many tokens.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    place = folder or _place(settings.base)
    options: dict[str, Any] = {"dtype": torch.float32, "ignore_mismatched_sizes": settings.replace_head}
    activation = {"activation_fn": getattr(torch.nn, settings.activation)()} if settings.activation else {}
    try:
        with silence_libraries():
            config = AutoConfig.from_pretrained(place, trust_remote_code=False).to_dict()
            _check(settings, config)
            model: CrossEncoder = CrossEncoder(
                str(place),
                num_labels=1,
                max_length=settings.max_length,
                device="cpu",
                model_kwargs=options,
                model_card_data=card_data(),
                **activation,
            )
            return model
    except UsageError:
        raise
    except Exception as error:
        raise ModelError(
            f"The base model {settings.base} cannot be loaded: {first_line(error)} Name a folder, or a model of the Hugging "
            "Face hub that can be reached, with --set model.base=…."
        ) from error


def card_data() -> Any:
    """Data of a model card that is filled without asking the hub."""
    from sentence_transformers.cross_encoder import CrossEncoderModelCardData

    return CrossEncoderModelCardData(local_files_only=True, language="en", generate_widget_examples=False)


def _place(base: str) -> Path | str:
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
            f"There is no folder {base} with a base model. Check the path, or name another with --set model.base=…."
        )
    return base


def _in_package(name: str) -> Path:
    """The folder of an installed package that holds a model, found without importing the package."""
    found = importlib.util.find_spec(name)
    for root in (found and found.submodule_search_locations) or ():
        for config in sorted(Path(root).rglob("config.json")):
            if any(config.parent.glob("*.safetensors")):
                return config.parent
    what = "holds no model" if found else "is not installed"
    raise ModelError(f"The Python package {name} {what}. Install it, or name another base with --set model.base=….")


def _check(settings: "ModelSettings", config: dict[str, Any]) -> None:
    """Refuse a head of several labels that is to be kept, and more tokens than the model has positions."""
    labels = label_count(config)
    if labels != 1 and not settings.replace_head:
        raise UsageError(
            f"The base model {settings.base} has a head with {labels} labels; a reranker has one. "
            "Set model.replace_head = true to give it a fresh head."
        )
    reach = position_count(config)
    if reach is not None and settings.max_length > reach and config.get("model_type") not in RELATIVE_POSITIONS:
        raise UsageError(
            f"model.max_length is {settings.max_length}, but {settings.base} reads {reach} tokens at most. "
            f"Set model.max_length={reach} or less."
        )
