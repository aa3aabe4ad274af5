"""The queue in front of the reranker."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bioqa.errors import ModelError
from bioqa.serve.errors import CancelledError, DeadlineError, OverloadedError, TooLargeError
from bioqa.serve.rerank_queue import RerankQueue, Ticket

PAIRS = [("which gene", f"{'the CFTR protein cell ' * (1 + place % 5)} {place}") for place in range(12)]


@pytest.fixture
def make_queue():
    queues = []

    def make(reranker, max_tokens: int = 10_000, batch_tokens: int = 10_000) -> RerankQueue:
        queues.append(RerankQueue(reranker, max_tokens, batch_tokens))
        return queues[-1]

    yield make
    for queue in queues:
        if hasattr(queue.reranker, "gate"):
            queue.reranker.gate.set()
        queue.close()


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def occupy(queue: RerankQueue, pool: ThreadPoolExecutor, ticket: Ticket | None = None):
    """A call that keeps the gated reranker busy; later ones wait behind it."""
    before = len(queue.reranker.batches)
    done = pool.submit(queue.score_pairs, ticket or Ticket(30), PAIRS[:1])
    wait_until(lambda: len(queue.reranker.batches) > before)
    return done


@pytest.mark.parametrize("batch_tokens", [1, 50, 10_000])
def test_scores_are_the_rerankers_whatever_the_batches(make_queue, reranker, batch_tokens):
    queue = make_queue(reranker, batch_tokens=batch_tokens)
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(queue.score_pairs, Ticket(30), PAIRS[place:]) for place in range(8)]
        for place, call in enumerate(calls):
            expected, found = reranker.score_pairs(PAIRS[place:]), call.result()
            for name in ("logits", "scores", "probabilities"):
                np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-5)
            assert (found.truncated == expected.truncated).all()
            assert (found.unread == expected.unread).all()
    wait_until(lambda: queue.tokens == 0)


def test_no_pairs_have_no_scores(make_queue, reranker):
    assert len(make_queue(reranker).score_pairs(Ticket(30), []).logits) == 0


def test_pairs_of_concurrent_calls_are_batched_together(make_queue, gated):
    queue = make_queue(gated)
    with ThreadPoolExecutor(4) as pool:
        first = occupy(queue, pool)
        others = [pool.submit(queue.score_pairs, Ticket(30), PAIRS[:3]) for _ in range(3)]
        wait_until(lambda: len(queue._waiting) == 3)
        gated.gate.set()
        for call in (first, *others):
            call.result()
    assert gated.batches == [1, 9]


def test_a_call_beyond_the_limit_is_refused_with_the_time_to_wait(make_queue, gated):
    tokens = sum(len(pair.ids) for pair in gated.encode_pairs(PAIRS))
    queue = make_queue(gated, max_tokens=tokens + 5)
    with ThreadPoolExecutor(2) as pool:
        first = occupy(queue, pool)
        second = pool.submit(queue.score_pairs, Ticket(30), PAIRS[1:])
        wait_until(lambda: queue.tokens == tokens)
        with pytest.raises(OverloadedError, match=rf"{tokens} tokens wait") as refused:
            queue.tokens_per_second = 10.0
            queue.score_pairs(Ticket(1e6), PAIRS)
        # Room for all pairs is there when all but 5 of the tokens are computed, at 10 a second.
        assert refused.value.retry_after == max(1, int(np.ceil(max(tokens - 5, queue.batch_tokens) / 10)))
        gated.gate.set()
        first.result()
        second.result()
    assert len(queue.score_pairs(Ticket(30), PAIRS).logits) == len(PAIRS)


def test_a_call_that_never_fits_is_too_large(make_queue, reranker):
    with pytest.raises(TooLargeError, match="queue_tokens is 20"):
        make_queue(reranker, max_tokens=20).score_pairs(Ticket(30), PAIRS)


def test_later_calls_of_an_admitted_ticket_wait_before_new_tickets(make_queue, gated):
    tokens = sum(len(pair.ids) for pair in gated.encode_pairs(PAIRS))
    queue = make_queue(gated, max_tokens=tokens)
    with ThreadPoolExecutor(3) as pool:
        admitted = Ticket(30)
        first = occupy(queue, pool, admitted)
        later = pool.submit(queue.score_pairs, admitted, PAIRS)
        wait_until(lambda: queue.full)
        with pytest.raises(OverloadedError):
            queue.score_pairs(Ticket(30), PAIRS[:1])
        with pytest.raises(OverloadedError):
            queue.check_room(Ticket(30))
        patient = pool.submit(queue.score_pairs, Ticket(30, wait=True), PAIRS[:2])
        time.sleep(0.05)
        assert not later.done()
        assert not patient.done()
        gated.gate.set()
        assert len(first.result().logits) == 1
        assert len(later.result().logits) == len(PAIRS)
        assert len(patient.result().logits) == 2


def test_what_is_too_late_or_cancelled_is_not_computed(make_queue, gated):
    queue = make_queue(gated)
    with ThreadPoolExecutor(3) as pool:
        first = occupy(queue, pool)
        gone = Ticket(30)
        cancelled = pool.submit(queue.score_pairs, gone, PAIRS[:5])
        late = pool.submit(queue.score_pairs, Ticket(0.1), PAIRS[:7])
        wait_until(lambda: len(queue._waiting) == 2)
        gone.cancel()
        with pytest.raises(DeadlineError, match=r"within 0.1 seconds"):
            late.result()
        gated.gate.set()
        with pytest.raises(CancelledError):
            cancelled.result()
        first.result()
    wait_until(lambda: queue.tokens == 0)
    assert gated.batches == [1]


def test_a_failure_reaches_only_its_own_call(make_queue, gated, monkeypatch):
    queue = make_queue(gated)
    score = gated.score_encoded

    def fail_on_two(encoded):
        found = score(encoded)
        if len(encoded) in (2, 5):  # 5 are both calls together
            raise RuntimeError("broken")
        return found

    with ThreadPoolExecutor(3) as pool:
        first = occupy(queue, pool)
        monkeypatch.setattr(gated, "score_encoded", fail_on_two)
        good = pool.submit(queue.score_pairs, Ticket(30), PAIRS[:3])
        bad = pool.submit(queue.score_pairs, Ticket(30), PAIRS[:2])
        wait_until(lambda: len(queue._waiting) == 2)
        gated.gate.set()
        first.result()
        assert len(good.result().logits) == 3
        with pytest.raises(ModelError, match="RuntimeError"):
            bad.result()
    wait_until(lambda: queue.tokens == 0)
    assert len(queue.score_pairs(Ticket(30), PAIRS[:4]).logits) == 4


def test_closing_finishes_what_waits(reranker):
    queue = RerankQueue(reranker, 10_000, 50)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(queue.score_pairs, Ticket(30), PAIRS) for _ in range(4)]
        wait_until(lambda: queue.tokens > 0)
        queue.close()
        assert all(len(call.result().logits) == len(PAIRS) for call in calls if not call.exception())
    assert not any(thread.name == "bioqa-reranker" and thread is queue._thread for thread in threading.enumerate())


def test_a_call_that_would_miss_its_deadline_is_refused_at_once(make_queue, gated):
    queue = make_queue(gated)
    tokens = sum(len(pair.ids) for pair in gated.encode_pairs(PAIRS))
    with ThreadPoolExecutor(1) as pool:
        first = occupy(queue, pool)
        queue.tokens_per_second = tokens / 10  # its pairs take ten seconds
        with pytest.raises(OverloadedError, match="too many to answer within 12 seconds"):
            queue.score_pairs(Ticket(12), PAIRS)
        gated.gate.set()
        first.result()
    queue.tokens_per_second = tokens / 10
    assert len(queue.score_pairs(Ticket(30), PAIRS).logits) == len(PAIRS)


def test_a_waiting_call_gives_its_slot_back(make_queue, gated):
    queue = make_queue(gated)
    ticket, slots = Ticket(30), threading.Semaphore(1)
    ticket.slots = slots

    def call():
        with slots:
            return queue.score_pairs(ticket, PAIRS[:2])

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(call)
        wait_until(lambda: gated.batches)
        assert slots.acquire(timeout=20)
        gated.gate.set()
        wait_until(lambda: queue.tokens == 0)
        assert not done.done()
        slots.release()
        assert len(done.result().logits) == 2


def test_an_admitted_ticket_goes_before_others(make_queue, gated):
    queue = make_queue(gated, batch_tokens=1)
    with ThreadPoolExecutor(3) as pool:
        admitted = Ticket(30)
        first = occupy(queue, pool, admitted)
        other = pool.submit(queue.score_pairs, Ticket(30), PAIRS[:3])
        wait_until(lambda: len(queue._waiting) == 1)
        later = pool.submit(queue.score_pairs, admitted, PAIRS[:2])
        wait_until(lambda: len(queue._waiting) == 2)
        assert queue._waiting[0].ticket is admitted
        gated.gate.set()
        for call in (first, other, later):
            call.result()
