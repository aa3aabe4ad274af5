"""The settings of a server, as one value."""

from dataclasses import dataclass
from pathlib import Path

from bioqa.arguments import check_fields
from bioqa.errors import UsageError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
"""Addresses that only this machine reaches."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a server listens, and how much it takes on.

    Load: ``queue_tokens`` may wait for the reranker, which computes ``batch_tokens`` at a time; ``max_requests`` may be in work or
    waiting. A request gets ``timeout`` seconds, or as many as its header X-Request-Timeout says, ``max_timeout`` at most.
    ``threads`` search without a reranker, ``rerank_threads`` requests wait for one. ``refresh`` is the number of seconds between
    looks for a newer commit.

    Limits: ``max_body`` bytes of a request, ``max_question`` and ``max_document`` characters, ``max_documents`` of one rerank
    request, ``max_results`` of a search (offset included), ``max_sentences`` per result, ``max_values`` of a filter, ``max_batch``
    questions of a batch and ``max_ids`` articles at a time.

    Safety: ``keys`` is the file of API keys (None: none are needed, which on an address that other machines reach takes
    ``no_auth``), ``hosts`` the names in a Host header that are answered beside ``host`` and the loopback names ("*": any),
    ``origins`` the web pages of other servers that may call this one (CORS). ``log`` is the file of the request log ("-": standard
    error, "": none); ``log_questions`` adds questions to it.

    Raises:
        UsageError: a value is of the wrong type or out of range, or other machines could call the server without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8082
    workers: int = 1
    queue_tokens: int = 262_144
    batch_tokens: int = 8_192
    max_requests: int = 512
    timeout: float = 60.0
    max_timeout: float = 300.0
    threads: int = 4
    rerank_threads: int = 128
    refresh: float = 1.0
    max_body: int = 2_000_000
    max_question: int = 10_000
    max_document: int = 200_000
    max_documents: int = 1_000
    max_results: int = 1_000
    max_batch: int = 100
    max_ids: int = 200
    max_sentences: int = 20
    max_values: int = 100
    keys: Path | None = None
    no_auth: bool = False
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    log: str = ""
    log_questions: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        counts: tuple[str, ...] = (
            "workers",
            "queue_tokens",
            "batch_tokens",
            "max_requests",
            "threads",
            "rerank_threads",
        )
        counts += ("max_body", "max_question", "max_document", "max_documents", "max_results", "max_sentences")
        counts += ("max_values", "max_batch", "max_ids")
        for name in counts:
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}.")
        for name in ("timeout", "max_timeout", "refresh"):
            if not 0 < getattr(self, name) < float("inf"):
                raise UsageError(f"{name} must be a number of seconds above 0, not {getattr(self, name):g}.")
        if not 0 <= self.port <= 65_535:
            raise UsageError(f"The port must be between 0 and 65,535, not {self.port}.")
        if self.host not in LOOPBACK and self.keys is None and not self.no_auth:
            raise UsageError(
                f"Other machines could call the server at {self.host} without a key. Give --keys FILE (make a key with "
                "`bioqa serve --new-key NAME`), or --no-auth if they may."
            )
