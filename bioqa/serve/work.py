"""Run the service's blocking calls from asynchronous code, on threads that live as long as the server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from bioqa.index.reader import cores
from bioqa.serve.errors import OverloadedError
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.settings import Settings

_Result = TypeVar("_Result")
Receive = Callable[[], Awaitable[Any]]


class Work:
    """Two pools of threads, so that searches without a reranker never wait behind those with one.

    Of those that rerank, as many compute at a time as there are cores; the others wait for the reranker or for their turn, as
    Python's threads slow each other down. Threads that have called Java are kept: each would leave some memory behind.
    """

    def __init__(self, settings: Settings) -> None:
        self._max_requests = settings.max_requests
        self._fast = ThreadPoolExecutor(settings.threads, "bioqa-search")
        self._slow = ThreadPoolExecutor(settings.rerank_threads, "bioqa-rerank")
        self._slots = threading.Semaphore(cores())
        self.requests = 0

    async def run(self, function: Callable[[], _Result], *, ticket: Ticket, slow: bool = False) -> _Result:
        """What ``function()`` returns; it is not called if the ticket was cancelled, or its deadline passed, meanwhile.

        ``slow``: the function may wait for the reranker.

        Raises:
            OverloadedError: too many requests are in work.
        """
        if self.requests >= self._max_requests:
            raise OverloadedError(
                f"{self.requests:,} requests are in work, as many as max_requests allows. Try again in a second.",
                retry_after=1,
            )

        def call() -> _Result:
            ticket.check()
            return function()

        def call_slow() -> _Result:
            ticket.slots = self._slots
            with self._slots:
                return call()

        self.requests += 1
        loop = asyncio.get_running_loop()
        try:
            if slow:
                return await loop.run_in_executor(self._slow, call_slow)
            return await loop.run_in_executor(self._fast, call)
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        finally:
            self.requests -= 1

    def close(self) -> None:
        """Wait for what runs, and end the threads."""
        self._fast.shutdown()
        self._slow.shutdown()


@asynccontextmanager
async def watching(ticket: Ticket, receive: Receive) -> AsyncIterator[None]:
    """Meanwhile, cancel the ticket when the client whose messages ``receive`` returns goes away."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        ticket.cancel()

    watcher = asyncio.ensure_future(watch())
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
