"""Score passages for questions with a cross-encoder, as sentence-transformers' ``CrossEncoder`` does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, UsageError
from bioqa.rerank.activations import SCALES, activate, probabilities
from bioqa.rerank.batches import Batch, batches
from bioqa.rerank.load_tokenizer import reason
from bioqa.rerank.locate import DEFAULT_NAME
from bioqa.rerank.models import load_model

CPU_BATCH_TOKENS = 2048
"""Tokens of a batch on CPU, beyond which its activations leave the processor's caches and a token takes longer."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a model made of n pairs, in the order they were given; arrays of shape (n,).

    ``logits`` float32, the raw output. ``scores`` float32, after the model's own activation (on ``Reranker.scale``).
    ``probabilities`` float32, calibrated where the model is, else the logistic function of the logit. ``truncated``
    bool, whether text was cut to the maximum length.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    truncated: NDArray[np.bool_]


class Ranked(TypedDict, total=False):
    """One entry of ``Reranker.rank``, with sentence-transformers' keys; "text" only where it was asked for."""

    corpus_id: int
    score: float
    text: str


class Reranker:
    """A cross-encoder with one label. Safe to use from several threads at once.

    ``name`` is how the model was asked for, ``folder`` where it lies, ``max_length`` the tokens it reads of a pair
    (None: all), ``device`` torch's name of where it runs, ``activation`` the saved activation and ``scale`` in words
    what ``score`` is on. ``threshold`` is the score from which on a passage counts as relevant, and ``calibration`` what makes a
    logit a probability, both as training chose them on its dev pairs (None and the logistic function where it did not).

    Scores equal ``sentence_transformers.CrossEncoder(folder, model_kwargs={"dtype": torch.float32}).predict`` to 1e-4.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = DEFAULT_NAME,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_length: int | None = None,
    ) -> None:
        """Load the model: see ``models.load_model`` for the arguments and errors. ``batch_size`` is in pairs."""
        if batch_size < 1:
            raise UsageError(f"A batch size of {batch_size} is not possible; give 1 or more.")
        self._model = load_model(name_or_path, device, max_length)
        self.batch_size = batch_size
        self.name = self._model.name
        self.folder = self._model.folder
        self.max_length = self._model.tokenizer.max_length
        self.device = self._model.device
        self._most_tokens = CPU_BATCH_TOKENS if self.device == "cpu" else None
        self.activation = self._model.activation
        self.scale = SCALES[self.activation]
        self.threshold = self._model.decision.threshold
        self.calibration = self._model.decision.calibration

    @property
    def pair_tokens(self) -> int:
        """The tokens of ``max_length`` that are spent on every pair: special ones, and the model's prompt."""
        tokenizer = self._model.tokenizer
        return tokenizer.special + (tokenizer.count([self._model.prompt])[0] if self._model.prompt else 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, special ones apart, counted up to ``max_length``."""
        return self._model.tokenizer.count(texts)

    def score_pairs(self, pairs: Sequence[tuple[str, str]]) -> Scores:
        """Everything about (question, passage) pairs, of one question or of many, batched together by length.

        Raises ModelError where the model fails or gives something that is not a number.
        """
        model = self._model
        tokens = list(model.tokenizer.encode([(model.prompt + question, passage) for question, passage in pairs]))
        logits = np.zeros(len(tokens), dtype=np.float32)
        for batch in batches(tokens, self.batch_size, model.tokenizer.padding, self._most_tokens):
            logits[batch.rows] = self._run(batch)
        if not np.isfinite(logits).all():
            bad = int(np.flatnonzero(~np.isfinite(logits))[0])
            raise ModelError(
                f"The reranker {self.name} gave {logits[bad]} for pair {bad + 1}; its weights are damaged."
            )
        truncated = np.array([pair.truncated for pair in tokens], dtype=np.bool_)
        likely = probabilities(logits, self.calibration.a, self.calibration.b)
        return Scores(logits, activate(self.activation, logits), likely, truncated)

    def _run(self, batch: Batch) -> NDArray[np.float32]:
        """The logits of one batch, and a sentence instead of a library's traceback."""
        import torch

        shape = f"{len(batch.rows)} pairs of {batch.ids.shape[1]} tokens"
        try:
            return self._model.network(batch)
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"The reranker {self.name} ran out of memory on {self.device} with {shape}; use a smaller batch size."
            ) from error
        except (IndexError, RuntimeError) as error:
            raise ModelError(
                f"The reranker {self.name} failed on {shape}: {reason(error)} "
                "Its tokenizer and weights may not belong together."
            ) from error

    def _score(self, question: str, passages: Sequence[str]) -> Scores:
        return self.score_pairs([(question, passage) for passage in passages])

    def logits(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The model's raw outputs for n passages: float32 of shape (n,)."""
        return self._score(question, passages).logits

    def score(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The model's scores on its own ``scale`` for n passages, as ``CrossEncoder.predict`` gives: float32 of shape
        (n,).
        """
        return self._score(question, passages).scores

    def probabilities(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The probabilities that n passages are relevant (see ``calibration``): float32 of shape (n,), 0 to 1."""
        return self._score(question, passages).probabilities

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[Ranked]:
        """The documents best first, as ``CrossEncoder.rank`` returns them: {"corpus_id", "score", "text"}.

        ``corpus_id`` is the place in ``documents``; ties keep the given order. ``top_k`` cuts the list.
        """
        scores = self.score(query, documents).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:top_k]
        if return_documents:
            return [{"corpus_id": i, "score": scores[i], "text": documents[i]} for i in order]
        return [{"corpus_id": i, "score": scores[i]} for i in order]
