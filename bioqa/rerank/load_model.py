"""A reranker in memory: what it is called, its tokenizer and its network."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bioqa.errors import BioqaError, ModelError, UsageError
from bioqa.rerank.batching import Batch, batches
from bioqa.rerank.device import keep_memory, resolve_device, resolve_devices
from bioqa.rerank.engines import cpu_int8 as int8
from bioqa.rerank.engines import gpu
from bioqa.rerank.engines.exact import Network, load_network
from bioqa.rerank.model_folder.architectures import outside_families
from bioqa.rerank.model_folder.config import ModelConfig, read_config
from bioqa.rerank.model_folder.max_length import max_length as choose_length
from bioqa.rerank.model_folder.resolve import locate
from bioqa.rerank.model_folder.settings import RerankerSettings
from bioqa.rerank.model_folder.tokenizer import Source, load_tokenizer, reason
from bioqa.rerank.tokens import PairTokenizer

ENGINES = ("auto", "exact", "cpu-int8", "gpu")
"""``exact``: fp32, any architecture, any device. ``cpu-int8`` and ``gpu``: see modules ``int8`` and ``gpu``. ``auto``: cpu-int8 on
a CPU and gpu on CUDA GPUs, where they can run the model, else exact.
"""

CPU_BATCH_TOKENS = 2048
"""Tokens of a batch on CPU, beyond which its activations leave the processor's caches and a token takes longer."""


@dataclass(frozen=True, slots=True)
class Model:
    """``prompt`` goes before every question; ``activation`` is a key of ``activations.SCALES``; ``devices`` are torch's names,
    and ``networks`` are the same network on each of them, or for each core. ``engine`` is one of ``ENGINES``, never "auto".
    Batches have ``batch_tokens`` at most, and ``padded_length`` says what a pair is padded to (None: no limit; the longest of
    its batch). ``packed``: padding costs nothing, and batches are measured in tokens, ``gpu.PAIR_TOKENS`` for a pair.
    """

    name: str
    folder: Path
    tokenizer: PairTokenizer
    networks: tuple[Network, ...]
    prompt: str
    activation: str
    settings: RerankerSettings
    devices: tuple[str, ...]
    engine: str
    batch_tokens: int | None = None
    padded_length: Callable[[int], int] | None = None
    packed: bool = False


def load_model(
    name_or_path: str | Path | None, device: str = "auto", max_length: int | None = None, engine: str = "auto"
) -> Model:
    """Find and load a cross-encoder with one label.

    ``name_or_path`` is "default" or None (the built-in model), a folder, or a Hugging Face hub name. ``max_length`` is
    in tokens, None for the model's own. ``engine`` is one of ``ENGINES``. Raises ModelError (not found or not usable, or not on
    that engine), SetupError (device) or UsageError (max_length, engine).
    """
    if engine not in ENGINES:
        raise UsageError(f"There is no engine {engine!r}; choose {', '.join(ENGINES)}.")
    places = resolve_devices(device)
    name, folder = locate(name_or_path)
    try:
        return _load(name, folder, places, max_length, engine)
    except BioqaError:
        raise
    except Exception as error:  # a value of the wrong kind in one of the folder's files
        raise ModelError(f"The reranker {name} cannot be loaded from {folder}: {reason(error)}") from error


def _load(name: str, folder: Path, places: tuple[str, ...], max_length: int | None, engine: str) -> Model:
    settings = read_config(name, folder)
    source = load_tokenizer(settings)
    length = choose_length(
        settings, source.model_max_length, max_length, source.backend.num_special_tokens_to_add(True)
    )
    tokenizer = PairTokenizer(source.backend, length, source.padding, segments=source.segments, cut=source.cut)
    make = partial(
        Model,
        name=name,
        folder=folder,
        tokenizer=tokenizer,
        prompt=settings.prompt,
        activation=settings.activation,
        settings=settings.settings,
    )
    *faster, last = _choose(engine, settings, places)
    for chosen in faster:
        with suppress(ModelError):  # it is for the exact engine to say what is wrong with the weights
            return _BUILD[chosen](make, settings, places, source)
    return _BUILD[last](make, settings, places, source)


def _exact(make: Callable[..., Model], settings: ModelConfig, places: tuple[str, ...], source: Source) -> Model:
    on_cpu = places == ("cpu",)
    if on_cpu:
        keep_memory()
    networks = tuple(load_network(settings, place, segments=source.segments) for place in places)
    return make(networks=networks, devices=places, engine="exact", batch_tokens=CPU_BATCH_TOKENS if on_cpu else None)


def _int8(make: Callable[..., Model], settings: ModelConfig, places: tuple[str, ...], source: Source) -> Model:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return make(
        networks=(int8.Int8Network(settings, segments=source.segments, sample=partial(_sample, source)),) * cores,
        devices=places * cores,
        engine="cpu-int8",
        batch_tokens=int8.BATCH_TOKENS,
        padded_length=int8.padded_length,
    )


def _sample(source: Source) -> Iterator[Batch]:
    """``int8.SAMPLE`` uncut, whatever length is asked for: the graph that comes of it serves all."""
    from tokenizers import Tokenizer

    backend = Tokenizer.from_str(source.backend.to_str())
    tokenizer = PairTokenizer(backend, None, source.padding, segments=source.segments)
    pairs = list(tokenizer.encode(int8.SAMPLE))
    return batches(pairs, len(pairs), source.padding, padded_length=int8.padded_length)


def _gpu(make: Callable[..., Model], settings: ModelConfig, places: tuple[str, ...], source: Source) -> Model:
    networks = tuple(gpu.GpuNetwork(settings, place, segments=source.segments) for place in places)
    return make(networks=networks, devices=places, engine="gpu", packed=True)


_BUILD = {"gpu": _gpu, "cpu-int8": _int8, "exact": _exact}
"""Engine → what makes a model run on it; the fastest first."""


def _choose(engine: str, settings: ModelConfig, places: tuple[str, ...]) -> list[str]:
    """The engines to try, the last of which must do. Raises ModelError or UsageError where the one asked for cannot."""
    if engine == "auto":
        return [name for name in _BUILD if not (_wrong_device(name, places) or wrong_model(name, settings))]
    if place := _wrong_device(engine, places):
        raise UsageError(f"The engine {engine} {place}, or another engine.")
    if obstacle := wrong_model(engine, settings):
        raise ModelError(
            f"The engine {engine} cannot run the reranker {settings.name}: {obstacle}. Use --engine exact."
        )
    return [engine]


def _wrong_device(engine: str, places: tuple[str, ...]) -> str:
    """What to say of an engine that does not run on these devices, "" where it does."""
    if engine == "cpu-int8" and places != ("cpu",):
        return f"runs on the CPU, not on {','.join(places)}: use --device cpu"
    if engine == "gpu" and not all(place.startswith(gpu.DEVICES) for place in places):
        return f"runs on CUDA GPUs, not on {','.join(places)}: use --device cuda where PyTorch sees one"
    return ""


def wrong_model(engine: str, settings: ModelConfig) -> str:
    """Why an engine cannot run a model on any device, as the end of a sentence; "" where it can."""
    obstacles = {"cpu-int8": int8.why_not, "gpu": outside_families}
    return obstacles[engine](settings) if engine in obstacles else ""


def unavailable(settings: ModelConfig) -> dict[str, str]:
    """Engine → why it cannot run a model on this machine, as the end of a sentence; "" where it can."""
    found = {engine: wrong_model(engine, settings) for engine in reversed(_BUILD)}
    if not resolve_device("auto").startswith(gpu.DEVICES):
        found["gpu"] = found["gpu"] or "PyTorch sees no CUDA GPU here"
    return found
