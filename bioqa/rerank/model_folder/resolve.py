"""Find the folder of a reranker or an encoder: the built-in one, a local folder, or a model of the Hugging Face hub."""

import logging
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.errors import ModelError
from bioqa.rerank.model_folder.files import CONFIG_FILE, WEIGHTS_FILE, missing_files
from bioqa.rerank.model_folder.modules import read_modules

DEFAULT_NAME = "default"
DEFAULT_FOLDER = Path(__file__).parents[1] / "default"


class ModelKind(NamedTuple):
    """A kind of models: what messages call one, the built-in model's folder, the owner of hub names given without one (as in
    sentence-transformers), and the option of the command line that names a model.
    """

    name: str
    default_folder: Path
    default_owner: str
    option: str


RERANKER = ModelKind("reranker", DEFAULT_FOLDER, "cross-encoder", "--reranker")

HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
"""Files downloaded from the hub: configuration, safe weights, tokenizer. Never code, never pickles."""

_log = logging.getLogger(__name__)


def resolve_model(name_or_path: str | Path | None, kind: ModelKind | None = None) -> tuple[str, Path]:
    """(display name, folder) of a model: "default" or None (built in), a local folder, or a Hugging Face hub name. ``kind`` is
    ``RERANKER`` unless given.

    A hub model that is in the local cache is used from there without a network request; if files are missing there, as after an
    interrupted download, they are fetched. Raises ModelError if the model is not found, or incomplete and the hub out of reach.
    """
    kind = kind or RERANKER
    if name_or_path is None or name_or_path == DEFAULT_NAME:
        return DEFAULT_NAME, _builtin(kind)
    name = str(name_or_path)
    if not name.strip():
        raise ModelError(f'The {kind.name}\'s name is empty; give "default", a folder or a Hugging Face hub name.')
    folder = Path(name).expanduser()
    if folder.is_dir():
        return name, folder
    if folder.is_file():
        raise ModelError(f"{name} is a file, not a model; name the folder that contains the model's config.json.")
    if isinstance(name_or_path, Path) or _is_path_like(name):
        raise ModelError(f"There is no folder {name} to load the {kind.name} from; check the path.")
    hub_name = name if "/" in name else f"{kind.default_owner}/{name}"
    return hub_name, _from_hub(name, hub_name, kind)


def _builtin(kind: ModelKind) -> Path:
    if not (kind.default_folder / "config.json").is_file():
        raise ModelError(
            f"The built-in {kind.name} is missing from this installation of bioqa ({kind.default_folder}); "
            f"reinstall bioqa, or name another model with {kind.option}."
        )
    return kind.default_folder


def _is_path_like(name: str) -> bool:
    """Whether the name can only be a path, not "owner/model"."""
    return name.startswith((".", "/", "~")) or name.endswith("/") or name.count("/") > 1 or "\\" in name


def _from_hub(given: str, hub_name: str, kind: ModelKind) -> Path:
    """The folder of a hub model, downloaded unless it is cached as a whole. ``given`` is the name as the user wrote it."""
    from huggingface_hub import list_repo_files
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError

    missing: list[str] = []
    try:
        folder = _cached(hub_name)
        if folder is None or (missing := missing_files(folder)):
            folder = _download(hub_name)
            missing = missing_files(folder)
        # Out of reach of the hub, the library may return an incomplete copy as if it were whole.
        on_hub = list_repo_files(hub_name) if missing else []
        if WEIGHTS_FILE not in missing or WEIGHTS_FILE in on_hub:
            return folder
        other = next((f" (it has {file})" for file in sorted(on_hub) if file.endswith((".bin", ".h5", ".msgpack"))), "")
        problem = (
            f"The model {hub_name} has no safetensors weights on the Hugging Face hub{other}; other formats can run code when "
            "opened, so convert it with save_pretrained on a machine where you trust it"
        )
    except ModelError:
        raise
    except HFValidationError:
        problem = f"{given!r} is neither a folder nor a valid name on the Hugging Face hub; check it"
    except GatedRepoError:
        problem = (
            f"The {kind.name} {hub_name} is gated on the Hugging Face hub; accept its terms there and log in "
            "with `hf auth login`"
        )
    except RepositoryNotFoundError:
        problem = f"There is no folder {given}, and no public model {hub_name} on the Hugging Face hub; check the name"
    except Exception:  # no network, a proxy, the hub is down: the same fix for all
        problem = (
            f"The copy of {hub_name} in the local cache is incomplete ({', '.join(missing)} missing), and the Hugging Face hub "
            "cannot be reached to fetch the rest; try again with network access, or use the built-in model "
            f"({kind.option} default)"
            if missing
            else f"There is no folder {given}, {hub_name} is not in the local cache, and the Hugging Face hub cannot be "
            f"reached; run `hf download {hub_name} --local-dir FOLDER` on a machine with network access and name FOLDER, "
            f"or use the built-in model ({kind.option} default)"
        )
    raise ModelError(f"{problem}.")


def _cached(hub_name: str) -> Path | None:
    """The model's folder in the local hub cache, which may be incomplete; None if it is missing."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return _snapshot(hub_name, local_files_only=True)
    except LocalEntryNotFoundError:
        return None


def _download(hub_name: str) -> Path:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    _log.info("downloading %s from the Hugging Face hub", hub_name)
    silent = are_progress_bars_disabled()
    disable_progress_bars()
    try:
        return _snapshot(hub_name)
    finally:
        if not silent:
            enable_progress_bars()


def _snapshot(hub_name: str, **options: Any) -> Path:
    """The folder of a hub model with the files that bioqa reads: those at its top, and those of its modules."""
    from huggingface_hub import snapshot_download

    folder = Path(snapshot_download(hub_name, allow_patterns=HUB_FILES, ignore_patterns=["*/*"], **options))
    modules = [f"{path}/{file}" for _, path in read_modules(folder) if path for file in (CONFIG_FILE, WEIGHTS_FILE)]
    return Path(snapshot_download(hub_name, allow_patterns=modules, **options)) if modules else folder
