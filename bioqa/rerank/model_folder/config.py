"""The JSON files of a model folder, interpreted as ``sentence_transformers.CrossEncoder`` (6.2) does.

There are two layouts: a plain transformers folder (config.json, to which sentence-transformers before 6 adds its activation),
and one with a modules.json, whose settings are in config_sentence_transformers.json and sentence_bert_config.json.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import ModelError
from bioqa.rerank.activations import DEFAULT_ACTIVATION, activation_name
from bioqa.rerank.model_folder.files import (
    ADAPTER_CONFIG_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_files,
    has_tokenizer,
    read_json_object,
    weight_files,
)
from bioqa.rerank.model_folder.modules import HEAD_MODULES, HeadModule, read_head, read_modules
from bioqa.rerank.model_folder.settings import DEFAULTS, RerankerSettings, read_settings

MODULE_FILES = [
    f"sentence_{kind}_config.json"
    for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
SUPPORTED_MODULE_SETTINGS = {
    "transformer_task",
    "modality_config",
    "module_output_name",
    "max_seq_length",
    "do_lower_case",
    "unpad_inputs",
}
"""Keys of sentence_bert_config.json that are either read here or do not affect scores."""

COUNTS = {r"(.*_)?(layers?|groups?|group_num|blocks?|experts?)": 1_000, r"num_labels": 1_000_000}
"""Keys of config.json from which transformers makes as many objects before it looks at the weights, and the most that any model
has."""


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What is known of a model before its weights are read.

    ``name`` is what messages call the model. ``json`` is config.json. ``activation`` is a key of ``activations.SCALES``.
    ``prompt`` is prepended to every question. ``max_length`` is the length in tokens that sentence-transformers saved, None if
    the tokenizer's applies. ``lower_case`` asks for text to be lower-cased whatever the tokenizer does. ``head`` are the folders
    of the modules after the Transformer, which pool its token embeddings and score them; without any, the Transformer is a
    classifier. ``settings`` is bioqa.json. ``kind`` is what messages call such a model. ``pooling`` is how an encoder makes one
    vector of a text's token embeddings (names of ``pooling.POOLINGS``, concatenated); empty for a classifier.
    """

    name: str
    folder: Path
    json: dict[str, Any]
    activation: str = DEFAULT_ACTIVATION
    prompt: str = ""
    max_length: int | None = None
    lower_case: bool = False
    head: tuple[HeadModule, ...] = ()
    settings: RerankerSettings = DEFAULTS
    kind: str = "reranker"
    pooling: tuple[str, ...] = ()


def read_config(name: str, folder: Path) -> ModelConfig:
    """Read and check the folder's JSON files.

    Raises ModelError if one is missing or malformed, or if the model is not a cross-encoder with one label.
    """
    check_model_folder(f"The reranker {name}", folder)
    saved, module = _sentence_transformers(name, folder)
    config = read_model_config(f"The reranker {name}", folder)
    _check_config(name, config)
    if not (folder / "modules.json").is_file() and _has_chat_template(folder):
        raise ModelError(f"The reranker {name} formats its pairs with a chat template, which bioqa does not support.")
    return ModelConfig(
        name=name,
        folder=folder,
        json=config,
        activation=_activation(name, saved, config),
        prompt=_prompt(name, saved),
        max_length=_module_length(module),
        lower_case=bool(module.get("do_lower_case")),
        head=read_head(name, folder),
        settings=read_settings(folder),
    )


def check_model_folder(name: str, folder: Path) -> None:
    """Raise ModelError for a folder with only an adapter, and for files that cannot be read (see ``files.check_files``).

    ``name`` is what messages call the model, such as "The reranker X".
    """
    if (folder / ADAPTER_CONFIG_FILE).exists():
        raise ModelError(
            f"{name} is a PEFT adapter, not a whole model ({ADAPTER_CONFIG_FILE} in {folder}); merge it into its base model "
            "(merge_and_unload) and save that with save_pretrained."
        )
    check_files(name, folder)


def read_model_config(name: str, folder: Path) -> dict[str, Any]:
    """config.json. ``name`` is as in ``check_model_folder``.

    Raises ModelError if it is missing, malformed, or makes transformers read other weights or build a model without end.
    """
    config = read_json_object(folder / CONFIG_FILE)
    if config is None:
        if has_tokenizer(folder) or any(path.exists() for path in weight_files(folder)):
            raise ModelError(f"{name} is incomplete: {CONFIG_FILE} is missing in {folder}; fetch the model again.")
        raise ModelError(f"{folder} is not a model folder: it has no {CONFIG_FILE}.")
    check_counts(name, config)
    other = config.get("transformers_weights")
    if other not in (None, WEIGHTS_FILE):
        raise ModelError(
            f"{name} sets transformers_weights to {str(other)[:100]!r} in its {CONFIG_FILE}; bioqa reads only {WEIGHTS_FILE}. "
            "Save the model with save_pretrained."
        )
    return config


def check_counts(name: str, config: dict[str, Any]) -> None:
    """Raise ModelError if config.json, the content of which is given, exceeds ``COUNTS``."""
    for key, value in _numbers(config):
        for pattern, limit in COUNTS.items():
            if value > limit and re.fullmatch(pattern, key):
                raise ModelError(
                    f"{name} has an impossible {CONFIG_FILE}: {key} is more than {limit:,}. Fetch it again."
                )


def _numbers(config: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """The keys and values of all numbers in an object and the objects in it."""
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _numbers(value)
        elif isinstance(value, int | float):
            yield key, value


def _check_config(name: str, config: dict[str, Any]) -> None:
    """Refuse, by its config, what cannot be a one-label sequence classifier run by code that is installed here."""
    architectures = _architectures(config)
    if any(a.endswith("ForCausalLM") for a in architectures):
        raise ModelError(f"{name} is a generative model ({architectures[0]}), not a cross-encoder with one label.")
    if "/" in str(config.get("attn_implementation") or ""):
        raise ModelError(f"The reranker {name} needs an attention kernel from the hub; bioqa does not run remote code.")
    labels = label_count(config)
    if labels != 1:
        raise ModelError(f"The reranker {name} has {labels} labels; a reranker needs a cross-encoder with exactly one.")


def _architectures(config: dict[str, Any]) -> list[str]:
    listed = config.get("architectures")
    return [str(a) for a in listed] if isinstance(listed, list) else []


def label_count(config: dict[str, Any]) -> int:
    """The number of outputs of the classification head, by config.json; 1 if it is not a classifier's (as in CrossEncoder)."""
    if not any(a.endswith("ForSequenceClassification") for a in _architectures(config)):
        return 1
    labels = config.get("id2label")
    return len(labels) if isinstance(labels, dict) else int(config.get("num_labels", 2))


def _has_chat_template(folder: Path) -> bool:
    tokenizer = read_json_object(folder / "tokenizer_config.json") or {}
    return bool(tokenizer.get("chat_template")) or (folder / "chat_template.jinja").is_file()


def _sentence_transformers(name: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """config_sentence_transformers.json and the Transformer module's settings; both empty without a modules.json."""
    path = folder / "modules.json"
    if not path.is_file():
        return {}, {}
    saved = read_json_object(folder / "config_sentence_transformers.json") or {}
    modular = _check_modules(name, path, str(saved.get("model_type", "SentenceTransformer")))
    module = next((m for m in (read_json_object(folder / file) for file in MODULE_FILES) if m), {})
    _check_module(name, module, "feature-extraction" if modular else "sequence-classification")
    return saved, module


def _check_modules(name: str, path: Path, model_type: str) -> bool:
    """Whether there are modules after the Transformer. Raises ModelError unless it is a cross-encoder of supported modules."""
    types = [type for type, _ in read_modules(path.parent)]
    kinds = [type.rpartition(".")[2] for type in types]
    if model_type != "CrossEncoder":
        raise ModelError(
            f"{name} is not a cross-encoder but a {model_type} ({' + '.join(kinds)}): it embeds single texts (a "
            "bi-encoder) and cannot score a question with a passage; name a cross-encoder."
        )
    known = all(type.startswith("sentence_transformers.") for type in types)
    if not known or kinds[:1] != ["Transformer"] or not HEAD_MODULES.issuperset(kinds[1:]):
        raise ModelError(
            f"The reranker {name} consists of the modules {' + '.join(types)}; bioqa supports a Transformer of its own, or "
            f"followed by {', '.join(sorted(HEAD_MODULES))}."
        )
    return len(kinds) > 1


def _check_module(name: str, module: dict[str, Any], expected: str) -> None:
    """Refuse settings of the Transformer module that would change scores and that bioqa does not support."""
    task = module.get("transformer_task", "feature-extraction")
    if task != expected:
        raise ModelError(f"The reranker {name} runs its model for {task!r}, not for {expected.replace('-', ' ')}.")
    if "message" in module.get("modality_config", {}):
        raise ModelError(f"The reranker {name} formats its pairs with a chat template, which bioqa does not support.")
    unsupported = sorted(key for key, value in module.items() if value and key not in SUPPORTED_MODULE_SETTINGS)
    if unsupported:
        raise ModelError(
            f"The reranker {name} sets {', '.join(unsupported)} in sentence_bert_config.json, which bioqa does not support."
        )


def _module_length(module: dict[str, Any]) -> int | None:
    length = module.get("max_seq_length")
    return None if length is None else int(length)


def _activation(name: str, saved: dict[str, Any], config: dict[str, Any]) -> str:
    """The activation from the first of the three places that has one, else the default."""
    inner = config.get("sentence_transformers")
    path = saved.get("activation_fn")
    if path is None and isinstance(inner, dict) and "activation_fn" in inner:
        path = inner["activation_fn"]
    elif path is None:
        path = config.get("sbert_ce_default_activation_function")
    return DEFAULT_ACTIVATION if path is None else activation_name(str(path), name)


def _prompt(name: str, saved: dict[str, Any]) -> str:
    """The default prompt, which sentence-transformers prepends to the first text of every pair."""
    chosen = saved.get("default_prompt_name")
    if chosen is None:
        return ""
    prompts = saved.get("prompts")
    if not isinstance(prompts, dict) or chosen not in prompts:
        raise ModelError(f"The reranker {name} names the default prompt {chosen!r} but does not define it.")
    return str(prompts[chosen] or "")
