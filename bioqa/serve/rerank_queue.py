"""The queue in front of the reranker: bounded in tokens, it batches the pairs of concurrent requests together."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

from bioqa.errors import BioqaError, ModelError
from bioqa.serve.errors import CancelledError, DeadlineError, OverloadedError, TooLargeError

if TYPE_CHECKING:
    from bioqa.rerank.pair_tokenizer import TokenizedPair
    from bioqa.rerank.reranker import Reranker, Scores

_log = logging.getLogger(__name__)

FIRST_RATE = 5_000.0
"""Tokens a second that the queue reckons with until it has measured."""
DEADLINE_SHARE = 0.6
"""The share of a request's time that its pairs may be expected to wait."""
SMOOTHING = 0.2
"""The weight of the latest measurement in the mean of tokens a second."""


class Ticket:
    """One request: until when its client waits, and whether it still does.

    ``deadline`` is on ``time.monotonic``'s clock. A ticket that may ``wait`` waits for room in a full queue, others are
    refused. ``queue_seconds`` is the time that its pairs have waited for the reranker, ``tokens`` their number. ``slots`` is the
    semaphore that its threads hold while they compute, and give back while they wait.
    """

    def __init__(self, seconds: float, *, wait: bool = False) -> None:
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds
        self.wait = wait
        self.slots: threading.Semaphore | None = None
        self.cancelled = False
        self.admitted = False
        self.queue_seconds = 0.0
        self.tokens = 0

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, 0 after it."""
        return max(0.0, self.deadline - time.monotonic())

    def cancel(self) -> None:
        """The client went away: what is not yet computed is not computed any more."""
        self.cancelled = True

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Give back the slot meanwhile."""
        if self.slots is None:
            yield
            return
        self.slots.release()
        try:
            yield
        finally:
            self.slots.acquire()

    def check(self) -> None:
        """Raise DeadlineError after the deadline, and CancelledError if the client went away."""
        if self.cancelled:
            raise CancelledError("The client closed the connection before its request was answered.")
        if self.remaining <= 0:
            raise DeadlineError(f"The request was not answered within {self.seconds:g} seconds.")


class _Entry:
    """The pairs of one call, longest first, and the scores of those computed so far."""

    def __init__(self, ticket: Ticket, encoded: "Sequence[TokenizedPair]") -> None:
        self.ticket = ticket
        self.order = sorted(range(len(encoded)), key=lambda at: -len(encoded[at].ids))
        self.encoded = [encoded[at] for at in self.order]
        self.tokens = sum(len(pair.ids) for pair in encoded)
        self.taken = 0
        self.entered = time.monotonic()
        self.parts: list[Scores] = []
        self.result: Future[Scores] = Future()

    def take(self, room: int) -> "list[TokenizedPair]":
        """The next pairs, as many as have ``room`` tokens; at least one."""
        begin = self.taken
        while self.taken < len(self.encoded):
            room -= len(self.encoded[self.taken].ids)
            if room < 0 and self.taken > begin:
                break
            self.taken += 1
        return self.encoded[begin : self.taken]

    @property
    def untaken(self) -> int:
        """The tokens of the pairs not yet taken."""
        return sum(len(pair.ids) for pair in self.encoded[self.taken :])

    def add(self, scores: "Scores") -> None:
        """Add the scores of pairs taken; the last ones make the result."""
        self.parts.append(scores)
        if sum(len(part.logits) for part in self.parts) == len(self.order) and not self.result.done():
            import numpy as np

            joined = type(scores).joined(self.parts)
            self.result.set_result(joined.rows(np.argsort(self.order)))

    def fail(self, error: BaseException) -> None:
        """Raise the error where the result is waited for."""
        if not self.result.done():
            self.result.set_exception(error)


class RerankQueue:
    """Scores pairs for many threads on one thread of its own, in batches of ``batch_tokens`` tokens from whoever waits.

    At most ``max_tokens`` tokens wait. A call for which there is no room is refused if it is the first of its ticket; later ones
    wait for room before any new ticket, as a refusal would waste what was computed. ``observe`` is called with the number of pairs
    and tokens of each batch.
    """

    def __init__(
        self,
        reranker: "Reranker",
        max_tokens: int,
        batch_tokens: int,
        observe: Callable[[int, int], None] | None = None,
    ) -> None:
        self.reranker = reranker
        self.max_tokens = max_tokens
        self.batch_tokens = batch_tokens
        self.tokens_per_second = FIRST_RATE
        self.observe = observe
        self._measured = False
        self._waiting: deque[_Entry] = deque()
        self._tokens = 0
        self._admitted_waiters = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="bioqa-reranker", daemon=True)
        self._thread.start()

    @property
    def tokens(self) -> int:
        """The tokens that wait or are being computed."""
        return self._tokens

    @property
    def full(self) -> bool:
        """Whether a new request is refused."""
        return self._tokens >= self.max_tokens or self._admitted_waiters > 0

    def retry_after(self, tokens: int = 0) -> int:
        """Seconds until there is room for ``tokens`` more, from the tokens in the queue and the measured speed; at least 1."""
        excess = self._tokens + tokens - self.max_tokens
        return max(1, ceil(max(excess, self.batch_tokens) / self.tokens_per_second))

    def check_room(self, ticket: Ticket) -> None:
        """Raise OverloadedError if the queue is full and the ticket does not wait."""
        if self.full and not ticket.admitted and not ticket.wait:
            raise self._overloaded(0)

    def for_ticket(self, ticket: Ticket) -> "QueuedReranker":
        """The reranker as a pipeline uses it for one request."""
        return QueuedReranker(self, ticket)

    def score_pairs(
        self, ticket: Ticket, pairs: Sequence[tuple[str, str]], *, whole_questions: bool = False
    ) -> "Scores":
        """What ``Reranker.score_pairs`` returns, computed together with the pairs of other requests.

        Raises:
            OverloadedError: the queue has no room for the pairs.
            TooLargeError: they have more tokens than the queue may hold.
            DeadlineError: they were not computed by the ticket's deadline.
            CancelledError: the ticket was cancelled.
            BioqaError: what ``Reranker.score_pairs`` raises.
        """
        ticket.check()
        if not pairs:
            return self.reranker.score_pairs(pairs, whole_questions=whole_questions)
        entry = _Entry(ticket, self.reranker.encode_pairs(pairs, whole_questions=whole_questions))
        with ticket.waiting():
            self._enter(entry)
            try:
                return entry.result.result(ticket.remaining)
            except FutureTimeoutError:
                ticket.check()
                raise

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    def _enter(self, entry: _Entry) -> None:
        ticket = entry.ticket
        if entry.tokens > self.max_tokens:
            raise TooLargeError(
                f"The request has {entry.tokens:,} tokens to rerank; the limit queue_tokens is {self.max_tokens:,}. "
                "Send fewer or shorter documents."
            )
        with self._changed:
            before = ticket.admitted
            self._admitted_waiters += before
            try:
                ticket.check()
                if not before and not ticket.wait and self._is_too_late(entry):
                    seconds = self.retry_after(entry.tokens)
                    raise OverloadedError(
                        f"{self._tokens:,} tokens wait for the reranker, too many to answer within {ticket.seconds:g} seconds. "
                        f"Try again in {seconds} seconds, or allow more time.",
                        retry_after=seconds,
                    )
                while not self._has_room(entry.tokens, before=before):
                    if not before and not ticket.wait:
                        raise self._overloaded(entry.tokens)
                    self._changed.wait(min(ticket.remaining, 1.0))
                    ticket.check()
            finally:
                self._admitted_waiters -= before
            ticket.admitted = True
            ticket.tokens += entry.tokens
            self._tokens += entry.tokens
            if before:  # its request is half done: others wait
                self._waiting.appendleft(entry)
            else:
                self._waiting.append(entry)
            self._changed.notify_all()

    def _is_too_late(self, entry: _Entry) -> bool:
        """Whether a call would probably miss its deadline, and should rather be refused now than fail then."""
        return (self._tokens + entry.tokens) / self.tokens_per_second > DEADLINE_SHARE * entry.ticket.remaining

    def _has_room(self, tokens: int, *, before: bool) -> bool:
        """Whether a call may enter: a new ticket's only if none that was admitted ``before`` waits for room."""
        return self._tokens + tokens <= self.max_tokens and (before or not self._admitted_waiters)

    def _overloaded(self, tokens: int) -> OverloadedError:
        seconds = self.retry_after(tokens)
        return OverloadedError(
            f"{self._tokens:,} tokens wait for the reranker, of {self.max_tokens:,} that may. Try again in {seconds} seconds.",
            retry_after=seconds,
        )

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return
                batch = self._take()
            if batch:
                self._compute(batch)

    def _take(self) -> "list[tuple[_Entry, list[TokenizedPair]]]":
        """The next batch, first come first served; calls whose client went away or is too late are dropped."""
        batch: list[tuple[_Entry, list[TokenizedPair]]] = []
        room = self.batch_tokens
        now = time.monotonic()
        while self._waiting and room > 0:
            entry = self._waiting[0]
            try:
                entry.ticket.check()
            except BioqaError as problem:
                self._waiting.popleft()
                self._release(entry.untaken)
                entry.fail(problem)
                continue
            if batch and len(entry.encoded[entry.taken].ids) > room:
                break
            if not entry.taken:
                entry.ticket.queue_seconds += now - entry.entered
            taken = entry.take(room)
            room -= sum(len(pair.ids) for pair in taken)
            batch.append((entry, taken))
            if entry.taken == len(entry.encoded):
                self._waiting.popleft()
        return batch

    def _compute(self, batch: "list[tuple[_Entry, list[TokenizedPair]]]") -> None:
        pairs = [pair for _, taken in batch for pair in taken]
        tokens = sum(len(pair.ids) for pair in pairs)
        started = time.monotonic()
        try:
            scores = self.reranker.score_encoded(pairs)
            self._measure(tokens, time.monotonic() - started)
            begin = 0
            for entry, taken in batch:
                entry.add(scores.rows(slice(begin, begin + len(taken))))
                begin += len(taken)
        except Exception as problem:
            self._failed(batch, problem)
        if self.observe is not None:
            self.observe(len(pairs), tokens)
        with self._changed:
            self._release(tokens)

    def _failed(self, batch: "list[tuple[_Entry, list[TokenizedPair]]]", problem: Exception) -> None:
        """Compute each request of a failed batch by itself, so that only the one at fault fails."""
        if len(batch) == 1:
            self._drop(batch[0][0], problem)
            return
        for entry, taken in batch:
            try:
                entry.add(self.reranker.score_encoded(taken))
            except Exception as own:
                self._drop(entry, own)

    def _drop(self, entry: _Entry, problem: Exception) -> None:
        if not isinstance(problem, BioqaError):
            _log.error("The reranker failed.", exc_info=problem)
            problem = ModelError(f"The reranker {self.reranker.name} failed: {type(problem).__name__}.")
        entry.fail(problem)
        with self._changed:
            if entry in self._waiting:
                self._waiting.remove(entry)
                self._release(entry.untaken)

    def _release(self, tokens: int) -> None:
        self._tokens -= tokens
        self._changed.notify_all()

    def _measure(self, tokens: int, seconds: float) -> None:
        rate = tokens / max(seconds, 1e-6)
        weight = SMOOTHING if self._measured else 1.0
        self._measured = True
        self.tokens_per_second += weight * (rate - self.tokens_per_second)


class QueuedReranker:
    """A reranker whose pairs go through the queue for one request; all else is the reranker's own."""

    def __init__(self, queue: RerankQueue, ticket: Ticket) -> None:
        self._queue = queue
        self._ticket = ticket

    def __getattr__(self, name: str) -> Any:
        return getattr(self._queue.reranker, name)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, whole_questions: bool = False) -> "Scores":
        """As ``RerankQueue.score_pairs``."""
        return self._queue.score_pairs(self._ticket, pairs, whole_questions=whole_questions)
