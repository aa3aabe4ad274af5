"""The weights in a model folder's safetensors files: their headers checked by the safetensors library, their values mapped by
numpy.
"""

import hashlib
import json
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, first_line
from bioqa.rerank.model_folder.files import WEIGHTS_FILE, WEIGHTS_INDEX_FILE, weight_files, weight_map

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[Any]
Shape = tuple[int, ...]

_FLOATS = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}
_INTEGERS = {"I8": np.int8, "U8": np.uint8}
_DTYPES = _FLOATS | _INTEGERS
SCALE, ZERO_POINT = "_scale", "_zero_point"
"""What is appended to the name of a matrix of integers: weight = (integer - zero point) · scale. The scale is float32, one for the
matrix or one a row; the zero point is one integer, 0 if it is missing. The names are those of compressed-tensors.
"""

UNSTORED_VALUES = 1 << 26
"""Values beyond those stored that a sound model may have: masks, positions, a new head; 256 MB in fp32."""


class Weights:
    """The weights of a model folder (see ``files.weight_files``), memory-mapped and not read until they are used.

    ``shapes`` are their shapes by name.
    """

    def __init__(self, model: str, folder: Path) -> None:
        """Read the headers. ``model`` is what messages call the model, such as "the reranker X".

        Raises ModelError for a file that is missing or damaged: whatever the safetensors library refuses.
        """
        self._model = model
        self.files = weight_files(folder)
        self._entries: dict[str, tuple[Path, str, Shape, int]] = {}  # name → file, dtype, shape, offset
        if missing := [path for path in self.files if not path.is_file()]:
            raise ModelError(_explain_missing(model, folder, missing, len(self.files)))
        for path in self.files:
            try:
                self._read_header(path)
            except Exception as error:  # safetensors' own error, and those of a file that cannot be read
                raise ModelError(
                    f"The weights of {model} are damaged ({path.name}: {first_line(error)[:-1]}); fetch the model again."
                ) from error
        if self.files != [folder / WEIGHTS_FILE]:
            self._check_index(folder)
        integers = {name for name, (_, dtype, _, _) in self._entries.items() if dtype in _INTEGERS}
        parts = {f"{name}{part}" for name in integers for part in (SCALE, ZERO_POINT)}
        self.shapes = {name: shape for name, (_, _, shape, _) in self._entries.items() if name not in parts}

    def _read_header(self, path: Path) -> None:
        """Read a header: 8 bytes with its length, the header as JSON, then the bytes of all weights without gaps."""
        from safetensors import safe_open

        with safe_open(path, framework="numpy"):  # checks the header
            pass
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            if name in self._entries:
                raise ValueError(f"{name} is in {self._entries[name][0].name} too")
            offset = 8 + length + entry["data_offsets"][0]
            self._entries[name] = (path, entry["dtype"], tuple(entry["shape"]), offset)

    def _check_index(self, folder: Path) -> None:
        """Raise ModelError for a weight that is not in the file in which the index says it is."""
        for name, file in weight_map(folder).items():
            if name not in self._entries or self._entries[name][0].name != file:
                raise ModelError(
                    f"The weights of {self._model} are damaged: {name} is not in {file}, as {WEIGHTS_INDEX_FILE} says; "
                    "fetch the model again."
                )

    def check(self, shapes: Iterable[tuple[str, Shape]]) -> None:
        """Raise ModelError unless every one of these weights is there with its shape, as floats that numpy can read or as 8-bit
        integers with a scale.
        """
        for name, shape in shapes:
            _, dtype, found, _ = self._entries.get(name, (None, "", (), 0))
            if found != shape or not (dtype in _FLOATS or self._has_scale(name)):
                problem = f"is {dtype} {list(found)}" if dtype else "is missing"
                raise self._mismatch(f"{name} {problem}")

    def _has_scale(self, name: str) -> bool:
        """Whether a weight is a matrix of integers with a scale of the right shape."""
        _, dtype, shape, _ = self._entries.get(name, (None, "", (), 0))
        _, scale, found, _ = self._entries.get(name + SCALE, (None, "", (), 0))
        return dtype in _INTEGERS and scale == "F32" and len(shape) == 2 and found in ((), shape[:1])

    def check_config(self, config: Any, auto_class: Any, *, allow_other_shapes: bool = False) -> None:
        """Raise ModelError if the model that ``auto_class`` (of transformers) makes of a config does not fit the weights: one of
        them has another shape (unless ``allow_other_shapes``), or the model is far larger than all of them.

        The model is built without memory; transformers would find this out only after allocating it. Names that differ are left to
        transformers, which renames weights.
        """
        import torch

        with torch.device("meta"):
            model: nn.Module = auto_class.from_config(config, trust_remote_code=False)
        expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
        for name, shape in () if allow_other_shapes else expected.items():
            if (found := self.shapes.get(name, shape)) != shape:
                raise self._mismatch(f"{name} is {list(found)}, not {list(shape)}")
        values = sum(tensor.numel() for tensor in (*model.parameters(), *model.buffers()))
        stored = sum(prod(shape) for shape in self.shapes.values())
        if values > 2 * stored + UNSTORED_VALUES:
            raise self._mismatch(f"the config's model has {values:,} values, the files have {stored:,}")

    def _mismatch(self, problem: str) -> ModelError:
        return ModelError(f"The weights of {self._model} do not match its config: {problem}; fetch the model again.")

    def rows(self, name: str) -> "Rows":
        """A weight whose rows are converted to float32 when they are read."""
        if self._entries[name][1] in _FLOATS:
            return Rows(self._stored(name))
        zero = self._stored(name + ZERO_POINT) if name + ZERO_POINT in self._entries else np.zeros((), np.uint8)
        return Rows(self._stored(name), np.array(self._stored(name + SCALE)), zero.astype(np.float32))

    def array(self, name: str) -> Array:
        """A weight as float32."""
        return self.rows(name)[...]

    def _stored(self, name: str) -> Array:
        path, dtype, shape, offset = self._entries[name]
        return np.memmap(path, dtype=_DTYPES[dtype], mode="r", offset=offset, shape=shape)

    def checksum(self, salt: str, *others: Path) -> str:
        """SHA-256, in hex, of ``salt`` and the contents of the weights' and other files."""
        digest = hashlib.sha256(salt.encode())
        for path in (*self.files, *others):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _explain_missing(model: str, folder: Path, missing: list[Path], total: int) -> str:
    """The message for weights of which files are missing."""
    if total > 1 or missing[0].name != WEIGHTS_FILE:
        names = ", ".join(path.name for path in missing[:3]) + (", …" if len(missing) > 3 else "")
        return (
            f"The weights of {model} are incomplete: {len(missing)} of {total} files are missing in {folder} ({names}); "
            "fetch the model again."
        )
    if any(folder.glob("*.bin")):
        return (
            f"There are no safetensors weights ({WEIGHTS_FILE}) of {model} in {folder}; other formats (pytorch_model.bin) can run "
            "code when opened, so convert it with save_pretrained on a machine where you trust it."
        )
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return (
            f"There is no {WEIGHTS_FILE} of {model} in {folder}, only {', '.join(others[:3])}; bioqa reads no other name, so "
            "rename the file with the weights, or fetch the model again."
        )
    return f"The download of {model} is incomplete: {WEIGHTS_FILE} is missing in {folder}; fetch the model again."


class Rows:
    """A weight as it is stored; indexing gives rows of it as float32.

    ``stored`` is float16, float32, uint16 for bfloat16, or integers for (``stored`` - ``zero``) · ``scale``, which is one number or
    one a row.
    """

    def __init__(self, stored: Array, scale: Array | None = None, zero: Array | int = 0) -> None:
        self._stored = stored
        self._scale = scale
        self._zero = zero

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, rows: Any) -> Array:
        values = self._stored[rows]
        if self._scale is not None:
            scale = self._scale[rows][..., None] if self._scale.ndim else self._scale
            scaled: Array = (values.astype(np.float32) - self._zero) * scale
            return scaled
        if values.dtype == np.uint16:
            return np.asarray(values, dtype=np.uint32).__lshift__(16).view(np.float32)
        return np.asarray(values, dtype=np.float32)
