"""Texts → vectors with a bi-encoder, as sentence-transformers' ``SentenceTransformer`` makes them."""

import hashlib
import json
import os
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bioqa.arguments import check_items, check_path, check_type
from bioqa.encode.config import EncoderConfig, read_encoder_config
from bioqa.encode.head import normalized
from bioqa.errors import ModelError, UsageError
from bioqa.index.manifest import VectorInfo
from bioqa.rerank.device import resolve_devices
from bioqa.rerank.load_model import LoadedModel, check_engine, explained, load_networks
from bioqa.rerank.model_folder.files import CONFIG_FILE, TOKENIZER_FILES, WEIGHTS_FILE, weight_files
from bioqa.rerank.model_folder.resolve import DEFAULT_NAME, ModelKind, resolve_model
from bioqa.rerank.workers import Workers
from bioqa.types import Article

DEFAULT_FOLDER = Path(__file__).parent / "default"
ENCODER = ModelKind("encoder", DEFAULT_FOLDER, "sentence-transformers", "--model")


class Encoder:
    """A bi-encoder of texts. Safe to use from several threads at once. It can be pickled: the model is loaded again, with the same
    arguments, where it is unpickled.

    ``name`` is the name under which it was loaded, ``folder`` contains its files, ``dimension`` is that of its vectors,
    ``max_length`` the number of tokens that it reads of a text (None: all), ``device`` torch's name of the device (for several GPUs
    a comma-separated list) and ``engine`` the compute engine (one of ``rerank.load_model.ENGINES``). Questions are encoded after
    ``query_prompt``, articles after ``article_prompt``. Vectors are meant to be compared by ``similarity``: "cosine" or "dot".
    ``digest`` identifies the vectors that it makes: it is that of its weights, tokenizer and settings.

    With the engine "exact", vectors equal those of ``SentenceTransformer(folder)``'s ``encode_query`` and ``encode_document`` to
    1e-5. With "cpu-int8", the default on a CPU for the models that it supports, they differ by the rounding of weights and
    activations to 8 bits, but do not depend on the texts encoded with them. With "gpu", the default on CUDA GPUs for the same
    models, they differ by the rounding to 16 bits.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = DEFAULT_NAME,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_length: int | None = None,
        engine: str = "auto",
        pooling: str | None = None,
    ) -> None:
        """Find and load a bi-encoder.

        ``name_or_path`` is "default" or None (the built-in bge-small-en-v1.5), a folder, or a Hugging Face hub name. ``max_length``
        is in tokens, None for the model's own. ``batch_size`` is a number of texts; with the engine "gpu" a batch has that many
        times 1,024 tokens. ``pooling`` (one of ``rerank.pooling.POOLINGS``) replaces the folder's own, as for models that were not
        saved by sentence-transformers.

        Raises:
            ModelError: the model is not found, not usable, or not supported by the engine.
            SetupError: the device does not exist.
            UsageError: another argument is invalid.
        """
        check_type("name_or_path", name_or_path, str, os.PathLike, NoneType)
        if name_or_path is not None:
            check_path("name_or_path", name_or_path)
        check_type("device", device, str)
        check_type("batch_size", batch_size, int)
        check_type("max_length", max_length, int, NoneType)
        check_type("engine", engine, str)
        check_type("pooling", pooling, str, NoneType)
        if batch_size < 1:
            raise UsageError(f"A batch size of {batch_size} is invalid; use 1 or more.")
        check_engine(engine)
        devices = resolve_devices(device)
        self.name, self.folder = resolve_model(name_or_path, ENCODER)
        with explained(f"The encoder {self.name}", self.folder):
            self._config: EncoderConfig = read_encoder_config(self.name, self.folder, pooling)
            self._model: LoadedModel = load_networks(self._config.model, devices, max_length, engine)
        self.batch_size = batch_size
        self.dimension = self._config.dimension
        self.max_length = self._model.tokenizer.max_length
        self.device = ",".join(dict.fromkeys(self._model.devices))
        self.engine = self._model.engine
        self.pooling = self._config.model.pooling
        self.similarity = self._config.similarity
        self.query_prompt = self._config.query_prompt
        self.article_prompt = self._config.article_prompt
        own_folder = self.folder != DEFAULT_FOLDER and Path(self.name).expanduser().is_dir()
        self._source = self.folder.resolve() if own_folder else self.name
        self._arguments: dict[str, Any] = {
            "device": device,
            "batch_size": batch_size,
            "max_length": max_length,
            "engine": engine,
            "pooling": pooling,
        }
        self._workers = Workers(self.name, self._model.devices, self._model.networks, "encoder", "texts")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arguments; a folder by its absolute path."""
        return partial(type(self), **self._arguments), (self._source,)

    @property
    def label(self) -> str:
        """Name, engine and device, to display."""
        return f"{self.name} ({self.engine} on {self.device})"

    @cached_property
    def digest(self) -> str:
        """SHA-256, in hex, of what the vectors depend on: weights, tokenizer, pooling, prompts and maximum length."""
        config = self._config
        folder = config.model.folder
        tokenizer = [path for pattern in TOKENIZER_FILES for path in sorted(folder.glob(pattern))]
        modules = [own / name for own in config.folders for name in (CONFIG_FILE, WEIGHTS_FILE)]
        settings = [self.pooling, config.normalize, self.query_prompt, self.article_prompt, self.max_length]
        digest = hashlib.sha256(json.dumps(settings).encode())
        for path in (folder / CONFIG_FILE, *weight_files(folder), *tokenizer, *modules):
            if path.is_file():
                with path.open("rb") as file:
                    digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    @property
    def info(self) -> VectorInfo:
        """How its vectors are made, as an index records it."""
        return VectorInfo(
            str(self._source),
            self.digest,
            self.dimension,
            self.similarity,
            self._arguments["pooling"],
            self._arguments["max_length"],
        )

    def encode_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of n questions: float32 (n, dimension). Raises ModelError if the model fails."""
        return self._encode(check_items("texts", texts, str), self.query_prompt)

    def encode_query(self, text: str) -> NDArray[np.float32]:
        """The vector of one question: float32 (dimension,). Raises ModelError if the model fails."""
        check_type("text", text, str)
        vector: NDArray[np.float32] = self.encode_queries([text])[0]
        return vector

    def encode_articles(self, articles: Sequence[Article]) -> NDArray[np.float32]:
        """The vectors of n articles, of the first ``max_length`` tokens of title and abstract: float32 (n, dimension)."""
        return self.encode_passages([article.default_text() for article in check_items("articles", articles, Article)])

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of n texts of articles: float32 (n, dimension). Raises ModelError if the model fails."""
        return self._encode(check_items("texts", texts, str), self.article_prompt)

    def _encode(self, texts: Sequence[str], prompt: str) -> NDArray[np.float32]:
        chunks = self._model.tokenizer.encode_chunks([prompt + text for text in texts])
        batches = self._model.batches(chunks, self.batch_size)
        vectors = self._workers.vectors(batches, len(texts), self._config.pooled_width)
        for dense in self._config.dense:
            vectors = dense(vectors)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise ModelError(
                f"The encoder {self.name} returned values that are not finite for text {int(np.argmin(finite)) + 1}; its weights "
                f"are damaged{', or its values overflow 16-bit floats: try --engine exact' if self._model.packed else ''}."
            )
        return normalized(vectors) if self._config.normalize else vectors
