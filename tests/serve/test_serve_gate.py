"""Hosts, keys, sizes, headers, the request log and metrics."""

import json
from base64 import b64encode
from pathlib import Path

import pytest

from bioqa.errors import UsageError
from bioqa.serve.keys import Key, Keys, new_key
from bioqa.serve.settings import Settings
from tests.serve.conftest import GatedReranker

LINK = {"question": "Marfan syndrome", "rerank": "false", "top": 1}


def code_of(response):
    return response.json()["error"]["code"]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, list[str]]:
    """A file of two keys, the second with a rate of two requests a minute, and the keys."""
    (one, first), (two, second) = new_key("one"), new_key('t"w\\o')
    path = tmp_path / "keys.toml"
    path.write_text(first + second.replace("rate = 600", "rate = 2"), encoding="utf-8")
    return path, [one, two]


def test_only_keys_of_the_file_pass(make_client, keys):
    path, (key, _) = keys
    client = make_client(keys=path)
    assert client.get("/health").status_code == client.get("/ready").status_code == 200
    for wrong in ({}, {"X-API-Key": key + "x"}, {"Authorization": "Bearer"}, {"Authorization": "Basic !"}):
        response = client.get("/v1/search", params=LINK, headers=wrong)
        assert (response.status_code, code_of(response)) == (401, "unauthorized")
        assert "Bearer" in response.headers["www-authenticate"]
    basic = b64encode(f"anyone:{key}".encode()).decode()
    for right in ({"X-API-Key": key}, {"Authorization": f"bearer {key}"}, {"Authorization": f"Basic {basic}"}):
        assert client.get("/v1/search", params=LINK, headers=right).status_code == 200
    assert client.get("/metrics").status_code == 401


def test_a_key_has_a_rate(make_client, keys):
    path, (_, slow) = keys
    client = make_client(keys=path)
    answers = [client.get("/v1/search", params=LINK, headers={"X-API-Key": slow}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert code_of(answers[2]) == "rate_limited"
    assert 1 <= int(answers[2].headers["retry-after"]) <= 31


def test_the_rate_of_a_key_renews(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("bioqa.serve.keys.time.monotonic", lambda: now)
    key = Key("name", "0" * 64, 60)
    for _ in range(60):
        key.use()
    now += 1.0
    key.use()
    with pytest.raises(Exception, match=r"60 requests a minute. Try again in 1 s"):
        key.use()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "keys is missing"),
        ("keys = []", "has no keys"),
        ('[[keys]]\nname = "a"\nsha256 = "abc"\n', "sha256"),
        ('[[keys]]\nname = "a"\nkey = "abc"\nsha256 = "' + "0" * 64 + '"', "unknown key"),
        (new_key("a")[1] + new_key("a")[1], "two keys named a"),
        (new_key("a")[1].replace("rate = 600", "rate = 0"), "rate"),
    ],
)
def test_a_malformed_file_of_keys_is_refused(tmp_path, text, message):
    path = tmp_path / "keys.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        Keys.read(path)
    with pytest.raises(UsageError, match="no file of keys"):
        Keys.read(tmp_path / "none.toml")


def test_other_machines_need_keys_or_permission(tmp_path):
    with pytest.raises(UsageError, match="--keys FILE"):
        Settings(host="0.0.0.0")
    assert Settings(host="0.0.0.0", no_auth=True).keys is None
    assert Settings(host="0.0.0.0", keys=tmp_path).keys == tmp_path


def test_only_own_host_names_are_answered(make_client):
    client = make_client(hosts=("search.example.org",))
    for host in ("127.0.0.1:8082", "localhost", "[::1]:80", "192.168.1.5", "SEARCH.example.org:443"):
        assert client.get("/v1/search", params=LINK, headers={"Host": host}).status_code == 200, host
    for host in ("evil.example.com", "localhost.evil.com:8082", "127.0.0.1.evil.com", "", "a:b:c"):
        response = client.get("/health", headers={"Host": host})
        assert (response.status_code, code_of(response)) == (421, "wrong_host"), host


def test_large_bodies_are_refused(make_client):
    client = make_client(max_body=1000)

    def parts():
        yield b"x" * 600
        yield b"x" * 600

    for content in (b"x" * 1001, parts()):
        response = client.post("/v1/search", content=content)
        assert (response.status_code, code_of(response)) == (413, "too_large")
        assert "max_body" in response.json()["error"]["message"]


def test_every_response_has_the_safe_headers(client):
    for path in ("/health", "/v1/search?question=why", "/v1/search", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self';")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in headers
        assert headers["x-request-id"]
    assert client.get("/health", headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    assert "/v1/search" in client.get("/openapi.json").json()["paths"]


def test_web_pages_of_allowed_origins_may_call(make_client):
    client = make_client(origins=("https://example.org",))
    for origin, allowed in (("https://example.org", "https://example.org"), ("https://evil.org", None)):
        headers = client.get("/v1/search", params=LINK, headers={"Origin": origin}).headers
        assert headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize("log_questions", [False, True])
def test_the_log_has_questions_only_if_it_may(make_client, keys, tmp_path, log_questions):
    path, (key, _) = keys
    log = tmp_path / "log.jsonl"
    client = make_client(keys=path, log=str(log), log_questions=log_questions)
    client.get("/v1/search", params={**LINK, "question": "secret patient"}, headers={"X-API-Key": key})
    client.post("/v1/search", json={"question": "secret patient"}, headers={"X-API-Key": key})
    client.get("/v1/articles/nothing", headers={"X-API-Key": key})
    client.get("/v1/articles/nothing")
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert [record["status"] for record in records] == [200, 200, 404, 401]
    assert all(record["ms"] > 0 and record["time"].endswith("Z") for record in records)
    assert len({record["id"] for record in records}) == 4
    fingerprints = [record["key"] for record in records]
    assert fingerprints == [fingerprints[0]] * 3 + [""]
    assert len(fingerprints[0]) == 12
    assert key not in log.read_text()
    assert ("secret patient" in log.read_text()) is log_questions


def test_metrics_tell_requests_batches_and_the_generation(client):
    client.post("/v1/search", json={"question": "Marfan syndrome"})
    client.post("/v1/search", json={})
    text = client.get("/metrics").text
    assert 'bioqa_requests_total{method="POST",path="/v1/search",status="200"} 1.0' in text
    assert 'bioqa_requests_total{method="POST",path="/v1/search",status="422"} 1.0' in text
    assert 'bioqa_request_duration_seconds_count{path="/v1/search"} 2.0' in text
    assert 'bioqa_index_generation{index="demo"} 1.0' in text
    assert "bioqa_queue_tokens 0.0" in text
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(samples["bioqa_batch_pairs_sum"]) >= 50
    assert float(samples["bioqa_reranker_tokens_per_second"]) > 0


def test_a_full_queue_answers_429_to_all_that_rerank(make_client, gated: GatedReranker):
    gated.gate.set()
    client = make_client(gated, queue_tokens=20_000)
    service = client.app.state.service
    service.queue._tokens += 20_000  # as if others waited
    rerank = {"query": "why", "documents": ["because"]}
    for path, body in (
        ("/v1/search", {"question": "Marfan syndrome"}),
        ("/v1/search/batch", {"questions": ["Marfan syndrome"]}),
        ("/rerank", {"query": "why", "texts": ["because"]}),
        ("/v1/rerank", rerank),
        ("/v2/rerank", rerank),
    ):
        response = client.post(path, json=body)
        assert (response.status_code, code_of(response)) == (429, "overloaded"), path
        assert int(response.headers["retry-after"]) == service.queue.retry_after()
    assert client.get("/ready").status_code == 503
    assert client.get("/v1/search", params=LINK).status_code == 200
    assert 'bioqa_rejections_total{code="overloaded"} 5.0' in client.get("/metrics").text
    service.queue._tokens -= 20_000
    assert client.post("/v1/rerank", json=rerank).status_code == 200


def test_too_many_requests_in_work_are_refused(make_client):
    client = make_client(max_requests=3)
    work = client.app.state.work
    work.requests = 3
    response = client.get("/v1/search", params=LINK)
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert "max_requests" in response.json()["error"]["message"]
    work.requests = 0
    assert client.get("/v1/search", params=LINK).status_code == 200


def test_while_draining_requests_are_refused_and_connections_closed(client):
    client.app.state.service.draining = True
    response = client.get("/v1/search", params=LINK)
    assert (response.status_code, code_of(response)) == (503, "draining")
    assert response.headers["connection"] == "close"
    assert response.headers["retry-after"]
    assert client.get("/health").status_code == 200
    assert client.get("/ready").status_code == 503


def test_an_internal_error_tells_nothing_of_itself(client, monkeypatch, caplog):
    service = client.app.state.service
    monkeypatch.setattr(service, "search", lambda *_, **__: 1 / 0)
    response = client.get("/v1/search", params=LINK)
    assert (response.status_code, code_of(response)) == (500, "internal_error")
    assert "division" not in response.text
    assert "ZeroDivisionError" in caplog.text
