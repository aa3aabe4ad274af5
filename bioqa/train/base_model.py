"""The base model of a training run."""

import importlib.util
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bioqa.errors import BioqaError, ModelError, UsageError, first_line
from bioqa.rerank.model_folder.config import check_counts, check_model_folder, label_count, read_model_config
from bioqa.rerank.model_folder.files import read_json_object, weight_files
from bioqa.rerank.model_folder.max_length import RELATIVE_POSITIONS, position_count
from bioqa.rerank.model_folder.modules import read_modules
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER, DEFAULT_NAME
from bioqa.rerank.model_folder.settings import read_settings
from bioqa.rerank.model_folder.tokenizer import lost_word, lower_cases
from bioqa.rerank.model_folder.weights import Weights
from bioqa.rerank.silence_libraries import silence_libraries

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

    from bioqa.train.recipe import ModelSettings

PACKAGE = "package:"

_log = logging.getLogger(__name__)


def load_base_model(settings: "ModelSettings", folder: Path | None = None) -> "CrossEncoder":
    """A cross-encoder with one label, in fp32 on the CPU: ``settings.base``, or the model of the previous stage in ``folder``.

    A base without a classification head, such as a bi-encoder, gets a randomly initialized one (from torch's seed). Code shipped
    with a model is never run.

    Raises:
        ModelError: the model cannot be found or loaded, its weights do not fit its config, or it has no padding token.
        UsageError: its head has several labels and ``replace_head`` is not set, ``max_length`` is above its limit, or ``case``
            does not apply to its tokenizer.
    """
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoConfig

    source = folder or _resolve_base(settings.base)
    loading: dict[str, Any] = {"dtype": torch.float32, "ignore_mismatched_sizes": settings.replace_head}
    activation = {"activation_fn": getattr(torch.nn, settings.activation)()} if settings.activation else {}
    options = {"processor_kwargs": {"do_lower_case": settings.case == "uncased"}} if settings.case else {}
    try:
        with silence_libraries():
            _check_files(settings, source)
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            _check(settings, config.to_dict())
            if isinstance(source, Path):
                _check_weights(settings, source, config)
            model: CrossEncoder = CrossEncoder(
                str(source),
                num_labels=1,
                max_length=settings.max_length,
                device="cpu",
                model_kwargs=loading,
                model_card_data=offline_card_data(),
                **activation,
                **options,
            )
    except BioqaError:
        raise
    except Exception as error:
        raise ModelError(
            f"The base model {settings.base} cannot be loaded: {first_line(error)} Set model.base to a folder, or to a model of "
            "the Hugging Face hub that is reachable, with --set model.base=…."
        ) from error
    _check_tokenizer(settings, model)
    return model


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
            if all(path.is_file() for path in weight_files(config.parent)):
                return config.parent
    problem = "contains no model" if found else "is not installed"
    raise ModelError(f"The Python package {name} {problem}. Install it, or set another base with --set model.base=….")


def _check_files(settings: "ModelSettings", source: Path | str) -> None:
    """Raise ModelError for an adapter, and for what ``read_model_config`` and ``check_files`` refuse."""
    from transformers import PretrainedConfig
    from transformers.utils.peft_utils import find_adapter_config_file

    name = f"The base model {settings.base}"
    if isinstance(source, Path):
        check_model_folder(name, source)
        read_model_config(name, source)
        kinds = [type.rpartition(".")[2] for type, _ in read_modules(source)][1:]
        saved = read_json_object(source / "config_sentence_transformers.json") or {}
        if kinds and saved.get("model_type") == "CrossEncoder":  # the modules of a bi-encoder are left behind
            raise ModelError(
                f"{name} scores with modules of its own ({' + '.join(kinds)}), which bioqa does not train. Set model.base to the "
                "model that it was trained from."
            )
        return
    if find_adapter_config_file(source):
        raise ModelError(
            f"{name} is a PEFT adapter, not a whole model; merge it into its base model (merge_and_unload), save that with "
            "save_pretrained and name its folder."
        )
    check_counts(name, PretrainedConfig.get_config_dict(source)[0])


def _check_weights(settings: "ModelSettings", folder: Path, config: Any) -> None:
    """Raise ModelError if the folder's safetensors weights are damaged or do not fit its config. Other formats are not checked."""
    if any(folder.glob("*.bin")) and not any(path.exists() for path in weight_files(folder)):
        return
    from transformers import AutoModelForSequenceClassification

    weights = Weights(f"the base model {settings.base}", folder)
    weights.check_config(config, AutoModelForSequenceClassification, allow_other_shapes=settings.replace_head)


def _check_tokenizer(settings: "ModelSettings", model: "CrossEncoder") -> None:
    """Give the model the padding token of its tokenizer, check ``settings.case``, and warn of a cased vocabulary in lower case."""
    tokenizer: Any = model.tokenizer
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"The tokenizer of the base model {settings.base} has no padding token, so it cannot be trained in batches. Set "
            "pad_token in its tokenizer_config.json."
        )
    transformer: Any = model.model
    if transformer.config.pad_token_id is None:
        transformer.config.pad_token_id = tokenizer.pad_token_id
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    if settings.case and lower_cases(backend) != (settings.case == "uncased"):
        raise UsageError(f"model.case cannot be {settings.case!r} with the tokenizer of {settings.base}. Leave it out.")
    if word := lost_word(backend):
        _log.warning(
            f"The base model {settings.base} lower-cases text, but its vocabulary is cased: words such as {word!r} are never "
            "found. Unless it was pretrained so, set model.case=cased."
        )


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
