"""What every request passes on its way in and out: host, key, size of the body; headers, log and metrics."""

import ipaddress
import logging
import math
import secrets
import socket
import sys
import time
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import anyio
from starlette.datastructures import Headers, MutableHeaders

from bioqa.errors import BioqaError, OutputError
from bioqa.serve.errors import DrainingError, ServeError, TooLargeError, status_and_code
from bioqa.serve.keys import Key, Keys
from bioqa.serve.metrics import Metrics
from bioqa.serve.problems import of_error, problem, to_json
from bioqa.serve.rerank_queue import Ticket
from bioqa.serve.service import Service
from bioqa.serve.settings import LOOPBACK, Settings

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = logging.getLogger(__name__)

OPEN_PATHS = ("/health", "/ready")
"""Answered without a key and while draining."""
HEADERS = {
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
"""Of every response, unless the handler sets its own."""


class WrongHostError(ServeError):
    """The Host header names another host: perhaps a page that had its name resolve to this machine (DNS rebinding)."""

    status, code = 421, "wrong_host"


class UnauthorizedError(ServeError):
    """The request has no key, or an unknown one."""

    status, code = 401, "unauthorized"


class BodyTimeoutError(ServeError):
    """The body did not arrive in time."""

    status, code = 408, "body_timeout"


class _Passing:
    """A request on its way; handlers put its ticket, question and error code into the scope's state."""

    def __init__(self, id: str, scope: Scope) -> None:
        self.id = id
        self.scope = scope
        self.scope.setdefault("state", {})
        self.started = time.perf_counter()
        self.status = 0
        self.key: Key | None = None

    @property
    def ticket(self) -> Ticket | None:
        """The ticket, None if the request has got none."""
        found: Ticket | None = self.scope["state"].get("ticket")
        return found


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: App, *, service: Service, keys: Keys | None, metrics: Metrics, log: TextIO | None) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings
        self._metrics = metrics
        self._keys = keys
        self._hosts = allowed_hosts(service.settings)
        self._out = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass on what is no HTTP request."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        id = given if 0 < len(given) <= 64 and given.isascii() and given.isprintable() else secrets.token_hex(8)
        passing = _Passing(id, scope)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                passing.status = message["status"]
                sent = MutableHeaders(scope=message)
                sent["x-request-id"] = id
                for name, value in HEADERS.items():
                    sent.setdefault(name, value)
                if "cache-control" not in sent:
                    sent["cache-control"] = "no-store"
                if self._service.draining:
                    sent["connection"] = "close"
            await send(message)

        try:
            passing.key = self._admit(scope, headers)
            body = await self._body(headers, receive)
            await self._app(scope, _replay(body, receive), send_with_headers)
        except BioqaError as error:
            if not passing.status:
                response = of_error(error)
                if isinstance(error, UnauthorizedError):
                    response.headers["www-authenticate"] = 'Bearer, Basic realm="bioqa", charset="UTF-8"'
                passing.scope["state"]["code"] = status_and_code(error)[1]
                await response(scope, receive, send_with_headers)
        except Exception as error:
            _log.error(f"{scope['method']} {scope['path']} failed.", exc_info=error)
            if not passing.status:
                response = problem(500, "internal_error", "The server failed on this request; its log says why.")
                await response(scope, receive, send_with_headers)
        finally:
            self._count(passing)

    def _admit(self, scope: Scope, headers: Headers) -> Key | None:
        """The key of a request that may pass, None if the server needs none."""
        if self._hosts is not None and not _is_allowed(headers.get("host", ""), self._hosts):
            raise WrongHostError(
                f"This server does not answer for the host {headers.get('host', '')[:200]!r}. Start it with --allow-host HOST."
            )
        if scope["path"] in OPEN_PATHS:
            return None
        key = None
        if self._keys is not None:
            given = _given_key(headers)
            key = self._keys.find(given) if given else None
            if key is None:
                raise UnauthorizedError(
                    "The API key is unknown."
                    if given
                    else "Send an API key: Authorization: Bearer KEY, or X-API-Key: KEY."
                )
        if self._service.draining:
            raise DrainingError("The server is shutting down. Try again in a few seconds.", retry_after=5)
        if key is not None:
            key.use()
        return key

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """The whole body of a request."""
        limit = self._settings.max_body
        declared = headers.get("content-length", "")
        too_large = TooLargeError(f"The body is larger than {limit:,} bytes, the limit max_body.")
        if declared.isdecimal() and int(declared[:19]) > limit:
            raise too_large
        parts: list[bytes] = []
        size = 0
        try:
            with anyio.fail_after(self._settings.timeout):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        break
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > limit:
                        raise too_large
                    if not message.get("more_body", False):
                        break
        except TimeoutError:
            raise BodyTimeoutError(
                f"The body did not arrive within {self._settings.timeout:g} seconds, the limit timeout."
            ) from None
        return b"".join(parts)

    def _count(self, passing: "_Passing") -> None:
        """Add a request to the metrics and to the log."""
        scope, ticket, metrics = passing.scope, passing.ticket, self._metrics
        seconds = time.perf_counter() - passing.started
        route = getattr(scope.get("route"), "path", None) or ("/mcp" if scope["path"].startswith("/mcp") else "other")
        metrics.requests.labels(_known_method(scope["method"]), route, str(passing.status)).inc()
        metrics.durations.labels(route).observe(seconds)
        if "code" in scope["state"]:
            metrics.rejections.labels(scope["state"]["code"]).inc()
        if ticket is not None and ticket.tokens:
            metrics.queue_durations.observe(ticket.queue_seconds)
        if ticket is not None and ticket.cancelled:
            metrics.cancelled.inc()
        if self._out is None:
            return
        client = scope.get("client")
        record = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + "Z",
            "id": passing.id,
            "client": client[0] if client else "",
            "method": scope["method"],
            "path": scope["path"],
            "status": passing.status,
            "ms": round(seconds * 1000, 3),
            "queue_ms": round(ticket.queue_seconds * 1000, 3) if ticket is not None else 0,
            "tokens": ticket.tokens if ticket is not None else 0,
            "key": passing.key.fingerprint if passing.key is not None else "",
        }
        if self._settings.log_questions and scope["state"].get("question"):
            record["question"] = scope["state"]["question"]
        with suppress(OSError, ValueError):  # a full disk must not stop the server
            self._out.write(to_json(record).decode() + "\n")
            self._out.flush()


def allowed_hosts(settings: Settings) -> frozenset[str] | None:
    """The host names to answer for in lower case, None for any."""
    if "*" in settings.hosts:
        return None
    names = {*LOOPBACK, settings.host, *settings.hosts}
    if settings.host not in LOOPBACK:
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower().strip("[]") for name in names)


def _is_allowed(header: str, hosts: frozenset[str]) -> bool:
    """Whether a Host header names this server. An address is always its own: only names can be made to resolve to it."""
    host = header.strip().lower()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    if host in hosts:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _given_key(headers: Headers) -> str:
    """The key in a request's headers: X-API-Key, a bearer token, or the password that a browser asked for."""
    kind, _, value = headers.get("authorization", "").strip().partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() == "basic":
        with suppress(Base64Error, UnicodeDecodeError, ValueError):
            return b64decode(value.strip(), validate=True).decode().partition(":")[2]
    return headers.get("x-api-key", "").strip()


def _replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that returns the body first."""
    sent = False

    async def replay() -> MutableMapping[str, Any]:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


def open_log(log: str) -> TextIO | None:
    """The file of the request log, None for none. Raises OutputError if it cannot be written."""
    if not log:
        return None
    if log == "-":
        return sys.stderr
    try:
        return Path(log).open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"The request log {log} cannot be written: {error.strerror}.") from None


def seconds_of(header: str) -> float | None:
    """The number of seconds in a header, None if it is not a number above 0."""
    try:
        seconds = float(header)
    except ValueError:
        return None
    return seconds if 0 < seconds < math.inf else None
