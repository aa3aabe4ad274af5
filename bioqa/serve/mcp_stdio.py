"""MCP over standard input and output, for one agent that starts the process."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper

import anyio

from bioqa.serve.mcp_server import create_mcp_server
from bioqa.serve.server import Plan
from bioqa.serve.service import Service
from bioqa.serve.work import Work


def serve_stdio(plan: Plan) -> None:
    """Serve until standard input ends. Nothing but the protocol is written to standard output.

    Raises what ``Plan.open`` raises.
    """
    with _output_to_standard_error():
        service = plan.open()
        try:
            service.start()
        except BaseException:
            service.close()
            raise
    # A thread waits for standard input and cannot be interrupted, so Ctrl-C ends the process at once; nothing is left half-done.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        anyio.run(_serve, service)
    except* (BrokenPipeError, ConnectionResetError):  # the agent is gone
        pass
    finally:
        signal.signal(signal.SIGINT, before)
        service.close()


async def _serve(service: Service) -> None:
    work = Work(service.settings)
    try:
        await create_mcp_server(service, work).run_stdio_async()
    finally:
        work.close()


@contextmanager
def _output_to_standard_error() -> Iterator[None]:
    """Meanwhile, what libraries and Java write to standard output goes to standard error, as it does while the SDK serves."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
