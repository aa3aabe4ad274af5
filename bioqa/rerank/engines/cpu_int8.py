"""cpu-int8: cross-encoders and encoders of the BERT and XLM-RoBERTa families in 8-bit integers on onnxruntime, without torch.

The graph is built once from a model's safetensors (``cpu_int8_graph``) and kept in the user's cache folder under a checksum of the
files that it was built from, so changed files lead to a new graph. Embeddings are read directly from the safetensors files.
"""

import hashlib
import os
import platform
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import OutputError
from bioqa.io.output import replacing
from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.cpu_int8_graph import ChannelRange, build_graph, quantized_norms
from bioqa.rerank.model_folder.architectures import architecture_of, unsupported_architecture, weight_shapes
from bioqa.rerank.model_folder.config import ModelConfig
from bioqa.rerank.model_folder.weights import Weights
from bioqa.rerank.pooling import pool

GRAPH_VERSION = 3
"""Incremented with each change of the graph, so that graphs of older versions are not taken from the cache."""

BATCH_TOKENS = 512
"""Maximum number of tokens in a batch: the activations of larger ones do not fit into the processor's caches."""
UNPADDED_LENGTH = 128
"""Pairs of this many tokens or more are computed without padding, and so without a mask."""
PADDING_STEP = 8
"""Shorter pairs are padded to a multiple of this many tokens."""
CHECKSUM_BYTES = hashlib.sha256().digest_size
"""Length of the checksum at the end of a cached graph."""
SAMPLE_PAIRS = (
    (
        "Which gene is mutated in cystic fibrosis?",
        "Cystic fibrosis is caused by mutations of the CFTR gene on chromosome 7, most often by F508del.",
    ),
    (
        "Is metformin safe in chronic kidney disease?",
        "In 1,204 patients with an eGFR of 30-45 mL/min, metformin was not associated with lactic acidosis (HR 1.07, p = 0.57).",
    ),
    (
        "What is the mechanism of action of imatinib?",
        "Imatinib inhibits the BCR-ABL tyrosine kinase by binding to its inactive conformation; T315I makes cells resistant.",
    ),
    (
        "How is sepsis treated in children?",
        "We randomly assigned 87 children to early goal-directed therapy or usual care. Mortality at 28 days did not differ.",
    ),
    (
        "Does vitamin D prevent fractures?",
        "The weather was mild, and all participants completed a questionnaire on diet and sleep.",
    ),
    (
        "List the symptoms of Parkinson's disease.",
        "Tremor at rest, rigidity, bradykinesia and postural instability are its cardinal signs.",
    ),
    (
        "Which microRNAs are deregulated in breast cancer?",
        "miR-21 and miR-155 were up-regulated, whereas let-7a and miR-145 were down-regulated in tumours.",
    ),
    (
        "What does the protein p53 do?",
        "BACKGROUND: TP53 encodes a transcription factor that arrests the cell cycle or induces apoptosis after DNA damage.",
    ),
)
"""Questions and passages on which the ranges of a model's channels are measured."""


def padded_length(length: int) -> int:
    """The number of tokens that a pair of ``length`` tokens is padded to.

    It depends on nothing else, so that a pair's score does not either: attention sums in an order that depends on the padding,
    and rounding to bytes amplifies such differences.
    """
    return length if length >= UNPADDED_LENGTH else -(-length // PADDING_STEP) * PADDING_STEP


def unsupported_model(config: ModelConfig) -> str | None:
    """Why a model cannot run on this engine, as the end of a sentence; None if it can."""
    if reason := unsupported_architecture(config):
        return reason
    missing = next((name for name in ("onnxruntime", "onnx") if find_spec(name) is None), None)
    return f"{missing} is not installed" if missing else None


class Int8Network:
    """The network; any number of threads may call it, and each call is computed on its own thread."""

    def __init__(
        self, config: ModelConfig, *, use_segment_ids: bool, sample_batches: Callable[[], Iterable[Batch]]
    ) -> None:
        """Take the model's graph from the cache, or build it.

        ``use_segment_ids``: whether the tokenizer provides segment ids. ``sample_batches`` returns ``SAMPLE_PAIRS`` in batches,
        on which the ranges of the model's channels are measured. Raises ModelError if the weights are damaged, or do not match
        the config.
        """
        self._use_segment_ids = use_segment_ids
        self._pooling = config.pooling
        self._architecture = architecture_of(config)
        self._weights = Weights(f"the {config.kind} {config.name}", config.folder)
        self._weights.check(weight_shapes(config.json, self._architecture))
        at = f"{self._architecture.prefix}embeddings."
        self._word_embeddings, self._position_embeddings, self._segment_embeddings = (
            self._weights.rows(f"{at}{kind}_embeddings.weight") for kind in ("word", "position", "token_type")
        )
        self._session = self._open_session(config, sample_batches)

    def _open_session(self, config: ModelConfig, sample_batches: Callable[[], Iterable[Batch]]) -> Any:
        """A session with the graph in the cache, or with one that is built now and cached."""
        path = graph_path(self._weights, config)
        try:
            return _session(read_graph(path))
        except Exception:  # missing or damaged: onnxruntime's errors have no class of their own
            build = partial(
                build_graph, self._weights.array, config.json, self._architecture, signed=has_int8_dot_product()
            )
            norms = quantized_norms(config.json, self._architecture)
            graph = build(ranges=self._measure_ranges(_session(build(ranges=None)), list(norms), sample_batches()))
        _cache_graph(path, graph)
        return _session(graph)

    def _measure_ranges(
        self, session: Any, norms: list[str], batches: Iterable[Batch]
    ) -> dict[str, ChannelRange] | None:
        """The ranges of the normalizations' outputs; None if a value is not finite, as the weights are then damaged."""
        outputs: list[list[NDArray[np.float32]]] = []
        for batch in batches:
            is_token = batch.mask.reshape(-1).astype(bool)
            outputs.append([values[is_token] for values in session.run(norms, self._inputs(batch))])
        ranges = {}
        for norm, *parts in zip(norms, *outputs, strict=True):
            values = np.concatenate(parts)
            if not np.isfinite(values).all():
                return None
            ranges[norm] = ChannelRange(values.min(axis=0), values.max(axis=0), values.mean(axis=0))
        return ranges

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """The logits of a batch of n pairs, float32 of shape (n,), or the pooled vectors of n texts, (n, dimension)."""
        output: NDArray[np.float32] = self._session.run(["output"], self._inputs(batch))[0]
        if not self._pooling:
            return output[:, 0]
        if not self._architecture.all_positions:
            return output
        return pool(output[batch.mask.reshape(-1).astype(bool)], batch.mask.sum(axis=1), self._pooling)

    def _inputs(self, batch: Batch) -> dict[str, Any]:
        """The graph's inputs for a batch."""
        rows, length = batch.ids.shape
        first = self._architecture.first_position
        last = len(self._position_embeddings) - 1  # only padding goes beyond
        positions = np.arange(first, first + length).clip(max=last)
        x = self._word_embeddings[batch.ids] + self._position_embeddings[positions]
        x += self._segment_embeddings[batch.segment_ids if self._use_segment_ids else 0]
        return {
            "x": x.reshape(rows * length, -1),
            "shape": np.array(x.shape, dtype=np.int64),
            "lengths": batch.mask.sum(axis=1, dtype=np.int32),
            "padded": np.array(length < UNPADDED_LENGTH),
        }


def import_onnxruntime() -> Any:
    """Import onnxruntime without its telemetry, which would write a device id and a queue of events to the user's cache folder.

    A user who sets ORT_DISABLE_TELEMETRY=0 gets it.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def _session(graph: bytes) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    # Calls run in parallel, one per core; each is computed by a single thread, which never waits for another.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised as well
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def graph_path(weights: Weights, config: ModelConfig) -> Path:
    """The path of a model's graph in the cache; it depends on the model's content, the kind of processor and GRAPH_VERSION."""
    salt = f"{GRAPH_VERSION} {has_int8_dot_product()}"
    if config.pooling:
        salt += f" {architecture_of(config).all_positions}"
    return cache_folder() / f"{weights.checksum(salt, config.folder / 'config.json')}.graph"


def cache_folder() -> Path:
    """The folder of cached graphs: bioqa/int8 in XDG_CACHE_HOME or ~/.cache; for a user without a home one that cannot exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "bioqa" / "int8"


def read_graph(path: Path) -> bytes:
    """A cached graph. Raises OSError if the file cannot be read, ValueError if it is not as this user, or root, wrote it."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    with os.fdopen(os.open(path, os.O_RDONLY | flags), "rb") as file:  # no link is followed, no pipe waited for
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid not in (0, os.geteuid())):
            raise ValueError(f"{path} is not a file of this user")
        content = file.read()
    graph = content[:-CHECKSUM_BYTES]
    if hashlib.sha256(graph).digest() != content[-CHECKSUM_BYTES:]:
        raise ValueError(f"{path} is damaged")
    return graph


def _cache_graph(path: Path, graph: bytes) -> None:
    """Write the graph to the cache; if that fails, the next start only takes a second longer."""
    with suppress(OSError, OutputError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(graph + hashlib.sha256(graph).digest())


@cache
def has_int8_dot_product() -> bool:
    """Whether the processor sums products of unsigned and signed bytes exactly (VNNI, AMX; every ARM does)."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return True
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return not {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)
