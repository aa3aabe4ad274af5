"""cpu-int8: cross-encoders of the BERT and XLM-RoBERTa families in 8-bit integers on onnxruntime, without torch.

The graph is built once from a model's safetensors (``int8_graph``) and kept in the user's cache folder under the checksum of the
files that it was made of; another content makes another graph. Embeddings are read from the safetensors files where they lie.
"""

import hashlib
import json
import os
import platform
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError
from bioqa.rerank.batches import Batch
from bioqa.rerank.bert import unusual, weight_shapes
from bioqa.rerank.int8_graph import Architecture, Array, build_graph
from bioqa.rerank.settings import Settings

GRAPH_VERSION = 1
"""Goes up with each change of the graph, so that graphs of older versions are not taken from the cache."""

FAMILIES = {
    "BertForSequenceClassification": Architecture("bert.", ("bert.pooler.dense", "classifier"), 0),
    "RobertaForSequenceClassification": Architecture("roberta.", ("classifier.dense", "classifier.out_proj"), 2),
    "XLMRobertaForSequenceClassification": Architecture("roberta.", ("classifier.dense", "classifier.out_proj"), 2),
}
BATCH_TOKENS = 512
"""Tokens of a batch, beyond which its activations leave the processor's caches."""
MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
LONG = 128
"""Tokens from which on a pair is computed without padding, and so without a mask."""
STEP = 8
"""Shorter pairs are padded to a multiple of this many tokens."""
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def padded_length(length: int) -> int:
    """The tokens that a pair is padded to. It depends on nothing else, so that a pair's score does not either: attention adds up in
    an order that depends on the padding, and rounding to bytes makes more of such differences.
    """
    return length if length >= LONG else -(-length // STEP) * STEP


def outside_families(settings: Settings) -> str:
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


def why_not(settings: Settings) -> str:
    """Why a model cannot run on this engine, as the end of a sentence; "" where it can."""
    if obstacle := outside_families(settings):
        return obstacle
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        return "onnxruntime is not installed"
    return ""


class Int8Network:
    """The model; any number of threads may call it, and each call keeps to its own thread."""

    def __init__(self, settings: Settings) -> None:
        """Take the model's graph from the cache, or build it. Raises ModelError where its weights are damaged or of other names."""
        self._architecture = FAMILIES[settings.config["architectures"][0]]
        self._weights = Weights(settings)
        self._weights.check(weight_shapes(settings.config, self._architecture.prefix, self._architecture.head))
        at = f"{self._architecture.prefix}embeddings."
        self._words, self._positions, self._types = (
            self._weights.rows(f"{at}{kind}_embeddings.weight") for kind in ("word", "position", "token_type")
        )
        self._session = self._open(settings)

    def _open(self, settings: Settings) -> Any:
        """A session on the graph in the cache, or on one that is built now and kept."""
        path = cache_folder() / f"{self._weights.checksum(settings.folder / 'config.json')}.onnx"
        try:
            return _session(path.read_bytes())
        except (
            Exception
        ):  # there is none, or one that was damaged since: onnxruntime's errors have no class of their own
            graph = build_graph(self._weights.array, settings.config, self._architecture, signed=has_byte_products())
        _keep(path, graph)
        return _session(graph)

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch of n pairs: float32 of shape (n,)."""
        rows, length = batch.ids.shape
        first = self._architecture.first_position
        positions = np.arange(first, first + length).clip(max=len(self._positions) - 1)  # of padding at most
        x = _floats(self._words, batch.ids) + _floats(self._positions, positions)
        x += _floats(self._types, batch.types)
        lengths = batch.mask.sum(axis=1, dtype=np.int32)
        logits: NDArray[np.float32] = self._session.run(
            ["logits"],
            {
                "x": x.reshape(rows * length, -1),
                "shape": np.array(x.shape, dtype=np.int64),
                "lengths": lengths,
                "padded": np.array(length < LONG),
            },
        )[0]
        return logits[:, 0]


class Weights:
    """The weights in the safetensors files of a folder, mapped into memory and not read until they are used."""

    def __init__(self, settings: Settings) -> None:
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
        return _floats(self.rows(name), ...)

    def checksum(self, *others: Path) -> str:
        """Of the weights' and other files' content, of this module's version and of the kind of processor."""
        digest = hashlib.sha256(f"{GRAPH_VERSION} {has_byte_products()}".encode())
        for path in (*self.files, *others):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def _floats(rows: Array, which: Any) -> Array:
    """Some rows as float32."""
    chosen = rows[which]
    if chosen.dtype == np.uint16:
        return np.asarray(chosen, dtype=np.uint32).__lshift__(16).view(np.float32)
    return np.asarray(chosen, dtype=np.float32)


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = (
        1  # one call a core shares no work and waits for nobody
    )
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def cache_folder() -> Path:
    """Where graphs are kept: ``bioqa`` in XDG_CACHE_HOME, else in ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "bioqa" / "int8"


def _keep(path: Path, graph: bytes) -> None:
    """Write the graph whole or not at all; a place that cannot be written costs the next start a second, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            file.write(graph)
        Path(file.name).replace(path)
    except OSError:
        return


@cache
def has_byte_products() -> bool:
    """Whether the processor adds up products of unsigned and signed bytes exactly (VNNI, AMX; every ARM does)."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)
