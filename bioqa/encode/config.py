"""The JSON files of an encoder's folder, interpreted as ``sentence_transformers.SentenceTransformer`` (6.2) does.

A folder without a modules.json is a plain transformers model, whose token embeddings are averaged.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.encode.head import Dense, read_dense
from bioqa.errors import ModelError, UsageError
from bioqa.rerank.model_folder.config import (
    MODULE_FILES,
    SUPPORTED_MODULE_SETTINGS,
    ModelConfig,
    check_model_folder,
    read_model_config,
)
from bioqa.rerank.model_folder.files import read_json_object
from bioqa.rerank.model_folder.modules import read_modules
from bioqa.rerank.pooling import POOLINGS

MODULES = "a Transformer, Pooling and, optionally, Dense and Normalize"
HIDDEN_STATE = "last_hidden_state"
LEGACY_POOLINGS = {
    "cls": "pooling_mode_cls_token",
    "max": "pooling_mode_max_tokens",
    "mean": "pooling_mode_mean_tokens",
    "mean_sqrt_len_tokens": "pooling_mode_mean_sqrt_len_tokens",
    "weightedmean": "pooling_mode_weightedmean_tokens",
    "lasttoken": "pooling_mode_lasttoken",
}
"""Name → its flag in the config.json of a Pooling module, before sentence-transformers 5.5."""
SIMILARITIES = ("cosine", "dot")


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """What is known of an encoder before its weights are read.

    ``model`` is the transformer with its pooling. The pooled vectors go through ``dense`` and are normalized to length 1 if
    ``normalize``. ``query_prompt`` and ``article_prompt`` are prepended to texts. Vectors are compared by ``similarity`` (in
    ``SIMILARITIES``). ``folders`` are those with the modules' own files.
    """

    model: ModelConfig
    dense: tuple[Dense, ...] = ()
    normalize: bool = False
    query_prompt: str = ""
    article_prompt: str = ""
    similarity: str = "cosine"
    folders: tuple[Path, ...] = ()

    @property
    def pooled_width(self) -> int:
        """The dimension of the pooled vectors."""
        return int(self.model.json["hidden_size"]) * len(self.model.pooling)

    @property
    def dimension(self) -> int:
        """The dimension of the vectors."""
        return self.dense[-1].width if self.dense else self.pooled_width


def read_encoder_config(name: str, folder: Path, pooling: str | None = None) -> EncoderConfig:
    """Read and check the folder's JSON files, and the weights of its Dense modules.

    ``pooling`` replaces the folder's own. Raises ModelError if a file is missing or malformed, or if the model is not an encoder
    of texts of supported modules; UsageError for an unknown ``pooling``.
    """
    if pooling is not None and pooling not in POOLINGS:
        raise UsageError(f"Unknown pooling {pooling!r}; choose from {', '.join(POOLINGS)}.")
    what = f"The encoder {name}"
    check_model_folder(what, folder)
    saved = read_json_object(folder / "config_sentence_transformers.json") or {}
    modules = _modules(what, folder, saved)
    (_, path), *rest = modules or [("Transformer", "")]
    transformer = folder / path if path else folder
    module = next((m for m in (read_json_object(transformer / file) for file in MODULE_FILES) if m), {})
    _check_transformer(what, module)
    poolings: tuple[str, ...] = () if modules else ("mean",)
    dense: list[Dense] = []
    normalize = False
    for kind, path in rest:
        own = folder / path
        if kind == "Pooling":
            poolings = _poolings(what, read_json_object(own / "config.json") or {})
        elif kind == "Dense":
            dense.append(read_dense(what, own))
        normalize = normalize or kind == "Normalize"
    if not poolings:
        raise ModelError(f"{what} has no Pooling module; bioqa supports {MODULES}.")
    config = ModelConfig(
        name=name,
        folder=transformer,
        json=read_model_config(what, transformer),
        max_length=None if module.get("max_seq_length") is None else int(module["max_seq_length"]),
        lower_case=bool(module.get("do_lower_case")),
        kind="encoder",
        pooling=(pooling,) if pooling else poolings,
    )
    if not isinstance(config.json.get("hidden_size"), int):
        raise ModelError(f"{what} has no hidden_size in its config.json, so that the size of its vectors is unknown.")
    prompts = saved.get("prompts") or {}
    similarity = str(saved.get("similarity_fn_name") or "cosine")
    if similarity not in SIMILARITIES:
        raise ModelError(
            f"{what} compares vectors by {similarity[:50]!r}; bioqa supports {' and '.join(SIMILARITIES)}."
        )
    encoder = EncoderConfig(
        config,
        tuple(dense),
        normalize,
        str(prompts.get("query") or ""),
        str(prompts.get("document") or ""),
        similarity,
        tuple(folder / path for _, path in rest),
    )
    _check_widths(what, encoder)
    return encoder


def _modules(what: str, folder: Path, saved: dict[str, Any]) -> list[tuple[str, str]]:
    """(kind, folder below) of each module; empty without a modules.json. Raises ModelError for other modules than ``MODULES``."""
    modules = read_modules(folder)
    if not modules:
        return []
    model_type = str(saved.get("model_type", "SentenceTransformer"))
    if model_type != "SentenceTransformer":
        raise ModelError(f"{what} is not an encoder of texts but a {model_type}; name a bi-encoder.")
    kinds = [type.rpartition(".")[2] for type, _ in modules]
    known = all(type.startswith("sentence_transformers.") for type, _ in modules)
    order = ["Transformer", "Pooling", *["Dense"] * kinds.count("Dense"), *["Normalize"] * kinds.count("Normalize")]
    if not known or [kind for kind in kinds if kind != "Dropout"] != order:
        raise ModelError(
            f"{what} consists of the modules {' + '.join(type for type, _ in modules)}; bioqa supports {MODULES}."
        )
    return [(kind, path) for kind, (_, path) in zip(kinds, modules, strict=True) if kind != "Dropout"]


def _check_transformer(what: str, module: dict[str, Any]) -> None:
    """Refuse settings of the Transformer module that would change vectors and that bioqa does not support."""
    task = module.get("transformer_task", "feature-extraction")
    modality = module.get("modality_config", {})
    output = modality.get("text", {}).get("method_output_name", HIDDEN_STATE)
    if task != "feature-extraction" or "message" in modality or output != HIDDEN_STATE:
        raise ModelError(f"{what} does not read texts as a plain encoder does (its Transformer module runs {task!r}).")
    unsupported = sorted(key for key, value in module.items() if value and key not in SUPPORTED_MODULE_SETTINGS)
    if unsupported:
        raise ModelError(
            f"{what} sets {', '.join(unsupported)} in sentence_bert_config.json, which bioqa does not support."
        )


def _poolings(what: str, settings: dict[str, Any]) -> tuple[str, ...]:
    """The names of a Pooling module's poolings, in the order in which they are concatenated."""
    if settings.get("include_prompt", True) is not True:
        raise ModelError(f"{what} leaves its prompt out of the pooling, which bioqa does not support.")
    mode = settings.get("pooling_mode")
    if mode is None:
        return tuple(name for name, flag in LEGACY_POOLINGS.items() if settings.get(flag)) or ("mean",)
    names = tuple(map(str, mode)) if isinstance(mode, list) else (str(mode),)
    if unknown := [name for name in names if name not in POOLINGS]:
        raise ModelError(f"{what} has the unknown pooling {unknown[0][:50]!r}; bioqa supports {', '.join(POOLINGS)}.")
    return names


def _check_widths(what: str, config: EncoderConfig) -> None:
    """Raise ModelError for a Dense module that does not fit the vectors that it gets."""
    width = config.pooled_width
    for dense in config.dense:
        if dense.weight.shape[1] != width:
            raise ModelError(
                f"The weights of a Dense module of {what[0].lower()}{what[1:]} are for {dense.weight.shape[1]} values, not "
                f"{width}; fetch the model again."
            )
        width = dense.width
