"""The rerankers of a suite: loaded only if something is to be scored, and identified by their content."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bioqa.bench.run_cache import file_sha256, fingerprint
from bioqa.bench.suite import RerankerSpec
from bioqa.errors import UsageError
from bioqa.rerank.model_folder.settings import SETTINGS_FILE, RerankerSettings, read_settings

if TYPE_CHECKING:
    from bioqa.rerank.reranker import Reranker

CONTENT = (".json", ".safetensors", ".txt", ".model")
"""Suffixes of the files that determine a model's scores."""


class SuiteReranker:
    """A reranker as the suite names it; ``name`` and ``folder`` are those of ``Reranker``."""

    def __init__(self, spec: RerankerSpec) -> None:
        from bioqa.rerank.model_folder.resolve import resolve_model

        self.spec = spec
        self.name, self.folder = resolve_model(spec.model or spec.name)

    def check(self) -> None:
        """Raise the errors that ``Reranker`` would, before anything is run; the weights are not checked.

        Raises:
            ModelError: the folder is not a cross-encoder's, or bioqa.json is damaged.
            UsageError: there is no such engine.
            SetupError: the device is not available.
        """
        from bioqa.rerank.device import resolve_devices
        from bioqa.rerank.load_model import ENGINES
        from bioqa.rerank.model_folder.config import read_config

        if self.spec.engine not in ("", *ENGINES):
            raise UsageError(
                f"Reranker {self.spec.name}: unknown engine {self.spec.engine!r}. Engines: {', '.join(ENGINES)}."
            )
        resolve_devices(self.spec.device)
        read_config(self.name, self.folder)
        _ = self.settings

    @cached_property
    def loaded(self) -> "Reranker":
        """The reranker itself; raises what ``Reranker`` raises."""
        from bioqa.rerank.reranker import Reranker

        return Reranker(self.spec.model or self.spec.name, **self.spec.options())

    @cached_property
    def key(self) -> str:
        """A fingerprint of everything that logits and times depend on: the model's content, options, libraries and device.

        It leaves out threshold, calibration and first-stage weight (bioqa.json), which are applied to cached logits.
        """
        from importlib import metadata

        from bioqa.rerank.device import resolve_device
        from bioqa.rerank.engines.cpu_int8 import GRAPH_VERSION

        files = sorted(file for file in self.folder.iterdir() if file.suffix in CONTENT and file.name != SETTINGS_FILE)
        content = [[file.name, file_sha256(file)] for file in files]
        devices = [resolve_device(name) for name in self.spec.device.split(",")]
        versions = [metadata.version(name) for name in ("torch", "transformers", "tokenizers")]
        if self._rounded(devices):
            versions += [metadata.version("onnxruntime"), str(GRAPH_VERSION)]
        return fingerprint(content, self.spec.options(), devices, versions)

    def _rounded(self, devices: Sequence[str]) -> bool:
        """Whether it runs with the engine cpu-int8 (asked for, or chosen by ``Reranker``), without loading it."""
        from bioqa.rerank.load_model import engine_problem
        from bioqa.rerank.model_folder.config import read_config

        if self.spec.engine not in ("", "auto"):
            return self.spec.engine == "cpu-int8"
        return devices == ["cpu"] and not engine_problem("cpu-int8", read_config(self.name, self.folder))

    def facts(self) -> dict[str, Any]:
        """The model and what it runs on, for the report."""
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
        """The first-stage weight of the suite, else that of the model folder."""
        if self.spec.first_stage_weight is not None:
            return self.spec.first_stage_weight
        return self.settings.first_stage_weight
