"""A reranker in memory: what it is called, its tokenizer and its network."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.errors import BioqaError, ModelError
from bioqa.rerank.decision import Decision
from bioqa.rerank.device import keep_memory, resolve_device
from bioqa.rerank.lengths import max_length as choose_length
from bioqa.rerank.load_tokenizer import load_tokenizer, reason
from bioqa.rerank.locate import locate
from bioqa.rerank.network import Network, load_network
from bioqa.rerank.settings import read_settings
from bioqa.rerank.tokens import PairTokenizer


@dataclass(frozen=True, slots=True)
class Model:
    """``prompt`` goes before every question; ``activation`` is a key of ``activations.SCALES``; ``device`` is torch's
    name.
    """

    name: str
    folder: Path
    tokenizer: PairTokenizer
    network: Network
    prompt: str
    activation: str
    device: str
    decision: Decision


def load_model(name_or_path: str | Path | None, device: str = "auto", max_length: int | None = None) -> Model:
    """Find and load a cross-encoder with one label, in fp32.

    ``name_or_path`` is "default" or None (the built-in model), a folder, or a Hugging Face hub name. ``max_length`` is
    in tokens, None for the model's own. Raises ModelError (not found or not usable), SetupError (device) or UsageError
    (max_length).
    """
    place = resolve_device(device)
    if place == "cpu":
        keep_memory()
    name, folder = locate(name_or_path)
    try:
        return _load(name, folder, place, max_length)
    except BioqaError:
        raise
    except Exception as error:  # a value of the wrong kind in one of the folder's files
        raise ModelError(f"The reranker {name} cannot be loaded from {folder}: {reason(error)}") from error


def _load(name: str, folder: Path, place: str, max_length: int | None) -> Model:
    settings = read_settings(name, folder)
    source = load_tokenizer(settings)
    length = choose_length(
        settings, source.model_max_length, max_length, source.backend.num_special_tokens_to_add(True)
    )
    tokenizer = PairTokenizer(source.backend, length, source.padding, segments=source.segments, cut=source.cut)
    network = load_network(settings, place, segments=source.segments)
    return Model(name, folder, tokenizer, network, settings.prompt, settings.activation, place, settings.decision)
