"""The weights in a model folder's safetensors files, read with numpy alone."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError
from bioqa.rerank.model_folder.config import ModelConfig

Array = NDArray[Any]

_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


class Weights:
    """The weights in the safetensors files of a folder, memory-mapped and not read until they are used."""

    def __init__(self, config: ModelConfig) -> None:
        """Read the headers. Raises ModelError for a damaged file."""
        self._name = config.name
        self.files = sorted(config.folder.glob("*.safetensors"))
        self._entries: dict[str, tuple[Path, str, list[int], int]] = {}  # name → file, dtype, shape, offset
        for path in self.files:
            try:
                self._read_header(path)
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise ModelError(
                    f"The weights of the reranker {self._name} are damaged ({path.name}: {error}); fetch the model again."
                ) from error

    def _read_header(self, path: Path) -> None:
        """Read a header: 8 bytes with its length, the header as JSON, then the bytes of all weights."""
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
                self._entries[name] = (path, entry["dtype"], entry["shape"], 8 + length + entry["data_offsets"][0])

    def check(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise ModelError unless every one of these weights is there with its shape, in a float type that numpy can read."""
        for name, shape in shapes.items():
            _, dtype, found, _ = self._entries.get(name, (None, "", [], 0))
            if tuple(found) != shape or dtype not in _DTYPES:
                problem = f"is {dtype} {found}" if dtype else "is missing"
                raise ModelError(
                    f"The weights of the reranker {self._name} do not match its config: {name} {problem}; fetch the model again."
                )

    def stored(self, name: str) -> Array:
        """A weight as it is stored: float16, float32, or uint16 for bfloat16."""
        path, dtype, shape, offset = self._entries[name]
        return np.memmap(path, dtype=_DTYPES[dtype], mode="r", offset=offset, shape=tuple(shape))

    def array(self, name: str) -> Array:
        """A weight as float32."""
        return to_float32(self.stored(name))

    def checksum(self, salt: str, *others: Path) -> str:
        """SHA-256, in hex, of ``salt`` and the contents of the weights' and other files."""
        digest = hashlib.sha256(salt.encode())
        for path in (*self.files, *others):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def to_float32(stored: Array) -> Array:
    """Values as ``Weights.stored`` returns them, or some rows of them, as float32."""
    if stored.dtype == np.uint16:
        return np.asarray(stored, dtype=np.uint32).__lshift__(16).view(np.float32)
    return np.asarray(stored, dtype=np.float32)
