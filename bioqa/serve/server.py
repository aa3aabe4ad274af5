"""Run the application: one process, or several that share a socket."""

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn

from bioqa.errors import BioqaError, SetupError, UsageError
from bioqa.io.terminal import printable
from bioqa.pipeline.options import PipelineOptions
from bioqa.serve.keys import Keys
from bioqa.serve.metrics import FOLDER
from bioqa.serve.service import Service, index_names
from bioqa.serve.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

DRAIN_SECONDS = 1.0
"""How long after SIGTERM, once the port is closed, new requests on open connections are answered; each answer closes its own."""
BACKLOG = 2048
SWITCH_SECONDS = 0.0005
"""After so long a thread that computes lets others run: answers to /health wait for as many of them as compute."""
MAX_RESTARTS = 5
"""Workers that may end by themselves before the server gives up."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to serve: ``indexes`` as ``Service.open`` takes them, and the arguments of ``Reranker`` (None: no reranker)."""

    indexes: tuple[str, ...]
    reranker: dict[str, Any] | None = None
    settings: Settings = field(default_factory=Settings)
    options: PipelineOptions = field(default_factory=PipelineOptions)

    def open(self) -> Service:
        """Open the indexes and load the reranker. Raises what ``Service.open`` and ``Reranker`` raise."""
        with ThreadPoolExecutor(1) as pool:
            loading = pool.submit(_load, self.reranker) if self.reranker is not None else None
            from bioqa.index.jvm import java

            java("java.lang.Object")
            reranker = loading.result() if loading else None
        return Service.open(self.indexes, reranker, settings=self.settings, options=self.options)


def _load(arguments: dict[str, Any]) -> Any:
    from bioqa.rerank.reranker import Reranker

    return Reranker(**arguments)


class Server(uvicorn.Server):
    """A server that, when told to stop, closes its port, answers 503 on open connections, and finishes what it has accepted."""

    def __init__(self, config: uvicorn.Config, service: Service, on_start: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start
        self._drain_until: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        if self.started and self._on_start is not None:
            self._on_start()

    async def on_tick(self, counter: int) -> bool:
        """Whether to shut down now."""
        if not await super().on_tick(counter):
            return False
        if self._drain_until is None:
            for server in self.servers:  # a connection that waits in a port's queue when it closes later would be reset
                server.close()
            self._drain_until = time.monotonic() + DRAIN_SECONDS
        return self.force_exit or time.monotonic() >= self._drain_until

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second Ctrl-C stops at once."""
        self._service.draining = True
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # the process ends by itself, with status 0


def serve(plan: Plan, on_start: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; ``on_start`` is called with the address once requests are answered.

    Raises what ``Plan.open`` and ``create_app`` raise, and:
        UsageError: the address cannot be listened on.
        SetupError: workers end by themselves.
    """
    index_names(plan.indexes)
    if plan.settings.keys is not None:
        Keys.read(plan.settings.keys)
    with ExitStack() as closing:
        listener = closing.enter_context(listen(plan.settings))
        address = url(plan.settings.host, listener.getsockname()[1])
        if plan.settings.workers == 1:
            _run(plan, listener, lambda: on_start(address))
        else:
            _supervise(plan, listener, lambda: on_start(address))


def listen(settings: Settings) -> socket.socket:
    """The socket to accept connections on. Raises UsageError if there can be none."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )[0]
        made = socket.socket(family, kind, protocol)  # asyncio sets TCP_NODELAY only if the protocol is named
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
    except OSError as problem:
        reason = problem.strerror or str(problem)
        raise UsageError(
            f"The server cannot listen on {settings.host} port {settings.port}: {reason}. Choose another with --host and --port."
        ) from None
    return made


def url(host: str, port: int) -> str:
    """The address of a server."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def config_of(app: "FastAPI", settings: Settings) -> uvicorn.Config:
    """Uvicorn's configuration: the server logs for itself."""
    return uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(settings.max_timeout) + 5,
        backlog=BACKLOG,
        lifespan="on",
        ws="none",
    )


def _run(plan: Plan, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Serve from this process."""
    from bioqa.serve.app import create_app

    service = plan.open()
    try:
        app = create_app(service)
        server = Server(config_of(app, plan.settings), service, on_start)
    except BaseException:
        service.close()
        raise
    sys.setswitchinterval(SWITCH_SECONDS)
    server.run([listener])


def _work(plan: Plan, listener: socket.socket, started: Any) -> None:
    """Serve from a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent passes SIGTERM on
    try:
        _run(plan, listener, started.set)
    except BioqaError as problem:
        sys.stderr.write(f"Error: {printable(str(problem))}\n")
        os._exit(problem.exit_code)


def _supervise(plan: Plan, listener: socket.socket, on_start: Callable[[], None]) -> None:
    """Start workers, restart those that end by themselves, and on SIGTERM or Ctrl-C have all finish."""
    context = multiprocessing.get_context("spawn")  # a process with a JVM cannot fork
    stopping = False

    def stop(sig: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    def start() -> tuple[BaseProcess, Any]:
        started = context.Event()
        worker = context.Process(target=_work, args=(plan, listener, started), name="bioqa-worker")
        worker.start()
        return worker, started

    before = {sig: signal.signal(sig, stop) for sig in (signal.SIGTERM, signal.SIGINT)}
    with tempfile.TemporaryDirectory(prefix="bioqa-metrics-") as folder:
        os.environ[FOLDER] = folder
        workers: list[tuple[BaseProcess, Any]] = []
        try:
            workers = [start() for _ in range(plan.settings.workers)]
            announced, restarts = False, 0
            while not stopping:
                time.sleep(0.1)
                if not announced and all(started.is_set() for _, started in workers):
                    announced = True
                    on_start()
                for place, (worker, started) in enumerate(workers):
                    if worker.is_alive() or stopping:
                        continue
                    restarts += 1
                    if not started.is_set() or restarts > MAX_RESTARTS:
                        raise SetupError(
                            f"A worker ended by itself with exit code {worker.exitcode}, so the server stops. "
                            "The message above says why."
                        )
                    workers[place] = start()
        finally:
            listener.close()  # before the workers close theirs: this process accepts no connections
            for worker, _ in workers:
                with suppress(ProcessLookupError):
                    worker.terminate()
            for worker, _ in workers:
                worker.join()
            for sig, handler in before.items():
                signal.signal(sig, handler)
            os.environ.pop(FOLDER, None)
