"""The modules of a sentence-transformers cross-encoder: a Transformer, and what pools and scores its token embeddings.

Since sentence-transformers 5.4 a cross-encoder may be a Transformer + Pooling + Dense + LayerNorm + Dense, each in its own folder.
"""

from pathlib import Path
from typing import Any, NamedTuple

from bioqa.errors import ModelError
from bioqa.rerank.model_folder.files import WEIGHTS_FILE, check_files, read_json, read_json_object

HEAD_MODULES = frozenset({"Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"})
WITH_WEIGHTS = frozenset({"Dense", "LayerNorm"})
SCORES = "scores"
"""The output of the last module, of one feature."""

_NAMES = ("ELU", "GELU", "LeakyReLU", "LogSigmoid", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh")
ACTIVATIONS = frozenset(
    {"torch.nn.modules.linear.Identity", *(f"torch.nn.modules.activation.{name}" for name in _NAMES)}
)
"""Activations of a Dense module; others are not created, as they could be any code."""


class HeadModule(NamedTuple):
    """A module after the Transformer: its kind (in ``HEAD_MODULES``), its folder and its settings."""

    kind: str
    folder: Path
    settings: dict[str, Any]


def read_modules(folder: Path) -> list[tuple[str, str]]:
    """(class, folder below) of each module of a model folder; empty without a modules.json.

    Raises ModelError if modules.json is no list of modules, or one is outside the folder.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    try:
        modules = [(str(module["type"]), str(module.get("path", ""))) for module in read_json(path)]
    except (TypeError, KeyError, AttributeError) as error:
        raise ModelError(f"{path} is not a list of modules; fetch the model again.") from error
    for _, name in modules:
        if name and (Path(name).name != name or name in (".", "..") or "\\" in name or "\0" in name):
            raise ModelError(
                f"{path} names the folder {name[:100]!r}, which is not in the model's own; fetch the model again."
            )
    return modules


def check_module_weights(what: str, folder: Path) -> None:
    """Raise ModelError, naming the module ``what``, if it has no safetensors weights."""
    if not (folder / WEIGHTS_FILE).is_file():
        raise ModelError(
            f"{what} has no {WEIGHTS_FILE}; other formats can run code when opened, so save the model with save_pretrained on a "
            "machine where you trust it."
        )


def read_head(name: str, folder: Path) -> tuple[HeadModule, ...]:
    """The modules after the Transformer; empty for a classifier.

    Raises ModelError if one is missing, has no safetensors weights, or could run code, or if the last does not give one score.
    """
    head = []
    for type, path in read_modules(folder)[1:]:
        kind, own = type.rpartition(".")[2], folder / path
        what = f"The module {path} ({kind}) of the reranker {name}"
        if not own.is_dir():
            raise ModelError(f"{what} is missing; fetch the model again.")
        check_files(what, own)
        settings = read_json_object(own / "config.json") or {}
        if kind in WITH_WEIGHTS:
            check_module_weights(what, own)
        if kind == "Dense" and settings.get("activation_function") not in (None, *ACTIVATIONS):
            raise ModelError(f"{what} has the unknown activation {str(settings['activation_function'])[:100]!r}.")
        if kind == "Pooling" and settings.get("include_prompt") is False:
            raise ModelError(f"{what} leaves the prompt out of its mean, which bioqa does not support.")
        head.append(HeadModule(kind, own, settings))
    if head and (head[-1].kind, head[-1].settings.get("module_output_name"), head[-1].settings.get("out_features")) != (
        "Dense",
        SCORES,
        1,
    ):
        raise ModelError(
            f"The last module of the reranker {name} is not a Dense with one score; a reranker needs one label."
        )
    return tuple(head)
