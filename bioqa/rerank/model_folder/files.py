"""The files of a model folder: which ones a model needs, and reading them within limits, as they may come from anyone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bioqa.errors import ModelError

CONFIG_FILE = "config.json"
ADAPTER_CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
"""Names the files of weights that are split: {"weight_map": {weight: file}}. It counts only without a ``WEIGHTS_FILE``."""

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model", "*.tiktoken")
"""A tokenizer needs one of these files. Without any, transformers 5 silently makes up an empty vocabulary."""

MODEL_SUFFIXES = (".json", ".jinja", ".txt", ".model", ".tiktoken", ".safetensors", ".bin")
VOCABULARY_SUFFIXES = (".txt", ".model", ".tiktoken")
VOCABULARY_FILES = ("tokenizer.json", "vocab.json")
MAX_VOCABULARY_BYTES = 128 << 20
MAX_JSON_BYTES = 16 << 20
"""Limit of the other JSON files that bioqa or transformers reads: parsed, they take some twenty times the memory."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""Start of the file of a few lines that Git leaves in place of a large one."""


def check_files(name: str, folder: Path) -> None:
    """Refuse files that could not be read whole in reasonable time and memory, whichever library reads them.

    Raises ModelError for a pipe or a device, a link to nothing, a Git LFS pointer and a file that is too large for what it is.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix in MODEL_SUFFIXES and not path.is_dir())
        for path in paths:
            if problem := _file_problem(path):
                raise ModelError(f"{name} cannot be loaded: {path} {problem}.")
    except OSError as error:
        raise ModelError(f"{name} cannot be loaded: {folder} cannot be read ({error.strerror or error}).") from error


def _file_problem(path: Path) -> str | None:
    """What is wrong with a file of a model folder, as the end of a sentence; None if nothing is."""
    if not path.exists():
        return f"is a link to {path.readlink()}, which is missing; fetch the model again"
    if not path.is_file():
        return "is a pipe or a device, not a regular file; name a folder with the model's own files"
    size, limit = path.stat().st_size, _max_bytes(path.name)
    if limit is not None and size > limit:
        return f"has {size:,} bytes, more than the {limit:,} that bioqa reads of such a file; fetch the model again"
    if 0 < size < 1024:
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                return "is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`"
    return None


def _max_bytes(name: str) -> int | None:
    """The largest size of a file that is read whole, by its name; None for files that are not."""
    if name in VOCABULARY_FILES or name.endswith(VOCABULARY_SUFFIXES):
        return MAX_VOCABULARY_BYTES
    known = ("modules.json", "bioqa.json", "special_tokens_map.json", "added_tokens.json", WEIGHTS_INDEX_FILE)
    return MAX_JSON_BYTES if name in known or "config" in name or name.endswith(".jinja") else None


def read_json(path: Path) -> Any:
    """The content of a JSON file, None if there is no such file. Raises ModelError if it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); fetch the model again.") from error


def read_json_object(path: Path) -> dict[str, Any] | None:
    """As ``read_json``, of a file that must contain an object."""
    content = read_json(path)
    if content is None and not path.exists():
        return None
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object, as a model folder should have; fetch the model again.")
    return content


def weight_files(folder: Path) -> list[Path]:
    """The files with a model's weights, whether they exist or not: model.safetensors, or those that its index names.

    Raises ModelError for an index that is damaged or names files outside the folder.
    """
    if (folder / WEIGHTS_FILE).exists() or not (folder / WEIGHTS_INDEX_FILE).exists():
        return [folder / WEIGHTS_FILE]
    return [folder / name for name in sorted(set(weight_map(folder).values()))]


def weight_map(folder: Path) -> dict[str, str]:
    """The name of each weight's file, by the index of weights that are split. Raises ModelError as ``weight_files``."""
    path = folder / WEIGHTS_INDEX_FILE
    files = (read_json_object(path) or {}).get("weight_map")
    if not isinstance(files, dict) or not files or not all(map(_is_weights_name, files.values())):
        raise ModelError(
            f'{path} is damaged: its "weight_map" should name the .safetensors file of each weight, all in the same folder; '
            "fetch the model again."
        )
    return files


def _is_weights_name(name: object) -> bool:
    return isinstance(name, str) and name.endswith(".safetensors") and not {"/", "\\", "\0"} & set(name)


def missing_files(folder: Path) -> list[str]:
    """The names of the files that a model needs and the folder lacks, as after an interrupted download; empty if it is whole.

    Raises ModelError as ``weight_files``.
    """
    return list(dict.fromkeys(_missing_files(folder)))


def _missing_files(folder: Path) -> Iterator[str]:
    if (folder / ADAPTER_CONFIG_FILE).exists():
        return  # refused whatever is missing
    if not (folder / CONFIG_FILE).exists():
        yield CONFIG_FILE
    yield from (path.name for path in weight_files(folder) if not path.exists())
    if not has_tokenizer(folder):
        yield TOKENIZER_FILES[0]
    found = folder.iterdir() if folder.is_dir() else ()
    yield from sorted(path.name for path in found if path.is_symlink() and not path.exists())


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder has one of ``TOKENIZER_FILES``."""
    return any(next(folder.glob(pattern), None) for pattern in TOKENIZER_FILES)
