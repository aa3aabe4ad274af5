"""Files of a server over HTTP: from a given byte on, in chunks, each failure told as passing or final."""

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse
from ssl import SSLCertVerificationError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from bioqa import __version__
from bioqa.errors import UsageError

BASE_URL = "https://ftp.ncbi.nlm.nih.gov/pubmed/"
_CHUNK_BYTES = 1 << 18
_MAX_PAGE_BYTES = 1 << 24
_MAX_WAIT = 600.0  # seconds; a longer Retry-After is cut to it


class RetryError(Exception):
    """A request failed in a way that may pass; ``after`` is the server's Retry-After in seconds."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class RefusedError(Exception):
    """A request failed for good."""


class StoppedError(Exception):
    """The fetch is being left: nothing more is read or written."""


@dataclass(frozen=True)
class Server:
    """The folder ``url`` of a server that may send nothing for ``timeout`` seconds; ``stop`` ends its answers."""

    url: str
    timeout: float
    stop: threading.Event

    def open(self, path: str, start: int = 0) -> tuple[HTTPResponse, int]:
        """The answer, and the byte at which its body starts: ``start``, or 0 where the server cannot go on from there.

        Raises:
            RetryError: no connection, no answer in time, status 408, 425, 429 or 5xx.
            RefusedError: another status, or a certificate that is not trusted.
            StoppedError: after ``stop``.
        """
        if self.stop.is_set():
            raise StoppedError
        headers = {"User-Agent": f"bioqa/{__version__}"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            response: HTTPResponse = urlopen(Request(self.url + path, headers=headers), timeout=self.timeout)
        except HTTPError as problem:
            problem.close()
            if start and problem.code == 416:
                return self.open(path)
            raise _bad_status(problem) from None
        except (OSError, HTTPException) as problem:
            raise self._broken(problem) from None
        if start and response.status == 206:
            if response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                return response, start
            response.close()
            return self.open(path)
        return response, 0

    def chunks(self, response: HTTPResponse) -> Iterator[bytes]:
        """The body as it comes in; RetryError where it ends early, StoppedError after ``stop``."""
        total = left = response.length
        while left is None or left > 0:
            try:
                chunk = response.read1(_CHUNK_BYTES)
            except (OSError, HTTPException) as problem:
                raise self._broken(problem) from None
            if self.stop.is_set():
                raise StoppedError
            if not chunk:
                break
            yield chunk
            left = None if left is None else left - len(chunk)
        if left:
            raise RetryError(f"the connection broke off {left:,} bytes before the end of {total:,}")

    def read(self, path: str) -> bytes:
        """A listing or a .md5 file; errors as for ``open``."""
        content = bytearray()
        with self.open(path)[0] as response:
            for chunk in self.chunks(response):
                content += chunk
                if len(content) > _MAX_PAGE_BYTES:
                    raise RefusedError(f"it is longer than {_MAX_PAGE_BYTES:,} bytes")
        return bytes(content)

    def _broken(self, problem: OSError | HTTPException) -> RetryError | RefusedError:
        cause = problem.reason if isinstance(problem, URLError) else problem
        if isinstance(cause, TimeoutError):
            return RetryError(f"the server sent nothing for {self.timeout:g} s")
        if isinstance(cause, SSLCertVerificationError):
            return RefusedError(f"the server's certificate is not trusted ({cause.verify_message})")
        return RetryError(getattr(cause, "strerror", None) or str(cause) or type(cause).__name__)


def _bad_status(problem: HTTPError) -> RetryError | RefusedError:
    reason = f"HTTP {problem.code} {problem.reason}"
    if problem.code in (408, 425, 429) or problem.code >= 500:
        return RetryError(reason, _retry_after(problem.headers.get("Retry-After", "")))
    return RefusedError(reason)


def _retry_after(value: str) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or a date (RFC 9110, 10.2.3); None where there is none."""
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        seconds = float(value)
    else:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), _MAX_WAIT)


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
