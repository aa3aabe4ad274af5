"""cpu-int8: cross-encoders of the BERT and XLM-RoBERTa families in 8-bit integers on onnxruntime, without torch.

The graph is built once from a model's safetensors (``int8_graph``) and kept in the user's cache folder under the checksum of the
files that it was made of; another content makes another graph. Embeddings are read from the safetensors files where they lie.
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.rerank.batching import Batch
from bioqa.rerank.engines.cpu_int8_graph import Range, build_graph, rounded_norms
from bioqa.rerank.engines.exact_bert import weight_shapes
from bioqa.rerank.model_folder.architectures import FAMILIES, Weights, floats, outside_families
from bioqa.rerank.model_folder.config import ModelConfig

GRAPH_VERSION = 2
"""Goes up with each change of the graph, so that graphs of older versions are not taken from the cache."""

BATCH_TOKENS = 512
"""Tokens of a batch, beyond which its activations leave the processor's caches."""
LONG = 128
"""Tokens from which on a pair is computed without padding, and so without a mask."""
STEP = 8
"""Shorter pairs are padded to a multiple of this many tokens."""
CHECKSUM = hashlib.sha256().digest_size
"""Bytes at the end of a kept graph."""
SAMPLE = (
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
    """The tokens that a pair is padded to. It depends on nothing else, so that a pair's score does not either: attention adds up in
    an order that depends on the padding, and rounding to bytes makes more of such differences.
    """
    return length if length >= LONG else -(-length // STEP) * STEP


def why_not(settings: ModelConfig) -> str:
    """Why a model cannot run on this engine, as the end of a sentence; "" where it can."""
    if obstacle := outside_families(settings):
        return obstacle
    missing = next((name for name in ("onnxruntime", "onnx") if find_spec(name) is None), "")
    return f"{missing} is not installed" if missing else ""


class Int8Network:
    """The model; any number of threads may call it, and each call keeps to its own thread."""

    def __init__(self, settings: ModelConfig, *, segments: bool, sample: Callable[[], Iterable[Batch]]) -> None:
        """Take the model's graph from the cache, or build it.

        ``segments``: the tokenizer gives segment ids. ``sample`` makes batches of ``SAMPLE``, on which the ranges of the model's
        channels are measured. Raises ModelError where the weights are damaged or of other names.
        """
        self._segments = segments
        self._architecture = FAMILIES[settings.config["architectures"][0]]
        self._weights = Weights(settings)
        self._weights.check(weight_shapes(settings.config, self._architecture.prefix, self._architecture.head))
        at = f"{self._architecture.prefix}embeddings."
        self._words, self._positions, self._types = (
            self._weights.rows(f"{at}{kind}_embeddings.weight") for kind in ("word", "position", "token_type")
        )
        self._session = self._open(settings, sample)

    def _open(self, settings: ModelConfig, sample: Callable[[], Iterable[Batch]]) -> Any:
        """A session on the graph in the cache, or on one that is built now and kept."""
        path = graph_path(self._weights, settings)
        try:
            return _session(read_graph(path))
        except Exception:  # there is none, or one damaged since: onnxruntime's errors have no class of their own
            build = partial(
                build_graph, self._weights.array, settings.config, self._architecture, signed=has_byte_products()
            )
            norms = rounded_norms(settings.config, self._architecture)
            graph = build(ranges=self._ranges(_session(build(ranges=None)), list(norms), sample()))
        _keep(path, graph)
        return _session(graph)

    def _ranges(self, session: Any, norms: list[str], sample: Iterable[Batch]) -> dict[str, Range] | None:
        """The ranges of the normalisations' outputs; None where one is not a number, as the weights are then damaged."""
        seen: list[list[NDArray[np.float32]]] = []
        for batch in sample:
            there = batch.mask.reshape(-1).astype(bool)
            seen.append([values[there] for values in session.run(norms, self._feed(batch))])
        found = {}
        for norm, *parts in zip(norms, *seen, strict=True):
            values = np.concatenate(parts)
            if not np.isfinite(values).all():
                return None
            found[norm] = Range(values.min(axis=0), values.max(axis=0), values.mean(axis=0))
        return found

    def __call__(self, batch: Batch) -> NDArray[np.float32]:
        """Logits of a batch of n pairs: float32 of shape (n,)."""
        logits: NDArray[np.float32] = self._session.run(["logits"], self._feed(batch))[0]
        return logits[:, 0]

    def _feed(self, batch: Batch) -> dict[str, Any]:
        """The graph's inputs for a batch."""
        rows, length = batch.ids.shape
        first = self._architecture.first_position
        positions = np.arange(first, first + length).clip(max=len(self._positions) - 1)  # of padding at most
        x = floats(self._words, batch.ids) + floats(self._positions, positions)
        x += floats(self._types, batch.types) if self._segments else floats(self._types, 0)
        return {
            "x": x.reshape(rows * length, -1),
            "shape": np.array(x.shape, dtype=np.int64),
            "lengths": batch.mask.sum(axis=1, dtype=np.int32),
            "padded": np.array(length < LONG),
        }


def _session(graph: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    # One call a core shares no work and waits for nobody.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors are raised as well
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def graph_path(weights: Weights, settings: ModelConfig) -> Path:
    """Where a model's graph is kept: another content, kind of processor or version of this module has another place."""
    use = f"{GRAPH_VERSION} {has_byte_products()}"
    return cache_folder() / f"{weights.checksum(use, settings.folder / 'config.json')}.graph"


def cache_folder() -> Path:
    """Where graphs are kept: ``bioqa`` in XDG_CACHE_HOME, else in ~/.cache; a user without a home has none kept."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = Path(base) if base else Path.home() / ".cache"
    except RuntimeError:
        folder = Path(os.devnull)
    return folder / "bioqa" / "int8"


def read_graph(path: Path) -> bytes:
    """A kept graph. Raises OSError, or ValueError where the file is not as it was written."""
    kept = path.read_bytes()
    graph = kept[:-CHECKSUM]
    if hashlib.sha256(graph).digest() != kept[-CHECKSUM:]:
        raise ValueError(f"{path} is damaged")
    return graph


def _keep(path: Path, graph: bytes) -> None:
    """Write the graph whole or not at all; a place that cannot be written costs the next start a second, no more."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
            part = Path(file.name)
            try:
                file.write(graph + hashlib.sha256(graph).digest())
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
