"""A reranker in memory: what it is called, its tokenizer and its network."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bioqa.errors import BioqaError, ModelError, UsageError
from bioqa.rerank import int8
from bioqa.rerank.decision import Decision
from bioqa.rerank.device import keep_memory, resolve_devices
from bioqa.rerank.lengths import max_length as choose_length
from bioqa.rerank.load_tokenizer import load_tokenizer, reason
from bioqa.rerank.locate import locate
from bioqa.rerank.network import Network, load_network
from bioqa.rerank.settings import Settings, read_settings
from bioqa.rerank.tokens import PairTokenizer

ENGINES = ("auto", "exact", "cpu-int8")
"""``exact``: fp32, any architecture, any device. ``cpu-int8``: see ``int8``. ``auto``: cpu-int8 where it can, else exact."""

CPU_BATCH_TOKENS = 2048
"""Tokens of a batch on CPU, beyond which its activations leave the processor's caches and a token takes longer."""


@dataclass(frozen=True, slots=True)
class Model:
    """``prompt`` goes before every question; ``activation`` is a key of ``activations.SCALES``; ``devices`` are torch's names,
    and ``networks`` are the same network on each of them, or for each core. ``engine`` is one of ``ENGINES``, never "auto".
    Batches have ``batch_tokens`` at most, and ``padded_length`` says what a pair is padded to (None: no limit; the longest of
    its batch).
    """

    name: str
    folder: Path
    tokenizer: PairTokenizer
    networks: tuple[Network, ...]
    prompt: str
    activation: str
    decision: Decision
    devices: tuple[str, ...]
    engine: str
    batch_tokens: int | None = None
    padded_length: Callable[[int], int] | None = None


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
    settings = read_settings(name, folder)
    source = load_tokenizer(settings)
    length = choose_length(
        settings, source.model_max_length, max_length, source.backend.num_special_tokens_to_add(True)
    )
    tokenizer = PairTokenizer(source.backend, length, source.padding, segments=source.segments, cut=source.cut)
    parts = (name, folder, tokenizer)
    rest = (settings.prompt, settings.activation, settings.decision)
    if _takes_int8(engine, settings, places):
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        try:
            networks = (int8.Int8Network(settings),) * cores
        except ModelError:
            if engine != "auto":
                raise  # else it is for the exact engine to say what is wrong with the weights
        else:
            return Model(*parts, networks, *rest, ("cpu",) * cores, "cpu-int8", int8.BATCH_TOKENS, int8.padded_length)
    on_cpu = places == ("cpu",)
    if on_cpu:
        keep_memory()
    exact = tuple(load_network(settings, place, segments=source.segments) for place in places)
    return Model(*parts, exact, *rest, places, "exact", CPU_BATCH_TOKENS if on_cpu else None)


def _takes_int8(engine: str, settings: Settings, places: tuple[str, ...]) -> bool:
    """Whether cpu-int8 runs a model. Raises ModelError or UsageError where it was asked for and cannot."""
    if engine == "exact":
        return False
    obstacle = int8.why_not(settings)
    if engine == "auto":
        return places == ("cpu",) and not obstacle
    if places != ("cpu",):
        raise UsageError(
            f"The engine cpu-int8 runs on the CPU, not on {','.join(places)}: use --device cpu, or another engine."
        )
    if obstacle:
        raise ModelError(
            f"The engine cpu-int8 cannot run the reranker {settings.name}: {obstacle}. Use --engine exact."
        )
    return True
