"""A local server of PubMed files that fails on request."""

import hashlib
import random
import threading
from collections import defaultdict
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
                header = ("Location", f"{self.server.url}/{after}") if code.startswith("3") else ("Retry-After", after)
                self.send_header(*header)
            self.end_headers()
            return
        if fault == "hang up":
            return
        begin = int(header.removeprefix("bytes=").rstrip("-")) if header and fault != "whole" else 0
        if begin and begin >= len(content):
            self.send_error(416)
            return
        self.answer(content, begin, fault, partial=bool(header) and fault != "whole")

    def answer(self, content: bytes, begin: int, fault: str, *, partial: bool) -> None:
        self.send_response(206 if partial else 200)
        begin += fault == "other range"
        if partial:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        body = bytes(len(content)) if fault == "wrong bytes" else content
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        end = begin + (len(content) - begin) // 2 if fault in ("break", "stall") else len(content)
        self.wfile.write(body[begin:end])
        if fault == "stall":
            self.server.over.wait(5)
