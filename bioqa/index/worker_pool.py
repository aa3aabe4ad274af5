"""Worker processes that run functions of bioqa's, each with a Java virtual machine of its own.

A worker is ``python -m bioqa.index.worker_pool``. Unlike the workers of multiprocessing it never imports the main module of its
caller, so builds work in a script without a main guard, in a notebook and in a REPL. Calls and results are pickles on its standard
input and output.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Any, TypeVar

from bioqa.errors import SetupError
from bioqa.index.jvm import limit_memory

_Result = TypeVar("_Result")


class WorkerPool:
    """``count`` worker processes with ``memory_mb`` MiB of Java memory each, until the end of a ``with`` block."""

    def __init__(self, count: int, memory_mb: int) -> None:
        self._workers = [_Worker(memory_mb) for _ in range(count)]
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(count)

    def submit(self, function: Callable[..., _Result], *arguments: Any) -> "Future[_Result]":
        """Have the next idle worker call a function, which must be importable by name.

        The future raises what the function raises, and SetupError where the worker was killed.
        """
        return self._threads.submit(self._call, function, arguments)

    def _call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        worker = self._idle.get()
        try:
            return worker.call(function, arguments)
        finally:
            self._idle.put(worker)

    def __enter__(self) -> "WorkerPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers: at once where the block failed, else when they have done their calls."""
        for worker in self._workers:
            worker.end(now=kind is not None)
        self._threads.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """One worker process."""

    def __init__(self, memory_mb: int) -> None:
        command = [sys.executable, "-m", "bioqa.index.worker_pool", str(memory_mb), str(os.getpid())]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}  # noqa: PTH109
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)

    def call(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        """What the function gives in the worker; raises what it raises, and SetupError where the worker died."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump((function, arguments), self._process.stdin)
            self._process.stdin.flush()
            done, result = pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            raise SetupError(self._death()) from None
        if not done:
            raise result
        return result

    def _death(self) -> str:
        code = self._process.wait()
        remedy = "Use fewer --workers; the same command resumes the build."
        if code == -signal.SIGKILL:
            return f"A worker process was killed, most likely because memory ran out. {remedy}"
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return f"A worker process ended {how}. {remedy}"

    def end(self, *, now: bool) -> None:
        """End the process."""
        if now:
            self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        self._process.wait()


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, however that happened."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Call what arrives on standard input until that closes; print nothing else on standard output."""
    memory_mb, parent = (int(argument) for argument in sys.argv[1:3])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    limit_memory(memory_mb)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints, Java too, must not disturb the results
    while True:
        try:
            function, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, function(*arguments))
        except Exception as problem:
            answer = (False, problem)
        pickle.dump(answer, results)
        results.flush()


if __name__ == "__main__":
    main()
