"""The server under load, on the loopback interface only, beside Pyserini's REST server and infinity's.

    pip install -c constraints.txt -e '.[serve,bench]'
    python -m benchmarks.serve [--parts bm25,rerank,load,memory,stop,mutations,mcp] [--infinity PYTHON]

- ``bm25``: one client's latency, and the requests a second of 16, with BM25's top 10 of the 175,166 shared abstracts for BioASQ
  questions: bioqa's /v1/{index}/search and /v1/search, and Pyserini's REST server on the same index, taking turns.
- ``rerank``: pairs a second, p50 and p99 of POST /rerank with 32 abstracts a request and 4 clients: bioqa with the engines cpu-int8
  and exact, and infinity-emb (torch, CPU) with the same model; PYTHON is the interpreter of an environment with
  ``infinity-emb[server,torch]``.
- ``load``: 200 clients for 60 s, one in eight of which reranks; statuses, latencies, and p99 of /health meanwhile.
- ``memory``: resident memory after 2,000 requests and after 100,000.
- ``stop``: SIGTERM under load; whether every accepted request was answered.
- ``mutations``: 10,000 mutated bodies; statuses, and tracebacks in the server's output.
- ``mcp``: latency of the tool search with 20 candidates reranked, one call after another, on standard input and output and at /mcp;
  and 100 concurrent calls.

Servers start one after another; each part says how long it ran. The result goes to ``benchmarks/results/serve.json``; parts that
did not run keep their earlier results.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import psutil

from benchmarks.machine import DATA, RESULTS, environment, write_result
from benchmarks.pubmed_files import abstract_files, test_questions
from benchmarks.pyserini_server import NAME as PYSERINI_NAME
from tests.serve.mutations import SEEDS, mutated

PARTS = ("bm25", "rerank", "load", "memory", "stop", "mutations", "mcp")
CLIENTS, LOAD_SECONDS = 200, 60
RERANKING = 8
"""Under load, one client in this many reranks."""
MEMORY_REQUESTS, MEMORY_WARM_UP = 100_000, 2_000
MUTATIONS = 10_000
MCP_CALLS, MCP_CONCURRENT, MCP_DEPTH = 60, 100, "20"
TEXTS, RERANK_CLIENTS = 32, 4


@contextmanager
def server(command: Sequence[str], ready: str, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """A running server that answers GET ``ready``, and the file of its output; it is stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        with output.open("wb") as file:
            process = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        try:
            deadline = time.monotonic() + 300
            while True:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command} did not start: {output.read_text(errors='replace')[-2000:]}")
                if fetch(f"http://127.0.0.1:{port}{ready}")[0] == 200:
                    break
                time.sleep(0.3)
            yield process, output
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@contextmanager
def bioqa(index: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes], Path]]:
    """The address, process and output of ``bioqa serve``."""
    port = free_port()
    command = [sys.executable, "-m", "bioqa", "serve", f"abstracts={index}", "--port", str(port), *arguments]
    with server(command, "/ready", port) as (process, output):
        yield f"http://127.0.0.1:{port}", process, output


def fetch(url: str) -> tuple[int, str]:
    """Status and text of a GET; 0 without an answer."""
    try:
        with urlopen(url, timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as problem:
        return problem.code, problem.read().decode()
    except OSError:
        return 0, ""


class Client:
    """One keep-alive connection of a plain HTTP/1.1 client, light enough to leave the processor to the server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.removeprefix("http://").partition(":")
        self._host, self._port = host, int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str, **query: object) -> int:
        """The status of a GET."""
        return await self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    async def post(self, path: str, body: object) -> int:
        """The status of a POST of JSON."""
        return await self.send("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())

    async def send(self, method: str, path: str, body: bytes = b"") -> int:
        """The status of a request. Raises OSError, or EOFError if the connection ends before the answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        kind = "Content-Type: application/json\r\n" if body else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = re.search(r"content-length: (\d+)", answer)
            if length is None:
                raise OSError(f"no content-length in {answer}")
            await reader.readexactly(int(length[1]))
        except BaseException:
            self.close()
            raise
        if "connection: close" in answer:
            self.close()
        return int(answer.split(" ", 2)[1])

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


Call = Callable[[Client, int], Awaitable[int]]


async def timed(client: Client, call: Call, number: int) -> tuple[float, int | str]:
    """Seconds that a request took, with its status, or the name of the error if it got no answer."""
    started = time.perf_counter()
    try:
        status: int | str = await call(client, number)
    except (OSError, EOFError) as problem:
        status = type(problem).__name__
    return time.perf_counter() - started, status


async def measure(
    address: str, call: Call, *, clients: int, requests: int | None = None, seconds: float | None = None
) -> list[tuple[float, int | str]]:
    """Each request's seconds and status: ``requests`` in all, or as many as fit into ``seconds``, from several clients."""
    numbers = iter(range(sys.maxsize if requests is None else requests))
    end = time.perf_counter() + (seconds or 1e9)
    found: list[tuple[float, int | str]] = []

    async def client() -> None:
        one = Client(address)
        for number in numbers:
            if time.perf_counter() > end:
                break
            found.append(await timed(one, call, number))
        one.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return found


def summary(found: Sequence[tuple[float, int | str]], wall: float) -> dict[str, Any]:
    """Requests a second, latency percentiles in milliseconds, and the number of each status."""
    return {
        "requests": len(found),
        "requests_per_second": round(len(found) / wall, 1),
        "latency_ms": percentiles([1000 * seconds for seconds, _ in found]),
        "statuses": {str(status): count for status, count in sorted(Counter(str(one) for _, one in found).items())},
    }


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99, and the longest."""
    ordered = sorted(milliseconds) or [0.0]
    found = {
        f"p{share}": round(ordered[min(len(ordered) - 1, len(ordered) * share // 100)], 2) for share in (50, 95, 99)
    }
    return {**found, "max": round(ordered[-1], 2)}


def probe_health(address: str, seconds: float) -> list[tuple[float, int | str]]:
    """Seconds and status of GET /health, twenty times a second; called in a process of its own."""

    async def probe() -> list[tuple[float, int | str]]:
        client, found = Client(address), []
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            found.append(await timed(client, lambda one, _: one.get("/health"), 0))
            await asyncio.sleep(0.05)
        client.close()
        return found

    return asyncio.run(probe())


def timed_run(address: str, call: Call, **how: Any) -> dict[str, Any]:
    started = time.perf_counter()
    found = asyncio.run(measure(address, call, **how))
    return summary(found, time.perf_counter() - started)


def ours(questions: Sequence[str]) -> Call:
    return lambda client, number: client.get("/v1/abstracts/search", query=questions[number % len(questions)], hits=10)


def ours_full(questions: Sequence[str], **given: Any) -> Call:
    return lambda client, number: client.post(
        "/v1/search", {"question": questions[number % len(questions)], "top": 10, **given}
    )


def pyserinis(questions: Sequence[str]) -> Call:
    return lambda client, number: client.post(
        f"/v1/indexes/{PYSERINI_NAME}/search", {"query": questions[number % len(questions)], "hits": 10}
    )


def part_bm25(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.pyserini_server", str(index), str(port)]
    contenders: dict[str, tuple[str, Call]] = {}
    result: dict[str, Any] = {}
    with bioqa(index, "--no-rerank") as (address, _, _), server(command, "/", port):
        contenders["bioqa, /v1/{index}/search"] = (address, ours(questions))
        contenders["bioqa, /v1/search without sentences"] = (address, ours_full(questions, sentences=0))
        contenders["bioqa, /v1/search"] = (address, ours_full(questions))
        contenders["Pyserini REST"] = (f"http://127.0.0.1:{port}", pyserinis(questions))
        for clients, requests in ((1, len(questions)), (16, 2 * len(questions))):
            for address_, call in contenders.values():
                asyncio.run(measure(address_, call, clients=clients, requests=len(questions)))  # warm-up
            for _ in range(arguments.rounds):
                for name, (address_, call) in contenders.items():
                    measured = timed_run(address_, call, clients=clients, requests=requests)
                    result.setdefault(f"{clients} clients", {}).setdefault(name, []).append(measured)
    ratios = {}
    for clients, measured_of in result.items():
        rates = {
            name: statistics.median(one["requests_per_second"] for one in all_) for name, all_ in measured_of.items()
        }
        ratios[clients] = {name: round(rate / rates["Pyserini REST"], 2) for name, rate in rates.items()}
    return {**result, "requests_per_second_over_pyserini": ratios}


def rerank_bodies(questions: Sequence[str]) -> list[tuple[str, list[str]]]:
    import gzip

    with gzip.open(abstract_files()[0], "rt", encoding="utf-8") as file:
        records = [json.loads(line) for _, line in zip(range(4000), file, strict=False)]
    texts = [f"{record.get('title', '')}\n{record.get('abstract') or record.get('text', '')}" for record in records]
    return [
        (question, texts[TEXTS * number : TEXTS * (number + 1)])
        for number, question in enumerate(questions[: len(texts) // TEXTS])
    ]


def part_rerank(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER

    bodies = rerank_bodies(questions)
    requests = max(8, int(40 * arguments.share))

    def tei(client: Client, number: int) -> Awaitable[int]:
        query, texts = bodies[number % len(bodies)]
        return client.post("/rerank", {"query": query, "texts": texts})

    def infinity(client: Client, number: int) -> Awaitable[int]:
        query, texts = bodies[number % len(bodies)]
        return client.post("/rerank", {"model": "default", "query": query, "documents": texts})

    result: dict[str, Any] = {}

    def run(name: str, address: str, call: Call) -> None:
        asyncio.run(measure(address, call, clients=RERANK_CLIENTS, requests=8))
        measured = [
            timed_run(address, call, clients=RERANK_CLIENTS, requests=requests) for _ in range(arguments.rounds)
        ]
        rate = statistics.median(one["requests_per_second"] for one in measured)
        result[name] = {"runs": measured, "pairs_per_second": round(rate * TEXTS, 1)}

    for engine in ("cpu-int8", "exact"):
        with bioqa(index, "--engine", engine) as (address, _, _):
            run(f"bioqa, {engine}", address, tei)
    if arguments.infinity:
        port = free_port()
        command = [
            arguments.infinity,
            "-m",
            "infinity_emb",
            "v2",
            "--model-id",
            str(DEFAULT_FOLDER),
            "--host",
            "127.0.0.1",
        ]
        command += ["--port", str(port), "--device", "cpu", "--engine", "torch", "--served-model-name", "default"]
        with server([*command, "--no-bettertransformer"], "/health", port):
            run("infinity-emb, torch", f"http://127.0.0.1:{port}", infinity)
        ratio = result["bioqa, cpu-int8"]["pairs_per_second"] / result["infinity-emb, torch"]["pairs_per_second"]
        result["pairs_per_second_over_infinity"] = round(ratio, 2)
    return result


def part_load(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    with bioqa(index) as (address, _, _):

        def mixed(client: Client, number: int) -> Awaitable[int]:
            rerank = number % RERANKING == 0
            return ours_full(questions, rerank=rerank, sentences=2 if rerank else 0)(client, number)

        seconds = LOAD_SECONDS * arguments.share
        started = time.perf_counter()
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            probing = pool.submit(probe_health, address, seconds)
            load = asyncio.run(measure(address, mixed, clients=CLIENTS, seconds=seconds))
            probes = probing.result()
        wall = time.perf_counter() - started
        metrics = fetch(f"{address}/metrics")[1]
    accepted = [one for one in load if one[1] == 200]
    return {
        "all": summary(load, wall),
        "accepted": summary(accepted, wall),
        "health": summary(probes, wall),
        "rejections": re.findall(r'bioqa_rejections_total\{code="(\w+)"\} (\S+)', metrics),
        "server_errors": sum(isinstance(status, str) or status >= 500 for _, status in load),
    }


def part_memory(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    with bioqa(index) as (address, process, _):

        def mixed(client: Client, number: int) -> Awaitable[int]:
            if number % 50 == 0:
                texts = [f"{questions[(number + place) % len(questions)]} {number}" for place in range(4)]
                return client.post("/rerank", {"query": questions[number % len(questions)], "texts": texts})
            return ours(questions)(client, number)

        def resident() -> float:
            return psutil.Process(process.pid).memory_info().rss / 2**20

        asyncio.run(measure(address, mixed, clients=8, requests=int(MEMORY_WARM_UP * arguments.share)))
        before = resident()
        steps = []
        for _ in range(10):
            asyncio.run(measure(address, mixed, clients=8, requests=int(MEMORY_REQUESTS * arguments.share) // 10))
            steps.append(round(resident(), 1))
    return {
        "requests": int(MEMORY_REQUESTS * arguments.share),
        "resident_mib_after_warm_up": round(before, 1),
        "resident_mib": steps,
        "growth": round(steps[-1] / before - 1, 4),
    }


def part_stop(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    runs = []
    for _ in range(arguments.rounds):
        with bioqa(index) as (address, process, output):

            def mixed(client: Client, number: int) -> Awaitable[int]:
                return ours_full(questions, rerank=number % 4 == 0, sentences=0)(client, number)

            async def load() -> list[tuple[float, int | str]]:
                async def stop() -> None:
                    await asyncio.sleep(3)
                    process.send_signal(signal.SIGTERM)

                measured, _ = await asyncio.gather(measure(address, mixed, clients=32, seconds=8), stop())
                return measured

            found = asyncio.run(load())
            code = process.wait(120)
            statuses = Counter(str(status) for _, status in found)
            lost = {
                name: count
                for name, count in statuses.items()
                if name not in ("200", "429", "503", "ConnectionRefusedError")
            }
            runs.append(
                {"statuses": dict(statuses), "lost": lost, "exit_code": code, "output": output.read_text()[-300:]}
            )
    return {"runs": runs}


def part_mutations(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(7)
    with bioqa(index) as (address, _, output):
        statuses: Counter[str] = Counter()

        async def send() -> None:
            client = Client(address)
            for _ in range(int(MUTATIONS * arguments.share)):
                method, path, body = rng.choice(SEEDS)
                statuses[str(await client.send(method, path, mutated(body, rng)))] += 1
            client.close()

        asyncio.run(send())
        text = output.read_text(errors="replace")
    return {"statuses": dict(sorted(statuses.items())), "tracebacks": text.count("Traceback")}


def part_mcp(index: Path, questions: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    from mcp.client.client import Client as McpClient
    from mcp.client.stdio import StdioServerParameters

    async def run(target: Any) -> dict[str, Any]:
        async with McpClient(target) as client:

            async def call(question: str) -> tuple[float, bool]:
                started = time.perf_counter()
                result = await client.call_tool("search", {"question": question})
                return time.perf_counter() - started, bool(result.is_error)

            await call(questions[0])
            alone = [await call(question) for question in questions[: int(MCP_CALLS * arguments.share) + 2]]
            together = [questions[number % len(questions)] for number in range(MCP_CONCURRENT)]
            started = time.perf_counter()
            concurrent = await asyncio.gather(*map(call, together))
            seconds = time.perf_counter() - started
        return {
            "p50_ms": round(1000 * statistics.median(one for one, _ in alone), 1),
            "max_ms": round(1000 * max(one for one, _ in alone), 1),
            "concurrent": len(concurrent),
            "answered": sum(not failed for _, failed in concurrent),
            "concurrent_seconds": round(seconds, 1),
        }

    options = ("--rerank-depth", MCP_DEPTH)
    command = ["-m", "bioqa", "mcp", f"abstracts={index}", *options]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    found = {"stdio": asyncio.run(run(StdioServerParameters(command=sys.executable, args=command, env=environment)))}
    with bioqa(index, *options) as (address, _, _):
        found["http"] = asyncio.run(run(f"{address}/mcp"))
    return {"rerank_depth": int(MCP_DEPTH), **found}


def index_of(folder: Path) -> Path:
    """An index of the shared abstracts; it stays for the next run."""
    path = folder / "lucene"
    if not path.exists():
        from bioqa import build_index

        build_index(path, abstract_files())
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help="comma-separated parts")
    parser.add_argument("--infinity", metavar="PYTHON", help="the interpreter of an environment with infinity-emb")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--share", type=float, default=1.0, help="this share of the requests and seconds, to try the script"
    )
    parser.add_argument("--index", type=Path, help="an index of the shared abstracts")
    parser.add_argument("--out", type=Path, default=RESULTS / "serve.json")
    arguments = parser.parse_args()
    chosen = arguments.parts.split(",")
    unknown = set(chosen) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    index = arguments.index or index_of(DATA / "serve")
    questions = test_questions()
    questions = questions[: max(20, int(len(questions) * arguments.share))]
    result = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in chosen:
        started = time.perf_counter()
        part = globals()[f"part_{name}"](index, questions, arguments)
        result[name] = {"environment": environment(), "seconds": round(time.perf_counter() - started), **part}
        write_result(arguments.out, result)


if __name__ == "__main__":
    main()
