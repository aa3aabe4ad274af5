"""Files of an HTTP server, read in chunks from any byte on; urllib3 retries the requests."""

import random
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from ssl import SSLCertVerificationError
from typing import Any
from urllib.parse import unquote, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager, ProxyManager, Retry
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, ResponseError, URLSchemeUnknown
from urllib3.exceptions import TimeoutError as PoolTimeoutError
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util import make_headers, parse_url

from bioqa import __version__
from bioqa.errors import UsageError

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/pubmed/"
RETRY_STATUSES = frozenset({408, 425, 429, *range(500, 600)})
_CHUNK_BYTES = 1 << 18
_MAX_PAGE_BYTES = 1 << 24
_MIN_SPEED = 1000  # bytes a second; less for the length of the timeout counts as silence
_MAX_BACKOFF = 60.0  # seconds
_MAX_RETRY_AFTER = 600.0  # seconds; a longer Retry-After is cut to it
_MAX_REDIRECTS = 10


Failure = BaseHTTPResponse | Exception


class TransferError(Exception):
    """A body ended early, or is not what was expected; another attempt may succeed."""


class FailedError(Exception):
    """A request failed for good."""


class StoppedError(Exception):
    """The fetch is being stopped; nothing more is read or written."""


class Retries(Retry):
    """urllib3's Retry with longer waits: 1, 2, 4, … seconds, shortened at random by up to half, or the server's Retry-After.

    ``pause`` is called with the failure (a response or an error) and the seconds to wait, and waits. Redirects do not count as
    attempts, and certificates that are not trusted are not tried again.
    """

    def __init__(self, *, pause: Callable[[Failure, float], None], **settings: Any) -> None:
        super().__init__(**settings)
        self.pause = pause

    def new(self, **changes: Any) -> "Retries":
        """A copy with changes, as urllib3 makes for each attempt."""
        return super().new(pause=self.pause, **changes)

    @property
    def failures(self) -> int:
        """The number of failed attempts so far."""
        return sum(attempt.redirect_location is None for attempt in self.history)

    def increment(
        self,
        method: str | None = None,
        url: str | None = None,
        response: BaseHTTPResponse | None = None,
        error: Exception | None = None,
        *rest: Any,
        **more: Any,
    ) -> "Retries":
        """The retries left after a response or error; MaxRetryError if there are none."""
        if error is not None and isinstance(_root_cause(error), SSLCertVerificationError):
            raise MaxRetryError(None, url, error)  # type: ignore[arg-type]
        redirected = response is not None and response.get_redirect_location()
        if redirected and (url or "").startswith("https:") and redirected.lower().startswith("http:"):
            raise MaxRetryError(None, url, ResponseError(f"it is redirected to {redirected}, without encryption"))  # type: ignore[arg-type]
        before = self.new(total=self.total + 1) if redirected and self.total is not None else self
        return Retry.increment(before, method, url, response, error, *rest, **more)

    def get_backoff_time(self) -> float:
        """Seconds to wait if the server does not say."""
        return min(_MAX_BACKOFF, 2.0 ** (self.failures - 1)) * random.uniform(0.5, 1.0)

    def sleep(self, response: BaseHTTPResponse | None = None) -> None:
        """Wait before the next attempt."""
        seconds = None if response is None else self._retry_after(response)
        failure = self.history[-1].error if response is None else response
        assert failure is not None
        self.pause(failure, self.get_backoff_time() if seconds is None else seconds)

    def _retry_after(self, response: BaseHTTPResponse) -> float | None:
        """The seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None if it does not."""
        try:
            seconds = self.get_retry_after(response)
        except (InvalidHeader, ValueError, OverflowError):
            return None
        return None if seconds is None else min(seconds, _MAX_RETRY_AFTER)


class Server:
    """The folder ``url`` of a server. ``timeout`` is the longest silence in seconds; ``stop`` ends waits and transfers.

    A request is tried again ``retries`` times; ``wait`` waits for a number of seconds, and ``note`` is called with a sentence for
    each wait.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float,
        retries: int,
        stop: threading.Event,
        wait: Callable[[float], object],
        note: Callable[[str], object],
    ) -> None:
        self.url = url
        self.timeout = timeout
        self.stop = stop
        self._retries = retries
        self._wait = wait
        self._note = note
        self._pool = _pool(url)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.clear()

    def retries(self, name: str) -> Retries:
        """Fresh retries for requests or transfers of ``name``."""
        return Retries(
            pause=partial(self._pause, name),
            total=self._retries,
            redirect=_MAX_REDIRECTS,
            status_forcelist=RETRY_STATUSES,
            raise_on_status=False,
        )

    def _pause(self, name: str, failure: Failure, seconds: float) -> None:
        self._note(f"{name}: {self._describe(failure)}. Trying again in {seconds:.0f} s.")
        self._wait(seconds)
        if self.stop.is_set():
            raise StoppedError

    def try_again(self, retries: Retries, problem: TransferError) -> Retries:
        """Wait after a failed transfer; the retries that are left.

        Raises:
            FailedError: there are none.
            StoppedError: after ``stop``.
        """
        try:
            left = retries.increment(error=problem)
        except MaxRetryError:
            raise FailedError(_with_attempts(str(problem), retries.failures + 1)) from None
        left.sleep()
        return left

    def open(self, path: str, start: int = 0) -> tuple[BaseHTTPResponse, int]:
        """The response, and the byte at which its body starts: ``start``, or 0 if the server cannot start there.

        Raises:
            FailedError: no connection or no response in time, after all retries; an error status; an untrusted certificate.
            StoppedError: after ``stop``.
        """
        if self.stop.is_set():
            raise StoppedError
        headers = {"User-Agent": f"bioqa/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            response = self._pool.request(
                "GET",
                self.url + path,
                headers=headers,
                timeout=self.timeout,
                retries=self.retries(self.url + path),
                preload_content=False,
                decode_content=False,
                enforce_content_length=False,  # ``chunks`` checks the length, with a better message
            )
        except (HTTPError, ValueError) as problem:  # the latter: a redirect to an address that cannot be parsed
            trusted = not isinstance(_root_cause(problem), SSLCertVerificationError)
            reason = self._describe(problem)
            raise FailedError(_with_attempts(reason, self._retries + 1 if trusted else 1)) from None
        if start and response.status in (206, 416):
            if response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                return response, start
            response.close()
            return self.open(path)
        if response.status >= 300:
            response.close()
            failures = response.retries.failures if isinstance(response.retries, Retries) else 0
            raise FailedError(_with_attempts(self._describe(response), failures + 1))
        return response, 0

    def chunks(self, response: BaseHTTPResponse, limit: int = _MAX_PAGE_BYTES) -> Iterator[bytes]:
        """The body as it arrives.

        Raises:
            FailedError: it is longer than ``limit`` bytes.
            TransferError: the body ends early, or is so slow that it would not end.
            StoppedError: after ``stop``.
        """
        total = response.length_remaining
        if (total or 0) > limit:
            raise _too_long(limit)
        received, before, since = 0, 0, time.monotonic()
        sock = getattr(response, "socket", None)
        try:
            with _time_limit(sock, self.timeout + limit / _MIN_SPEED):
                while total is None or received < total:
                    chunk = response.read1(_CHUNK_BYTES)
                    if self.stop.is_set():
                        raise StoppedError
                    if not chunk:
                        break
                    received += len(chunk)
                    if received > limit:
                        raise _too_long(limit)
                    yield chunk
                    seconds = time.monotonic() - since
                    if seconds >= self.timeout:
                        if received - before < _MIN_SPEED * seconds:
                            raise TransferError(f"the server sent only {received - before:,} bytes in {seconds:.0f} s")
                        before, since = received, time.monotonic()
        except (HTTPError, TimeoutError) as problem:
            raise TransferError(self._describe(problem)) from None
        if total is not None and received < total:
            raise TransferError(f"the connection broke off {total - received:,} bytes before the end of {total:,}")

    def read(self, path: str) -> bytes:
        """The whole content of a listing or a .md5 file; errors as for ``open`` and ``chunks``."""
        with self.open(path)[0] as response:
            return b"".join(self.chunks(response))

    def _describe(self, failure: Failure) -> str:
        """The reason of a failure in a few words."""
        if isinstance(failure, BaseHTTPResponse):
            return f"HTTP {failure.status} {failure.reason or ''}".rstrip()
        cause = _root_cause(failure)
        if isinstance(cause, TimeoutError | PoolTimeoutError):
            return f"the server sent nothing for {self.timeout:g} s"
        if isinstance(cause, SSLCertVerificationError):
            return f"the server's certificate is not trusted ({cause.verify_message})"
        return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__


@contextmanager
def _time_limit(sock: socket.socket | None, seconds: float) -> Iterator[None]:
    """Shut the socket down after so many seconds; whatever then comes of the block is a TimeoutError.

    A socket's own timeout starts again with each byte that arrives.
    """
    ended = threading.Event()

    def end() -> None:
        ended.set()
        with suppress(OSError):
            if sock is not None:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of a TLS socket too, without its closing handshake

    timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not ended.is_set():
            raise
    finally:
        timer.cancel()
    if ended.is_set():
        raise TimeoutError


class _Connection(HTTPConnection):
    """A connection whose response headers must be there within the timeout, however slowly they arrive."""

    def getresponse(self) -> HTTPResponse:  # type: ignore[override]  # as urllib3 itself has it
        """The response; its attribute ``socket`` is the socket that it is read from."""
        sock = self.sock
        response = None
        try:
            with _time_limit(sock, self.timeout or threading.TIMEOUT_MAX):
                response = super().getresponse()
        except TimeoutError:
            if response is not None:  # of headers that were cut
                response.close()
            raise
        assert response is not None
        response.socket = sock  # type: ignore[attr-defined]
        # urllib3 reads the rest of a redirect or an error before it goes on, be it endless.
        response.drain_conn = response.close  # type: ignore[method-assign]
        return response


class _TLSConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Connections(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSConnections(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _too_long(limit: int) -> FailedError:
    return FailedError(f"it is longer than {limit:,} bytes, the most to expect by the listing")


def _root_cause(error: BaseException) -> BaseException:
    """The innermost of the errors that urllib3 wraps into each other."""
    inner = (getattr(error, "reason", None), getattr(error, "original_error", None), *error.args, error.__cause__)
    cause = next((one for one in inner if isinstance(one, BaseException)), None)
    return error if cause is None else _root_cause(cause)


def _with_attempts(reason: str, attempts: int) -> str:
    return f"{reason}; attempts: {attempts}" if attempts > 1 else reason


def _pool(url: str) -> PoolManager:
    """Connections to the server, through the proxy of the environment (http_proxy and the like), which urllib3 does not read."""
    pool = _pool_manager(url)
    pool.pool_classes_by_scheme = {"http": _Connections, "https": _TLSConnections}
    return pool


def _pool_manager(url: str) -> PoolManager:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return PoolManager(maxsize=16)
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    try:
        auth = parse_url(proxy).auth
        return ProxyManager(
            proxy, proxy_headers=make_headers(proxy_basic_auth=unquote(auth)) if auth else None, maxsize=16
        )
    except (URLSchemeUnknown, HTTPError):
        raise UsageError(f"{parts.scheme}_proxy is not the address of an HTTP proxy. Correct or unset it.") from None


def checked_url(url: str) -> str:
    """The base address, with a slash at its end.

    Raises:
        UsageError: it is not an http or https address.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"[\s?#]", url)
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{url!r} is not the address of a server. Give one such as {BASE_URL}.")
    return url.rstrip("/") + "/"
