"""Score passages for questions with a cross-encoder, as sentence-transformers' ``CrossEncoder`` does."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TypedDict

import numpy as np
from numpy.typing import NDArray

from bioqa.errors import ModelError, QuestionError, UsageError
from bioqa.rerank.activations import SCALES, activate, probabilities
from bioqa.rerank.batching import Batch, batches
from bioqa.rerank.engines.gpu import PAIR_TOKENS
from bioqa.rerank.load_model import load_model
from bioqa.rerank.model_folder.resolve import DEFAULT_NAME
from bioqa.rerank.tokens import Tokens
from bioqa.rerank.workers import Workers

LEAST_SHARE = 0.25
"""Of the maximum length, how much a question must leave for the passage."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """What a model made of n pairs, in the order they were given; arrays of shape (n,).

    ``logits`` float32, the raw output. ``scores`` float32, after the model's own activation (on ``Reranker.scale``).
    ``probabilities`` float32, calibrated where the model is, else the logistic function of the logit. ``truncated``
    bool, whether text was cut to the maximum length. ``unread`` int64, the characters of the passage that were cut off.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    unread: NDArray[np.int64]


class Ranked(TypedDict, total=False):
    """One entry of ``Reranker.rank``, with sentence-transformers' keys; "text" only where it was asked for."""

    corpus_id: int
    score: float
    text: str


class Reranker:
    """A cross-encoder with one label. Safe to use from several threads at once.

    ``name`` is how the model was asked for, ``folder`` where it lies, ``max_length`` the tokens it reads of a pair
    (None: all), ``device`` torch's name of where it runs (those of several GPUs parted by commas), ``activation`` the
    saved activation and ``scale`` in words what ``score`` is on. ``engine`` is what runs it: one of ``models.ENGINES``.
    ``threshold`` is the score from which on a passage counts as relevant, and ``calibration`` what makes a logit a probability,
    both as training chose them on its dev pairs (None and the logistic function where it did not). ``first_stage_weight``
    times the first-stage score is added to the logit in a ``Pipeline``.

    On the engine "exact", scores equal ``sentence_transformers.CrossEncoder(folder, model_kwargs={"dtype":
    torch.float32}).predict`` to 1e-4. On "cpu-int8", which is chosen on a CPU for the models that it can run, they differ by the
    rounding of weights and activations to 8 bits, and are the same whatever is scored beside a pair. On "gpu", which is chosen on
    CUDA GPUs for the same models, they differ by the rounding to 16 bits (see ``gpu``), and so may a pair's score from batch to
    batch.
    """

    def __init__(
        self,
        name_or_path: str | Path | None = DEFAULT_NAME,
        *,
        device: str = "auto",
        batch_size: int = 32,
        max_length: int | None = None,
        engine: str = "auto",
    ) -> None:
        """Load the model: see ``models.load_model`` for the arguments and errors.

        ``batch_size`` is in pairs; on the engine "gpu" each stands for ``gpu.PAIR_TOKENS`` tokens, however many pairs these are.
        """
        if batch_size < 1:
            raise UsageError(f"A batch size of {batch_size} is not possible; give 1 or more.")
        self._model = load_model(name_or_path, device, max_length, engine)
        self.batch_size = batch_size
        self.name = self._model.name
        self.folder = self._model.folder
        self.max_length = self._model.tokenizer.max_length
        self.device = ",".join(dict.fromkeys(self._model.devices))
        self.engine = self._model.engine
        self._workers = Workers(self.name, self._model.devices, self._model.networks)
        self.activation = self._model.activation
        self.scale = SCALES[self.activation]
        self.threshold = self._model.settings.threshold
        self.calibration = self._model.settings.calibration
        self.first_stage_weight = self._model.settings.first_stage_weight

    @property
    def label(self) -> str:
        """Name, engine and device in words, for people."""
        return f"{self.name} ({self.engine} on {self.device})"

    @property
    def pair_tokens(self) -> int:
        """The tokens of ``max_length`` that are spent on every pair: special ones, and the model's prompt."""
        tokenizer = self._model.tokenizer
        return tokenizer.special + (tokenizer.count([self._model.prompt])[0] if self._model.prompt else 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each text, special ones apart, counted up to ``max_length``."""
        return self._model.tokenizer.count(texts)

    def passage_tokens(self, question: str) -> int | None:
        """The tokens of a passage that are read beside the whole question, None for all.

        Raises QuestionError where they are less than ``LEAST_SHARE`` of ``max_length``.
        """
        if self.max_length is None:
            return None
        asked = self.count_tokens([question])[0]
        room = self.max_length - self.pair_tokens - asked
        least = int(LEAST_SHARE * self.max_length)
        if room < least:
            raise QuestionError(
                f"The question has {'at least ' * (asked >= self.max_length)}{asked:,} tokens; the reranker {self.name} reads "
                f"{self.max_length:,} of question and article together, and {least:,} of them are kept for the article. Shorten "
                "the question, or search without a reranker."
            )
        return room

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, whole_questions: bool = False) -> Scores:
        """Everything about (question, passage) pairs, of one question or of many, batched together by length.

        A pair that is too long loses the end of its longer text, as in ``CrossEncoder``, or with ``whole_questions`` the end of
        the passage alone. Raises ModelError where the model fails or gives something that is not a number, and with
        ``whole_questions`` what ``passage_tokens`` raises.
        """
        for question in {question for question, _ in pairs} if whole_questions else ():
            self.passage_tokens(question)
        model = self._model
        texts = [(model.prompt + question, passage) for question, passage in pairs]
        read: list[tuple[bool, int]] = []
        chunks = model.tokenizer.encode_chunks(texts, keep_first=whole_questions)
        logits = self._workers.logits(self._batches(chunks, read), len(texts))
        if not np.isfinite(logits).all():
            bad = int(np.flatnonzero(~np.isfinite(logits))[0])
            raise ModelError(
                f"The reranker {self.name} gave {logits[bad]} for pair {bad + 1}; its weights are damaged"
                f"{', or 16-bit numbers cannot hold its values: try --engine exact' if model.packed else ''}."
            )
        truncated = np.array([cut for cut, _ in read], dtype=np.bool_)
        unread = np.array([characters for _, characters in read], dtype=np.int64)
        return Scores(logits, activate(self.activation, logits), self.calibrated(logits), truncated, unread)

    def _batches(self, chunks: Iterator[list[Tokens]], read: list[tuple[bool, int]]) -> Iterator[Batch]:
        """Batches of the pairs that come in chunks; ``read`` takes up whether each is cut, and its characters not read.

        Packed batches are made of one chunk after another, while a GPU computes those before; others of all pairs, for batches
        of similar lengths.
        """
        model = self._model
        size, most_tokens = self.batch_size, model.batch_tokens
        if model.packed:
            size, most_tokens = sys.maxsize, self.batch_size * PAIR_TOKENS
        else:
            chunks = iter([list(chain.from_iterable(chunks))])
        for chunk in chunks:
            first = len(read)
            read += [(pair.truncated, pair.unread) for pair in chunk]
            for batch in batches(chunk, size, model.tokenizer.padding, most_tokens, model.padded_length):
                yield replace(batch, rows=batch.rows + first)

    def calibrated(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities that logits stand for: float32 of the same shape."""
        return probabilities(logits, self.calibration.a, self.calibration.b)

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
