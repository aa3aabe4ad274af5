"""cpu-int8: cross-encoders of the BERT and XLM-RoBERTa families in 8-bit integers on onnxruntime, without torch.

The graph is built once from a model's safetensors (``int8_graph``) and kept in the user's cache folder under the checksum of the
files that it was made of; another content makes another graph. Embeddings are read from the safetensors files where they lie.
"""

import hashlib
import os
import platform
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batches import Batch
from bioqa.rerank.bert import weight_shapes
from bioqa.rerank.families import FAMILIES, Weights, floats, outside_families
from bioqa.rerank.int8_graph import build_graph
from bioqa.rerank.settings import Settings

GRAPH_VERSION = 1
"""Goes up with each change of the graph, so that graphs of older versions are not taken from the cache."""

BATCH_TOKENS = 512
"""Tokens of a batch, beyond which its activations leave the processor's caches."""
LONG = 128
"""Tokens from which on a pair is computed without padding, and so without a mask."""
SEAL = b"\xfa\xff\xff\xff\x0f\x20"
"""Begins a field of 32 bytes that no ONNX file has and readers pass over; the checksum of what stands before goes into it."""
STEP = 8
"""Shorter pairs are padded to a multiple of this many tokens."""


def padded_length(length: int) -> int:
    """The tokens that a pair is padded to. It depends on nothing else, so that a pair's score does not either: attention adds up in
    an order that depends on the padding, and rounding to bytes makes more of such differences.
    """
    return length if length >= LONG else -(-length // STEP) * STEP


def why_not(settings: Settings) -> str:
    """Why a model cannot run on this engine, as the end of a sentence; "" where it can."""
    if obstacle := outside_families(settings):
        return obstacle
    missing = next((name for name in ("onnxruntime", "onnx") if find_spec(name) is None), "")
    return f"{missing} is not installed" if missing else ""


class Int8Network:
    """The model; any number of threads may call it, and each call keeps to its own thread."""

    def __init__(self, settings: Settings, *, segments: bool) -> None:
        """Take the model's graph from the cache, or build it.

        ``segments``: the tokenizer gives segment ids. Raises ModelError where the weights are damaged or of other names.
        """
        self._segments = segments
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
        path = graph_path(self._weights, settings)
        try:
            return _session(_unsealed(path.read_bytes()))
        except Exception:  # there is none, or one damaged since: onnxruntime's errors have no class of their own
            graph = build_graph(self._weights.array, settings.config, self._architecture, signed=has_byte_products())
        _keep(path, _sealed(graph))
        return _session(graph)

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch of n pairs: float32 of shape (n,)."""
        rows, length = batch.ids.shape
        first = self._architecture.first_position
        positions = np.arange(first, first + length).clip(max=len(self._positions) - 1)  # of padding at most
        x = floats(self._words, batch.ids) + floats(self._positions, positions)
        x += floats(self._types, batch.types) if self._segments else floats(self._types, 0)
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


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One call a core shares no work and waits for nobody.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised as well
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def graph_path(weights: Weights, settings: Settings) -> Path:
    """Where a model's graph is kept: another content, kind of processor or version of this module has another place."""
    use = f"{GRAPH_VERSION} {has_byte_products()}"
    return cache_folder() / f"{weights.checksum(use, settings.folder / 'config.json')}.onnx"


def cache_folder() -> Path:
    """Where graphs are kept: ``bioqa`` in XDG_CACHE_HOME, else in ~/.cache; a user without a home has none kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "bioqa" / "int8"


def _sealed(graph: bytes) -> bytes:
    """The graph with its checksum at the end."""
    return graph + SEAL + hashlib.sha256(graph).digest()


def _unsealed(kept: bytes) -> bytes:
    """The graph of what ``_sealed`` gave. Raises ValueError where it is not as it was."""
    graph = kept[: -len(SEAL) - 32]
    if _sealed(graph) != kept:
        raise ValueError("the graph is damaged")
    return graph


def _keep(path: Path, graph: bytes) -> None:
    """Write the graph whole or not at all; a place that cannot be written costs the next start a second, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            part = Path(file.name)
            try:
                file.write(graph)
                file.flush()
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
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
