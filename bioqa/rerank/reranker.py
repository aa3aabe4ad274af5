"""Score passages for questions with a cross-encoder, as sentence-transformers' ``CrossEncoder`` does."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bioqa.arguments import check_items, check_path, check_type, shown
from bioqa.errors import ModelError, QuestionError, UsageError
from bioqa.rerank.activations import SCALES, activate, probabilities
from bioqa.rerank.load_model import load_model
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER, DEFAULT_NAME
from bioqa.rerank.pair_tokenizer import TokenizedPair
from bioqa.rerank.workers import Workers

MIN_PASSAGE_SHARE = 0.25
"""The share of the maximum length that a question must leave for the passage."""


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """A model's output for n pairs, in input order; all arrays have shape (n,).

    ``logits`` float32, the raw output. ``scores`` float32, after the model's own activation (on ``Reranker.scale``, as is
    ``Reranker.threshold``). ``probabilities`` float32, calibrated if the model is, else the logistic function of the logit.
    ``truncated`` bool, whether text was cut off at the maximum length. ``unread`` int64, the number of characters of the passage
    that were cut off.
    """

    logits: NDArray[np.float32]
    scores: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    unread: NDArray[np.int64]

    def rows(self, chosen: "slice | NDArray[np.int64]") -> "Scores":
        """The output for some of the pairs, in the order chosen."""
        return Scores(
            self.logits[chosen],
            self.scores[chosen],
            self.probabilities[chosen],
            self.truncated[chosen],
            self.unread[chosen],
        )

    @staticmethod
    def joined(parts: "Sequence[Scores]") -> "Scores":
        """The output for the pairs of all parts, one part after another."""
        return Scores(
            np.concatenate([part.logits for part in parts]),
            np.concatenate([part.scores for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.truncated for part in parts]),
            np.concatenate([part.unread for part in parts]),
        )


class RankedDocument(TypedDict, total=False):
    """One entry of ``Reranker.rank``, with sentence-transformers' keys; "text" only if requested."""

    corpus_id: int
    score: float
    text: str


class Reranker:
    """A cross-encoder with one label. Safe to use from several threads at once. It can be pickled: the model is loaded again, with
    the same arguments, where it is unpickled.

    ``name`` is the name under which it was loaded, ``folder`` contains its files, ``max_length`` is the number of tokens that it
    reads of a pair (None: all), ``device`` is torch's name of the device (for several GPUs a comma-separated list), ``engine`` the
    compute engine (one of ``load_model.ENGINES``) and ``activation`` the saved activation.

    A logit becomes three different numbers. ``score`` returns the activation of the logit, on the model's own ``scale`` (in words);
    ``threshold`` is on this scale: passages that score at least that count as relevant. ``probabilities`` returns what
    ``calibration`` makes of the logit; it is what searches show, and must not be compared with ``threshold``. A ``Pipeline`` ranks
    by the logit plus ``first_stage_weight`` times the first-stage score (``Hit.score``) if that is BM25's; ``first_stage_weights``
    has the factors of other scores by their kind ("minmax"). Threshold, calibration and weight were
    chosen on dev pairs in training (if not: None, the logistic function and 0).

    With the engine "exact", scores equal ``sentence_transformers.CrossEncoder(folder, model_kwargs={"dtype":
    torch.float32}).predict`` to 1e-4. With "cpu-int8", the default on a CPU for the models that it supports, they differ by the
    rounding of weights and activations to 8 bits, but do not depend on the pairs scored with them. With "gpu", the default on
    CUDA GPUs for the same models, they differ by the rounding to 16 bits (see ``engines.gpu``), and slightly from batch to batch.

    Texts may be in any iterable, such as a list or an array. Every method raises UsageError for an argument of the wrong type.
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
        """Load the model: see ``load_model`` for the arguments and errors.

        ``batch_size`` is a number of pairs; with the engine "gpu" a batch has that many times ``gpu.TOKENS_PER_PAIR`` tokens,
        of any number of pairs.
        """
        check_type("name_or_path", name_or_path, str, os.PathLike, NoneType)
        if name_or_path is not None:
            check_path("name_or_path", name_or_path)
        check_type("device", device, str)
        check_type("max_length", max_length, int, NoneType)
        check_type("engine", engine, str)
        check_type("batch_size", batch_size, int)
        if batch_size < 1:
            raise UsageError(f"A batch size of {batch_size} is invalid; use 1 or more.")
        self._model = load_model(name_or_path, device, max_length, engine)
        self.batch_size = batch_size
        config, tokenizer = self._model.config, self._model.tokenizer
        self.name = config.name
        self.folder = config.folder
        self.max_length = tokenizer.max_length
        self.device = ",".join(dict.fromkeys(self._model.devices))
        self.engine = self._model.engine
        self.activation = config.activation
        self.scale = SCALES[config.activation]
        self.threshold = config.settings.threshold
        self.calibration = config.settings.calibration
        self.first_stage_weight = config.settings.first_stage_weight
        self.first_stage_weights = dict(config.settings.first_stage_weights)
        own_folder = self.folder != DEFAULT_FOLDER and Path(self.name).expanduser().is_dir()
        self._source = self.folder.resolve() if own_folder else self.name
        self._arguments: dict[str, Any] = {"device": device, "max_length": max_length, "engine": engine}
        self._tokenizer = tokenizer
        self._prompt = config.prompt
        self._workers = Workers(self.name, self._model.devices, self._model.networks)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as its arguments and the attributes that may have been set since; a folder by its absolute path."""
        names = ("name", "batch_size", "threshold", "calibration", "first_stage_weight", "first_stage_weights")
        return partial(type(self), **self._arguments), (self._source,), {name: getattr(self, name) for name in names}

    @property
    def label(self) -> str:
        """Name, engine and device, to display."""
        return f"{self.name} ({self.engine} on {self.device})"

    @property
    def overhead_tokens(self) -> int:
        """The tokens of ``max_length`` that every pair spends on special tokens and the model's prompt."""
        return self._tokenizer.special_tokens + (self._tokenizer.count([self._prompt])[0] if self._prompt else 0)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text without special tokens, at most ``max_length``."""
        return self._tokenizer.count(check_items("texts", texts, str))

    def max_passage_tokens(self, question: str) -> int | None:
        """The number of tokens that are left for a passage beside the whole question; None if unlimited.

        Raises QuestionError if that is less than ``MIN_PASSAGE_SHARE`` of ``max_length``.
        """
        check_type("question", question, str)
        if self.max_length is None:
            return None
        question_tokens = self.count_tokens([question])[0]
        left = self.max_length - self.overhead_tokens - question_tokens
        reserved = int(MIN_PASSAGE_SHARE * self.max_length)
        if left < reserved:
            at_least = "at least " if question_tokens >= self.max_length else ""
            raise QuestionError(
                f"The question has {at_least}{question_tokens:,} tokens; the reranker {self.name} reads {self.max_length:,} "
                f"tokens of question and article together, {reserved:,} of them reserved for the article. Shorten the question, "
                "or search without a reranker."
            )
        return left

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, whole_questions: bool = False) -> Scores:
        """Score n (question, passage) pairs, of one question or of many, batched together by length.

        Pairs that are too long lose the end of their longer text, as in ``CrossEncoder``; with ``whole_questions``, the end of
        the passage only. Raises ModelError if the model fails or returns a value that is not finite, and with
        ``whole_questions`` what ``max_passage_tokens`` raises.
        """
        pairs = _checked_pairs(pairs)
        return self._score_chunks(self._encode(pairs, whole_questions), len(pairs))

    def encode_pairs(self, pairs: Sequence[tuple[str, str]], *, whole_questions: bool = False) -> list[TokenizedPair]:
        """The tokens of pairs, for ``score_encoded``: the two together do what ``score_pairs`` does, and raise what it raises."""
        return list(chain.from_iterable(self._encode(_checked_pairs(pairs), whole_questions)))

    def score_encoded(self, encoded: Sequence[TokenizedPair]) -> Scores:
        """Score n pairs that ``encode_pairs`` returned, in one call or in several."""
        pairs = check_items("encoded", encoded, TokenizedPair)
        return self._score_chunks(iter([pairs]), len(pairs))

    def _encode(self, pairs: Sequence[tuple[str, str]], whole_questions: bool) -> Iterator[list[TokenizedPair]]:
        check_type("whole_questions", whole_questions, bool)
        for question in {question for question, _ in pairs} if whole_questions else ():
            self.max_passage_tokens(question)
        texts = [(self._prompt + question, passage) for question, passage in pairs]
        return self._tokenizer.encode_chunks(texts, only_second=whole_questions)

    def _score_chunks(self, chunks: Iterator[list[TokenizedPair]], count: int) -> Scores:
        cuts: list[tuple[bool, int]] = []
        batches = self._model.batches(_recorded(chunks, cuts), self.batch_size)
        logits = self._workers.logits(batches, count)
        if not np.isfinite(logits).all():
            bad = int(np.flatnonzero(~np.isfinite(logits))[0])
            raise ModelError(
                f"The reranker {self.name} returned {logits[bad]} for pair {bad + 1}; its weights are damaged"
                f"{', or its values overflow 16-bit floats: try --engine exact' if self._model.packed else ''}."
            )
        truncated = np.array([cut for cut, _ in cuts], dtype=np.bool_)
        unread = np.array([characters for _, characters in cuts], dtype=np.int64)
        return Scores(logits, self.activate(logits), self.calibrate(logits), truncated, unread)

    def calibrate(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities of logits by ``calibration``: float32, same shape."""
        return probabilities(_as_logits(logits), self.calibration.a, self.calibration.b)

    def activate(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of logits on the model's own ``scale``: float32, same shape."""
        return activate(self.activation, _as_logits(logits))

    def _score(self, question: str, passages: Sequence[str]) -> Scores:
        check_type("question", question, str)
        return self.score_pairs([(question, passage) for passage in check_items("passages", passages, str)])

    def logits(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The model's raw output for n passages: float32 of shape (n,)."""
        return self._score(question, passages).logits

    def score(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The scores of n passages on the model's own ``scale``, as ``CrossEncoder.predict`` returns: float32 of shape (n,).

        ``threshold`` is on this scale.
        """
        return self._score(question, passages).scores

    def probabilities(self, question: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """The probabilities that n passages are relevant (see ``calibration``): float32 of shape (n,), 0 to 1.

        ``threshold`` is not on this scale.
        """
        return self._score(question, passages).probabilities

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False
    ) -> list[RankedDocument]:
        """The documents best first, as ``CrossEncoder.rank`` returns them: {"corpus_id", "score", "text"}.

        ``corpus_id`` is the index in ``documents``; ties keep their input order. ``top_k`` limits the list.
        """
        check_type("query", query, str)
        check_type("top_k", top_k, int, NoneType)
        check_type("return_documents", return_documents, bool)
        documents = check_items("documents", documents, str)
        scores = self.score(query, documents).tolist()
        order = sorted(range(len(scores)), key=scores.__getitem__, reverse=True)[:top_k]
        if return_documents:
            return [{"corpus_id": i, "score": scores[i], "text": documents[i]} for i in order]
        return [{"corpus_id": i, "score": scores[i]} for i in order]


def _recorded(chunks: Iterator[list[TokenizedPair]], cuts: list[tuple[bool, int]]) -> Iterator[list[TokenizedPair]]:
    """The chunks; (truncated, unread) of each pair is appended to ``cuts``."""
    for chunk in chunks:
        cuts += [(pair.truncated, pair.unread) for pair in chunk]
        yield chunk


def _checked_pairs(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs as a list; raises UsageError for one that is not two texts."""
    checked = check_items("pairs", pairs, tuple, list)
    for position, pair in enumerate(checked):
        if len(pair) != 2:
            raise UsageError(f"pairs[{position}] must be a question and a passage, not {len(pair)} values.")
        check_type(f"The question of pairs[{position}]", pair[0], str)
        check_type(f"The passage of pairs[{position}]", pair[1], str)
    return checked


def _as_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """The logits as float32, same shape. Raises UsageError if they are not numbers."""
    try:
        return np.asarray(logits, dtype=np.float32)
    except (TypeError, ValueError):
        raise UsageError(f"logits must be an array of numbers, not {shown(logits)}.") from None
