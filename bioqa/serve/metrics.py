"""What /metrics shows, in Prometheus' format.

With several workers the values of all of them are added up, through files in the folder that PROMETHEUS_MULTIPROC_DIR names.
"""

import os
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from bioqa.serve.service import Service

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PAIRS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_TOKENS = (64, 256, 1024, 2048, 4096, 8192, 16384, 65536)
FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("bioqa_requests", "Requests answered.", ["method", "path", "status"], registry=registry)
        self.durations = Histogram(
            "bioqa_request_duration_seconds", "From request to answer.", ["path"], buckets=_SECONDS, registry=registry
        )
        self.queue_durations = Histogram(
            "bioqa_queue_duration_seconds", "Waiting for the reranker.", buckets=_SECONDS, registry=registry
        )
        self.rejections = Counter(
            "bioqa_rejections", "Requests that were not answered, by reason.", ["code"], registry=registry
        )
        self.cancelled = Counter(
            "bioqa_cancelled_requests", "Requests whose client went away first.", registry=registry
        )
        self.batch_pairs = Histogram(
            "bioqa_batch_pairs", "Pairs that the reranker scored together.", buckets=_PAIRS, registry=registry
        )
        self.batch_tokens = Histogram(
            "bioqa_batch_tokens", "Tokens that the reranker read together.", buckets=_TOKENS, registry=registry
        )
        live: dict[str, Any] = {"registry": registry, "multiprocess_mode": "livesum"}
        self.queue_tokens = Gauge("bioqa_queue_tokens", "Tokens that wait for the reranker.", **live)
        self.token_rate = Gauge("bioqa_reranker_tokens_per_second", "Measured speed of the reranker.", **live)
        newest: dict[str, Any] = {"registry": registry, "multiprocess_mode": "livemin"}
        self.generation = Gauge("bioqa_index_generation", "Generation of the open commit.", ["index"], **newest)
        self.documents = Gauge("bioqa_index_documents", "Articles in the open commit.", ["index"], **newest)

    def observe_batch(self, pairs: int, tokens: int) -> None:
        """Count a batch that the reranker computed."""
        self.batch_pairs.observe(pairs)
        self.batch_tokens.observe(tokens)

    def read(self, service: "Service") -> None:
        """Set the gauges."""
        if service.queue is not None:
            self.queue_tokens.set(service.queue.tokens)
            self.token_rate.set(service.queue.tokens_per_second)
        for name, retriever in service.retrievers.items():
            self.generation.labels(name).set(retriever.index.commit.generation)
            self.documents.labels(name).set(len(retriever.index))

    def text(self) -> bytes:
        """The metrics of this process, or of all workers."""
        if not os.environ.get(FOLDER):
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)

    def close(self) -> None:
        """Drop this process's gauges from those of all workers."""
        if os.environ.get(FOLDER):
            mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]
