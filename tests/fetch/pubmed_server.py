"""A local server of PubMed files that fails on request."""

import hashlib
import random
import threading
from collections import defaultdict
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ONE, TWO, THREE = (f"pubmed26n000{number}.xml.gz" for number in (1, 2, 3))
SIZE = 300_000
MAX_REQUESTS = 60


class PubMed(ThreadingHTTPServer):
    """A server with files by path; ``faults`` says how it fails the next requests for a path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: defaultdict[str, list[str]] = defaultdict(list)
        self.requests: list[tuple[str, str]] = []
        self.over = threading.Event()
        for folder, name in (("baseline", ONE), ("baseline", TWO), ("updatefiles", THREE)):
            self.put(folder, name, random.Random(name).randbytes(SIZE))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/pubmed"

    def put(self, folder: str, name: str, content: bytes) -> None:
        self.files[f"{folder}/{name}"] = content
        self.files[f"{folder}/{name}.md5"] = f"MD5({name})= {hashlib.md5(content).hexdigest()}\n".encode()
        rows = (
            f'<a href="{path.rpartition("/")[2]}">{path.rpartition("/")[2]}</a>     2026-01-29 14:48  {len(content)}\n'
            for path, content in sorted(self.files.items())
            if path.startswith(f"{folder}/pub")
        )
        self.files[f"{folder}/"] = f'<pre><a href="/pubmed/">Parent Directory</a> -\n{"".join(rows)}</pre>'.encode()

    def asked(self, path: str) -> list[str]:
        """The Range headers of the requests for a path, "" for a request without one."""
        return [header for asked, header in self.requests if asked == path]

    def handle_error(self, *arguments: object) -> None:
        """Clients that go away are expected."""


class Handler(BaseHTTPRequestHandler):
    server: PubMed
    timeout = 5

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        path, header = self.path.removeprefix("/pubmed/"), self.headers.get("Range", "")
        self.server.requests.append((path, header))
        faults = self.server.faults[path]
        fault = faults.pop(0) if faults else ""
        content = self.server.files.get(path)
        if len(self.server.requests) > MAX_REQUESTS or content is None:
            fault = "404"
        if fault[:3].isdigit():
            code, _, after = fault.partition(" ")
            self.send_response(int(code))
            if after:
                location = after if ":" in after else f"{self.server.url}/{after}"
                header = ("Location", location) if code.startswith("3") else ("Retry-After", after)
                self.send_header(*header)
            self.end_headers()
            return
        if fault == "hang up":
            return
        if fault in ("slow header", "endless continue", "endless redirect", "bad length"):
            self.odd(fault)
            return
        begin = int(header.removeprefix("bytes=").rstrip("-")) if header and fault != "whole" else 0
        if begin and begin >= len(content):
            self.send_error(416)
            return
        self.answer(content, begin, fault, partial=bool(header) and fault != "whole")

    def drip(self, piece: bytes) -> None:
        """Send a piece again and again, slowly if it is short, until the client has gone."""
        with suppress(OSError):
            while not self.server.over.wait(0.05 if len(piece) < 1000 else 0):
                self.wfile.write(piece)

    def odd(self, fault: str) -> None:
        """Answer as no sound server does."""
        status = {"endless redirect": "302 Found"}.get(fault, "200 OK")
        self.wfile.write(f"HTTP/1.1 {status}\r\n".encode() if fault != "endless continue" else b"")
        if fault == "slow header":
            self.drip(b"x")
        elif fault == "endless continue":
            self.drip(b"HTTP/1.1 100 Continue\r\n\r\n")
        elif fault == "endless redirect":
            self.wfile.write(f"Location: {self.server.url}/elsewhere\r\n\r\n".encode())
            self.drip(bytes(1 << 16))
        else:
            self.wfile.write(b"Content-Length: 5, 6\r\n\r\n12345")
        self.close_connection = True

    def answer(self, content: bytes, begin: int, fault: str, *, partial: bool) -> None:
        self.send_response(206 if partial else 200)
        begin += fault == "other range"
        if partial:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        body = bytes(len(content)) if fault == "wrong bytes" else content
        if fault != "endless":
            self.send_header("Content-Length", str(len(content) - begin if fault != "long" else 10**10))
        self.end_headers()
        end = begin + (len(content) - begin) // 2 if fault in ("break", "stall") else len(content)
        if fault == "slow":
            with suppress(OSError):
                while not self.server.over.wait(0.02):
                    self.wfile.write(body[begin : begin + 1])
                    begin += 1
        elif fault == "endless":
            self.drip(bytes(1 << 16))
        else:
            self.wfile.write(body[begin:end])
        if fault == "stall":
            self.server.over.wait(5)
