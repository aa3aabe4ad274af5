"""The server as a process: start, stop, workers, new commits, and requests that are wrong in every way."""

import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.serve.mutations import SEEDS, mutated
from tests.support import DEMO, REPOSITORY

QUESTION = "Which gene is mutated in Marfan syndrome?"


def request(address: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, dict, bytes]:
    """Status, headers and body of the answer to one request on a connection of its own."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=60)
    try:
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if body is not None else {}
        connection.request(method, path, content, {**given, **headers})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


@contextmanager
def process(*arguments: object) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server process on a free port, and its address."""
    command = [sys.executable, "-m", "bioqa", "serve", "--port", "0", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY, env=environment) as running:
        lines: list[str] = []
        try:
            assert running.stderr is not None
            address = None
            for line in running.stderr:
                lines.append(line)
                found = re.search(r"at (http://127\.0\.0\.1:\d+)\.", line)
                if found:
                    address = found[1]
                    break
            assert address, "".join(lines)
            yield running, address
        finally:
            if running.poll() is None:
                running.terminate()
            rest = running.communicate(timeout=60)[1]
            assert "Traceback" not in "".join(lines) + rest


def test_sigterm_finishes_accepted_requests(demo_index, tiny_reranker):
    with process(demo_index, "--reranker", tiny_reranker) as (running, address):
        statuses: list[int | str] = []
        stopped = threading.Event()

        def ask() -> None:
            while not stopped.is_set():
                try:
                    statuses.append(request(address, "POST", "/v1/search", {"question": QUESTION, "top": 3})[0])
                    if (
                        statuses[-1] == 503
                    ):  # told to come back later; a connection after it may find the port just closing
                        return
                except ConnectionRefusedError:  # the port is closed: nothing was accepted
                    return
                except OSError as problem:
                    statuses.append(repr(problem))

        with ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            time.sleep(1)
            running.send_signal(signal.SIGTERM)
            assert running.wait(60) == 0
            stopped.set()
            for one in asking:
                one.result()
        assert 200 in statuses
        assert set(statuses) <= {200, 503}


def test_workers_share_the_port_and_stop_together(demo_index):
    with process(demo_index, "--no-rerank", "--workers", 2) as (running, address):
        with ThreadPoolExecutor(8) as pool:
            link = "/v1/search?question=Marfan&top=1"
            answers = list(pool.map(lambda _: request(address, "GET", link)[0], range(40)))
        assert answers == [200] * 40
        metrics = request(address, "GET", "/metrics")[2].decode()
        assert 'bioqa_requests_total{method="GET",path="/v1/search",status="200"} 40.0' in metrics
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 0


def test_a_new_commit_is_picked_up(tmp_path):
    from bioqa import Index, build_index
    from bioqa.serve.service import Service
    from tests.serve.conftest import serving

    index = tmp_path / "index"
    build_index(index, [DEMO / "demo26n0001.xml"])
    with serving(Service.open([index])) as address:

        def generation() -> int:
            answer = json.loads(request(address, "GET", "/v1/search?question=Marfan&top=1")[2])
            return answer["index"]["generation"]

        first = generation()
        subprocess.run(
            [sys.executable, "-m", "bioqa", "index", "update", str(index), str(DEMO / "demo26n0002.xml")],
            check=True,
            capture_output=True,
            cwd=REPOSITORY,
        )
        deadline = time.monotonic() + 20
        while generation() == first:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        second = generation()
        [served] = json.loads(request(address, "GET", "/v1/indexes")[2])["indexes"]
        assert served["generation"] == second > first
        with Index(index) as updated:
            assert served["info"]["documents"] == len(updated)


def test_a_port_in_use_and_other_wrong_starts_have_a_clear_message(bioqa, demo_index):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = bioqa("serve", demo_index, "--no-rerank", "--port", port)
    assert outcome.code == 2
    assert f"cannot listen on 127.0.0.1 port {port}" in outcome.err
    assert bioqa("serve").code == 2
    assert "--keys FILE" in bioqa("serve", demo_index, "--host", "0.0.0.0").err
    assert "NAME=" in bioqa("serve", demo_index, demo_index).err
    assert bioqa("serve", f"articles={demo_index}").code == 2
    assert bioqa("serve", "no-such-index", "--no-rerank", "--port", 0).code == 5
    assert "no file of keys" in bioqa("serve", demo_index, "--no-rerank", "--port", 0, "--keys", "nothing.toml").err


def test_a_new_key_is_printed_with_its_entry(bioqa, tmp_path):
    from bioqa.serve.keys import Keys

    outcome = bioqa("serve", "--new-key", "lab")
    path = tmp_path / "keys.toml"
    path.write_text(outcome.out)
    key = re.search(r"only now: (\S+)\. ", outcome.err)[1]
    found = Keys.read(path).find(key)
    assert found is not None
    assert found.name == "lab"
    assert Keys.read(path).find("another") is None


def test_a_missing_package_is_told(bioqa, demo_index, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    for name in [name for name in sys.modules if name.startswith("bioqa.serve")]:
        monkeypatch.delitem(sys.modules, name)
    outcome = bioqa("serve", demo_index)
    assert outcome.code == 8
    assert "pip install 'bioqa[serve]'" in outcome.err


@pytest.mark.parametrize("seed", range(4))
def test_mutated_bodies_never_break_the_server(client, seed, caplog):
    rng = random.Random(seed)
    statuses = set()
    for _ in range(100):
        method, path, body = rng.choice(SEEDS)
        content = mutated(body, rng)
        response = client.request(method, path, content=content, headers={"Content-Type": "application/json"})
        statuses.add(response.status_code)
        assert response.status_code < 500, (path, content, response.text)
        assert response.status_code == 200 or response.json()["error"].keys() <= {"code", "message", "field"}
    assert {200, 422} <= statuses
    assert "Traceback" not in caplog.text


def test_raw_nonsense_on_the_socket_does_not_break_the_server(address):
    host, port = address.removeprefix("http://").split(":")
    rng = random.Random(1)
    for start in (b"GET /v1/search?question=%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x00\xff\r\n\r\n", b"GET"):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(start + bytes(rng.randrange(256) for _ in range(50)))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(10_000)
    assert request(address, "GET", "/health")[0] == 200


def test_a_client_that_goes_away_is_not_computed_for(demo_index, gated):
    from bioqa.serve.service import Service
    from tests.serve.conftest import serving

    gated.gate.set()
    service = Service.open([f"demo={demo_index}"], gated)
    with serving(service) as address:
        gated.gate.clear()
        host, port = address.removeprefix("http://").split(":")
        before = len(gated.batches)
        body = json.dumps({"query": "which gene", "texts": ["CFTR protein"]}).encode()
        head = f"POST /rerank HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        busy = socket.create_connection((host, int(port)))
        busy.sendall(head.encode() + body)
        while len(gated.batches) == before:
            time.sleep(0.01)
        gone = socket.create_connection((host, int(port)))
        gone.sendall(head.encode() + body)
        while not service.queue._waiting:
            time.sleep(0.01)
        gone.close()
        entry = service.queue._waiting[0]
        deadline = time.monotonic() + 20
        while not entry.ticket.cancelled:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        gated.gate.set()
        assert busy.recv(100).startswith(b"HTTP/1.1 200")
        busy.close()
        while service.queue.tokens:
            time.sleep(0.01)
        assert len(gated.batches) == before + 1
        assert "bioqa_cancelled_requests_total 1.0" in request(address, "GET", "/metrics")[2].decode()


def test_health_answers_while_all_threads_wait(make_client, gated, demo_index):
    from bioqa.serve.service import Service
    from bioqa.serve.settings import Settings
    from tests.serve.conftest import serving

    gated.gate.set()
    service = Service.open([f"demo={demo_index}"], gated, settings=Settings(rerank_threads=2))
    with serving(service) as address, ThreadPoolExecutor(6) as pool:
        gated.gate.clear()
        body = {"question": QUESTION, "top": 1}
        waiting = [pool.submit(request, address, "POST", "/v1/search", body) for _ in range(6)]
        while service.queue.tokens == 0:
            time.sleep(0.01)
        assert request(address, "GET", "/health")[0] == 200
        assert request(address, "GET", "/v1/search?question=Marfan&rerank=false")[0] == 200
        gated.gate.set()
        assert {one.result()[0] for one in waiting} == {200}


def test_the_index_name_is_the_folders_unless_given(demo_index, tmp_path):
    from bioqa.serve.service import index_names

    assert index_names([tmp_path / "pubmed", f"demo={demo_index}"]) == {
        "pubmed": tmp_path / "pubmed",
        "demo": Path(demo_index),
    }


def test_answers_are_sent_at_once():
    """asyncio turns Nagle's algorithm off only if the socket names its protocol; it delays answers by 40 ms."""
    from bioqa.serve.server import listen
    from bioqa.serve.settings import Settings

    with listen(Settings(port=0)) as listener:
        assert listener.proto == socket.IPPROTO_TCP
