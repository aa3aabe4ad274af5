"""The model families that the cpu-int8 and gpu engines compute themselves, and their weights in safetensors files."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError
from bioqa.rerank.engines.exact_bert import unusual
from bioqa.rerank.model_folder.config import ModelConfig

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Architecture:
    """What tells the families apart: prefix of the encoder's weights, the head's two layers, and position id of the first token."""

    prefix: str
    head: tuple[str, str]
    first_position: int


FAMILIES = {
    "BertForSequenceClassification": Architecture("bert.", ("bert.pooler.dense", "classifier"), 0),
    "RobertaForSequenceClassification": Architecture("roberta.", ("classifier.dense", "classifier.out_proj"), 2),
    "XLMRobertaForSequenceClassification": Architecture("roberta.", ("classifier.dense", "classifier.out_proj"), 2),
}
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def outside_families(settings: ModelConfig) -> str:
    """Why a model is none of ``FAMILIES``, as the end of a sentence; "" where it is one."""
    config = settings.config
    names = config.get("architectures") or ["a model without a named architecture"]
    if names[0] not in FAMILIES:
        return f"it is {names[0]}, and not of the BERT or XLM-RoBERTa family"
    if config.get("model_type") not in MODEL_TYPES:
        return f"its model_type is {config.get('model_type')!r}"
    if strange := unusual(config):
        return f"{strange} in its config"
    if FAMILIES[names[0]].first_position and config.get("pad_token_id") != 1:
        return "its padding token is not 1, which its positions are counted from"
    return ""


class Weights:
    """The weights in the safetensors files of a folder, mapped into memory and not read until they are used."""

    def __init__(self, settings: ModelConfig) -> None:
        """Read the headers. Raises ModelError where a file is damaged."""
        self._name = settings.name
        self.files = sorted(settings.folder.glob("*.safetensors"))
        self._found: dict[str, tuple[Path, str, list[int], int]] = {}
        for path in self.files:
            try:
                self._read_header(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(
                    f"The weights of the reranker {self._name} are damaged ({path.name}: {error}); fetch the model again."
                ) from error

    def _read_header(self, path: Path) -> None:
        """Read a header: 8 bytes with the header's length, the header as JSON, then the bytes of all weights."""
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        end = 8 + length + max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        if end != path.stat().st_size:
            raise ValueError(f"it has {path.stat().st_size:,} bytes instead of {end:,}")
        for name, entry in header.items():
            if name != "__metadata__":
                self._found[name] = (path, entry["dtype"], entry["shape"], 8 + length + entry["data_offsets"][0])

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise ModelError unless there is a weight of each of these names and shapes, of a type of float that numpy can read."""
        for name, shape in shapes.items():
            _, dtype, found, _ = self._found.get(name, (None, "", [], 0))
            if tuple(found) != shape or dtype not in _DTYPES:
                is_there = f"is {dtype} {found}" if dtype else "is missing"
                raise ModelError(
                    f"The weights of the reranker {self._name} do not fit its config: {name} {is_there}; fetch the model again."
                )

    def rows(self, name: str) -> Array:
        """A weight as it is stored: float16, float32, or uint16 for bfloat16."""
        path, dtype, shape, offset = self._found[name]
        return np.memmap(path, dtype=_DTYPES[dtype], mode="r", offset=offset, shape=tuple(shape))

    def array(self, name: str) -> Array:
        """A weight as float32."""
        return floats(self.rows(name), ...)

    def checksum(self, use: str, *others: Path) -> str:
        """Of the weights' and other files' content, and of what they are used for."""
        digest = hashlib.sha256(use.encode())
        for path in (*self.files, *others):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def floats(rows: Array, which: Any) -> Array:
    """Some rows as float32."""
    chosen = rows[which]
    if chosen.dtype == np.uint16:
        return np.asarray(chosen, dtype=np.uint32).__lshift__(16).view(np.float32)
    return np.asarray(chosen, dtype=np.float32)
