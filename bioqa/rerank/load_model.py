"""Load a reranker or an encoder: its tokenizer, its config and a network on each device."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from pathlib import Path

from bioqa.errors import BioqaError, ModelError, UsageError, first_line
from bioqa.rerank.batching import Batch, make_batches
from bioqa.rerank.device import keep_freed_memory, resolve_device, resolve_devices
from bioqa.rerank.engines import cpu_int8, gpu
from bioqa.rerank.engines.exact import load_exact_network
from bioqa.rerank.engines.network import Network
from bioqa.rerank.model_folder.architectures import unsupported_architecture
from bioqa.rerank.model_folder.config import ModelConfig, read_config
from bioqa.rerank.model_folder.max_length import choose_max_length
from bioqa.rerank.model_folder.resolve import resolve_model
from bioqa.rerank.model_folder.tokenizer import load_tokenizer
from bioqa.rerank.pair_tokenizer import LoadedTokenizer, PairTokenizer, Text, TokenizedPair

ENGINES = ("auto", "exact", "cpu-int8", "gpu")
"""``exact``: fp32, any architecture, any device. ``cpu-int8`` and ``gpu``: see the modules of these names. ``auto``: cpu-int8 on a
CPU and gpu on CUDA GPUs for the models that they support, else exact.
"""

EXACT_CPU_BATCH_TOKENS = 2048
"""Maximum number of tokens in a batch of exact on a CPU: the activations of larger ones do not fit into the processor's caches,
and each token takes longer.
"""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to score batches.

    ``networks`` are the same network once per device (or, for cpu-int8, per core) of ``devices``, which are torch's names.
    ``engine`` is one of ``ENGINES``, never "auto". Batches have at most ``batch_tokens`` tokens (None: no limit), and
    ``padded_length`` is the length that a pair is padded to (None: the longest of its batch). ``packed``: padding costs nothing,
    and batches are measured in tokens, ``gpu.TOKENS_PER_PAIR`` per pair of the batch size.
    """

    config: ModelConfig
    tokenizer: PairTokenizer
    networks: tuple[Network, ...]
    devices: tuple[str, ...]
    engine: str
    batch_tokens: int | None = None
    padded_length: Callable[[int], int] | None = None
    packed: bool = False

    def batches(self, chunks: Iterator[list[TokenizedPair]], size: int) -> Iterator[Batch]:
        """Batches of ``size`` pairs or texts, if the engine packs them of ``gpu.TOKENS_PER_PAIR`` times as many tokens.

        Packed batches are made of one chunk after another, so that a GPU computes the first ones meanwhile; others are made of
        all of them at once, so that those of similar length come together.
        """
        max_tokens, first = self.batch_tokens, 0
        if self.packed:
            size, max_tokens = sys.maxsize, size * gpu.TOKENS_PER_PAIR
        else:
            chunks = iter([list(chain.from_iterable(chunks))])
        for chunk in chunks:
            for batch in make_batches(chunk, size, self.tokenizer.padding, max_tokens, self.padded_length):
                yield replace(batch, rows=batch.rows + first)
            first += len(chunk)


def load_model(
    name_or_path: str | Path | None, device: str = "auto", max_length: int | None = None, engine: str = "auto"
) -> LoadedModel:
    """Find and load a cross-encoder with one label.

    ``name_or_path`` is "default" or None (the built-in model), a folder, or a Hugging Face hub name. ``max_length`` is in
    tokens, None for the model's own. ``engine`` is one of ``ENGINES``.

    Raises ModelError (the model is not found, not usable or not supported by the engine), SetupError (device) or UsageError
    (max_length, engine).
    """
    check_engine(engine)
    devices = resolve_devices(device)
    name, folder = resolve_model(name_or_path)
    with explained(f"The reranker {name}", folder):
        return load_networks(read_config(name, folder), devices, max_length, engine)


@contextmanager
def explained(name: str, folder: Path) -> Iterator[None]:
    """Within the block, an unexpected error, such as for a value of the wrong type in one of the folder's files, is raised as a
    ModelError. ``name`` is what messages call the model.
    """
    try:
        yield
    except BioqaError:
        raise
    except Exception as error:
        raise ModelError(f"{name} cannot be loaded from {folder}: {first_line(error)}") from error


def check_engine(engine: str) -> None:
    """Raise UsageError for an unknown engine."""
    if engine not in ENGINES:
        raise UsageError(f"Unknown engine {engine!r}; choose from {', '.join(ENGINES)}.")


def load_networks(config: ModelConfig, devices: tuple[str, ...], max_length: int | None, engine: str) -> LoadedModel:
    """The tokenizer and networks of a model whose config has been read. Raises as ``load_model``."""
    tokenizer = load_tokenizer(config)
    special_tokens = tokenizer.backend.num_special_tokens_to_add(not config.pooling)
    length = choose_max_length(config, tokenizer.model_max_length, max_length, special_tokens)
    make = partial(LoadedModel, config=config, tokenizer=tokenizer.for_pairs(length))
    *preferred, last = _engines_to_try(engine, config, devices)
    for candidate in preferred:
        with suppress(ModelError):  # the exact engine will explain what is wrong with the weights
            return _LOADERS[candidate](make, config, devices, tokenizer)
    return _LOADERS[last](make, config, devices, tokenizer)


def _load_exact(
    make: Callable[..., LoadedModel], config: ModelConfig, devices: tuple[str, ...], tokenizer: LoadedTokenizer
) -> LoadedModel:
    on_cpu = devices == ("cpu",)
    if on_cpu:
        keep_freed_memory()
    networks = tuple(
        load_exact_network(config, device, use_segment_ids=tokenizer.has_segment_ids, pad_id=tokenizer.padding.id)
        for device in devices
    )
    limit = EXACT_CPU_BATCH_TOKENS if on_cpu else None
    return make(networks=networks, devices=devices, engine="exact", batch_tokens=limit)


def _load_cpu_int8(
    make: Callable[..., LoadedModel], config: ModelConfig, devices: tuple[str, ...], tokenizer: LoadedTokenizer
) -> LoadedModel:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    network = cpu_int8.Int8Network(
        config, use_segment_ids=tokenizer.has_segment_ids, sample_batches=partial(_sample_batches, tokenizer, config)
    )
    return make(
        networks=(network,) * cores,
        devices=devices * cores,
        engine="cpu-int8",
        batch_tokens=cpu_int8.BATCH_TOKENS,
        padded_length=cpu_int8.padded_length,
    )


def _sample_batches(tokenizer: LoadedTokenizer, config: ModelConfig) -> Iterator[Batch]:
    """``cpu_int8.SAMPLE_PAIRS``, or the texts in them for an encoder; never truncated: the graph does not depend on it."""
    from tokenizers import Tokenizer

    copy = replace(tokenizer, backend=Tokenizer.from_str(tokenizer.backend.to_str()))
    texts: list[Text] = (
        list(chain.from_iterable(cpu_int8.SAMPLE_PAIRS)) if config.pooling else list(cpu_int8.SAMPLE_PAIRS)
    )
    pairs = list(copy.for_pairs(None).encode(texts))
    return make_batches(pairs, len(pairs), tokenizer.padding, padded_length=cpu_int8.padded_length)


def _load_gpu(
    make: Callable[..., LoadedModel], config: ModelConfig, devices: tuple[str, ...], tokenizer: LoadedTokenizer
) -> LoadedModel:
    networks = tuple(gpu.GpuNetwork(config, device, use_segment_ids=tokenizer.has_segment_ids) for device in devices)
    return make(networks=networks, devices=devices, engine="gpu", packed=True)


_LOADERS = {"gpu": _load_gpu, "cpu-int8": _load_cpu_int8, "exact": _load_exact}
"""Engine → what loads a model for it, the fastest first."""


def _engines_to_try(engine: str, config: ModelConfig, devices: tuple[str, ...]) -> list[str]:
    """The engines to try in turn. Raises ModelError or UsageError if the requested one cannot run the model."""
    if engine == "auto":
        return [name for name in _LOADERS if not (_device_problem(name, devices) or engine_problem(name, config))]
    if problem := _device_problem(engine, devices):
        raise UsageError(f"The engine {engine} {problem}, or another engine.")
    if problem := engine_problem(engine, config):
        raise ModelError(
            f"The engine {engine} cannot run the {config.kind} {config.name}: {problem}. Use --engine exact."
        )
    return [engine]


def _device_problem(engine: str, devices: tuple[str, ...]) -> str | None:
    """Why an engine does not run on these devices, as the middle of a sentence; None if it does."""
    if engine == "cpu-int8" and devices != ("cpu",):
        return f"runs on the CPU, not on {','.join(devices)}: use --device cpu"
    if engine == "gpu" and not all(device.startswith(gpu.DEVICES) for device in devices):
        return f"runs on CUDA GPUs, not on {','.join(devices)}: use --device cuda if PyTorch sees one"
    return None


def engine_problem(engine: str, config: ModelConfig) -> str | None:
    """Why an engine cannot run a model on any device, as the end of a sentence; None if it can."""
    if engine == "cpu-int8":
        return cpu_int8.unsupported_model(config)
    return unsupported_architecture(config) if engine == "gpu" else None


def engine_problems(config: ModelConfig) -> dict[str, str | None]:
    """Engine → why it cannot run a model on this machine, as the end of a sentence; None if it can."""
    problems = {engine: engine_problem(engine, config) for engine in reversed(_LOADERS)}
    if not resolve_device("auto").startswith(gpu.DEVICES):
        problems["gpu"] = problems["gpu"] or "PyTorch sees no CUDA GPU here"
    return problems
