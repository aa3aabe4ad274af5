"""The rerankers of a suite: loaded only where something is to be scored, and known by their content."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bioqa.bench.collection import digest, fingerprint
from bioqa.bench.suite import RerankerSpec
from bioqa.errors import UsageError
from bioqa.rerank.model_folder.settings import SETTINGS_FILE, RerankerSettings, read_settings

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker

CONTENT = (".json", ".safetensors", ".txt", ".model")
"""Suffixes of the files that a model's scores depend on."""


class SuiteReranker:
    """A reranker as the suite names it; ``name`` and ``folder`` as ``Reranker`` has them."""

    def __init__(self, spec: RerankerSpec) -> None:
        from bioqa.rerank.model_folder.resolve import resolve_model

        self.spec = spec
        self.name, self.folder = resolve_model(spec.model or spec.name)

    def check(self) -> None:
        """Raise what ``Reranker`` would, before anything is run; the weights are not looked at.

        Raises:
            ModelError: the folder is no cross-encoder's, or bioqa.json is damaged.
            UsageError: there is no such engine or batch size.
            SetupError: there is no such device here.
        """
        from bioqa.rerank.device import resolve_devices
        from bioqa.rerank.load_model import ENGINES
        from bioqa.rerank.model_folder.config import read_config

        if self.spec.engine not in ("", *ENGINES):
            raise UsageError(
                f"Reranker {self.spec.name}: there is no engine {self.spec.engine!r}; choose {', '.join(ENGINES)}."
            )
        if self.spec.batch_size < 1:
            raise UsageError(f"Reranker {self.spec.name}: batch-size must be 1 or more, not {self.spec.batch_size}.")
        resolve_devices(self.spec.device)
        read_config(self.name, self.folder)
        _ = self.settings

    @cached_property
    def loaded(self) -> "Reranker":
        """The reranker itself.

        Raises what ``Reranker`` raises.
        """
        from bioqa.rerank.reranker import Reranker

        return Reranker(self.spec.model or self.spec.name, **self.spec.options())

    @cached_property
    def key(self) -> str:
        """A fingerprint of all that logits and times depend on: the model's content, options, libraries and device.

        Threshold, calibration and weight of BM25 (bioqa.json) are not in it: they are applied to logits that are kept.
        """
        from importlib import metadata

        from bioqa.rerank.device import resolve_device
        from bioqa.rerank.engines.cpu_int8 import GRAPH_VERSION

        files = sorted(file for file in self.folder.iterdir() if file.suffix in CONTENT and file.name != SETTINGS_FILE)
        content = [[file.name, digest(file)] for file in files]
        devices = [resolve_device(name) for name in self.spec.device.split(",")]
        versions = [metadata.version(name) for name in ("torch", "transformers", "tokenizers")]
        if self._rounded(devices):
            versions += [metadata.version("onnxruntime"), str(GRAPH_VERSION)]
        return fingerprint(content, self.spec.options(), devices, versions)

    def _rounded(self, devices: Sequence[str]) -> bool:
        """Whether it runs on the engine cpu-int8, without loading it: asked for, or what ``Reranker`` would choose."""
        from bioqa.rerank.load_model import engine_problem
        from bioqa.rerank.model_folder.config import read_config

        if self.spec.engine not in ("", "auto"):
            return self.spec.engine == "cpu-int8"
        return devices == ["cpu"] and not engine_problem("cpu-int8", read_config(self.name, self.folder))

    def facts(self) -> dict[str, Any]:
        """What it runs on, for the report."""
        engine = str(getattr(self.loaded, "engine", "exact"))
        return {
            "model": self.name,
            "device": self.loaded.device,
            "engine": engine,
            "dtype": "int8" if "int8" in engine else str(getattr(self.loaded, "dtype", "float32")),
            "batch_size": self.loaded.batch_size,
            "max_length": self.loaded.max_length,
            "activation": self.loaded.activation,
        }

    @property
    def settings(self) -> RerankerSettings:
        """The threshold and the calibration in the model folder."""
        return read_settings(self.folder)

    @property
    def first_stage_weight(self) -> float:
        """The suite's weight of BM25, else that of the model folder."""
        if self.spec.first_stage_weight is not None:
            return self.spec.first_stage_weight
        return self.settings.first_stage_weight
