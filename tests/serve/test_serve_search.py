"""The own API: search, batches, articles, indexes, errors and limits."""

import json

import pytest

from tests.serve.conftest import GatedReranker

QUESTION = "Which gene is mutated in Marfan syndrome?"


def error_of(response):
    """The error of a response in the one form, which has no other keys."""
    error = response.json()
    assert error.keys() == {"error"}
    assert error["error"].keys() <= {"code", "message", "field"}
    assert error["error"]["message"].endswith(".")
    return error["error"]


def test_a_search_returns_what_the_pipeline_answers(client):
    from bioqa import Pipeline, PipelineOptions

    answer = client.post("/v1/search", json={"question": QUESTION, "top": 3}).json()
    service = client.app.state.service
    direct = Pipeline(service.retriever(), service.reranker).answer(QUESTION, PipelineOptions(top=3)).to_dict()
    assert answer["hits"] == json.loads(json.dumps(direct["hits"]))
    assert {**answer["index"], "name": ""} == {**direct["index"], "name": ""}
    assert answer["index"]["name"] == "demo"
    assert answer["index"]["generation"] >= 1
    assert answer["options"] == json.loads(json.dumps(direct["options"]))
    assert set(answer["timings"]) == {"retrieve", "rerank", "highlight", "queue"}
    assert client.get("/v1/search", params={"question": QUESTION, "top": 3}).json()["hits"] == answer["hits"]


def test_pages_of_results_continue_each_other(client):
    def page(offset: int, top: int, *, rerank: bool) -> list:
        given = {"question": QUESTION, "offset": offset, "top": top, "rerank": rerank, "sentences": 0}
        return client.post("/v1/search", json=given).json()["hits"]

    for rerank in (False, True):
        first, second = page(0, 4, rerank=rerank), page(4, 4, rerank=rerank)
        assert [hit["rank"] for hit in first + second] == list(range(1, 9))
        assert first + second == page(0, 8, rerank=rerank)


def test_filters_facets_and_warnings(client):
    filters = {"since": "2024", "language": ["eng"], "mesh": ["No such heading"]}
    answer = client.post("/v1/search", json={"question": QUESTION, "filters": filters}).json()
    assert answer["hits"] == []
    assert any("'no such heading'" in warning for warning in answer["warnings"])
    for given in ({"as_of": "2020"}, {"filters": {"as_of": "2020"}}):
        early = client.post("/v1/search", json={"question": QUESTION, "rerank": False, **given}).json()
        assert early["options"]["search"]["filters"]["as_of"] == "2020"
        assert all(hit["entered"] < "2021" for hit in early["hits"])
    link = {"question": QUESTION, "since": "2024", "facets": ["year", "type"], "rerank": "false"}
    answer = client.get("/v1/search", params=link).json()
    assert answer["hits"]
    assert all(hit["date"] >= "2024" for hit in answer["hits"])
    assert set(answer["facets"]) == {"year", "type"}
    assert answer["reranker"] is None


def test_retracted_hits_are_told():
    from bioqa.pipeline.answer import Answer, Coverage
    from bioqa.pipeline.options import PipelineOptions
    from bioqa.retrieve.retriever import MissingField, Snapshot
    from bioqa.serve.service import warnings
    from bioqa.types import Article, Hit, Link, Question

    def hit(rank: int, **article) -> Hit:
        return Hit(rank, Article(str(rank), "A title", "", **article), 1.0, 1.0)

    hits = (
        hit(1, publication_types=("Retracted Publication",)),
        hit(2, links=(Link("ExpressionOfConcernIn", "9"),)),
        hit(3, links=(Link("ErratumIn", "9"),)),
    )
    coverage, missing = Coverage(scored=3, truncated=1), (MissingField("mesh", 1200),)
    answer = Answer(Question("q", "why"), hits, None, {}, coverage, missing, (), PipelineOptions(), Snapshot("demo", 3))
    assert warnings(answer) == [
        "1 (rank 1) is retracted.",
        "2 (rank 2): expression of concern.",
        "The filter left out 1,200 matching articles that have no MeSH heading; the newest articles often have none yet.",
        "1 of 3 reranked articles was not read to the end.",
    ]


def test_max_chars_defers_what_does_not_fit(client):
    given = {"question": QUESTION, "top": 5, "rerank": False}
    hits = client.post("/v1/search", json=given).json()["hits"]
    length = len(json.dumps(hits[0], ensure_ascii=False, separators=(",", ":")))
    answer = client.post("/v1/search", json={**given, "max_chars": length}).json()
    assert answer["hits"] == hits[:1]
    assert answer["deferred"] == [hit["id"] for hit in hits[1:]]
    assert client.post("/v1/search", json={**given, "max_chars": length - 1}).json()["hits"] == []


def test_an_event_stream_has_the_first_stage_and_then_the_answer(client):
    given = {"question": QUESTION, "top": 3}
    with client.stream("POST", "/v1/search", json=given, headers={"Accept": "text/event-stream"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = "".join(response.iter_text())
    events = [dict(line.split(": ", 1) for line in part.split("\n")) for part in text.strip().split("\n\n")]
    assert [event["event"] for event in events] == ["first_stage", "answer"]
    first, answer = (json.loads(event["data"]) for event in events)
    assert first["hits"] == client.post("/v1/search", json={**given, "rerank": False}).json()["hits"]
    assert answer["hits"] == client.post("/v1/search", json=given).json()["hits"]


def test_an_event_stream_tells_an_error(client):
    with client.stream("GET", "/v1/search?question=", headers={"Accept": "text/event-stream"}) as response:
        text = "".join(response.iter_text())
    assert text.startswith("event: error\n")
    assert json.loads(text.split("data: ")[1])["code"] == "invalid_question"


def test_a_batch_answers_every_question(client):
    questions = [QUESTION, "What do statins inhibit?", " "]
    answers = client.post("/v1/search/batch", json={"questions": questions, "top": 2}).json()["answers"]
    for question, answer in zip(questions[:2], answers, strict=False):
        alone = client.post("/v1/search", json={"question": question, "top": 2}).json()
        assert answer["hits"] == alone["hits"]
    assert answers[2]["error"]["code"] == "invalid_question"
    assert answers[2]["error"]["field"] == "questions.2"


def test_an_article_similar_ones_and_the_indexes(client):
    found = client.get("/v1/indexes").json()
    assert found["default"] == "demo"
    service = client.app.state.service
    assert found["indexes"][0]["info"]["documents"] == len(service.retriever().index) > 300
    similar = client.get("/v1/articles/99000001/similar", params={"top": 3, "since": "2000", "rerank": False}).json()
    assert len(similar["hits"]) == 3
    assert "99000001" not in [hit["id"] for hit in similar["hits"]]
    expected = service.pipeline(service.ticket(), rerank=False).similar(service.article("99000001"))
    assert similar["hits"][0]["id"] == expected.hits[0].article.id
    assert client.get("/v1/articles/1/similar").status_code == 404
    article = client.get("/v1/articles/99000001").json()
    assert article == json.loads(json.dumps(service.article("99000001").to_dict()))
    error = error_of(client.get("/v1/articles/1"))
    assert (error["code"], error["field"]) == ("not_found", "pmid")
    assert error_of(client.get("/v1/articles/1?index=other"))["field"] == "index"


@pytest.mark.parametrize(
    ("given", "status", "code", "field"),
    [
        ({"question": QUESTION, "topp": 1}, 422, "unknown_field", "topp"),
        ({"question": QUESTION, "filters": {"jounal": ["a"]}}, 422, "unknown_field", "filters.jounal"),
        ({"question": 5}, 422, "invalid_request", "question"),
        ({}, 422, "invalid_request", "question"),
        ([], 422, "invalid_request", None),
        ({"question": QUESTION, "top": "many"}, 422, "invalid_request", "top"),
        ({"question": QUESTION, "top": 0}, 422, "invalid_request", "top"),
        ({"question": QUESTION, "filters": {"mesh": "Asthma"}}, 422, "invalid_request", "filters.mesh"),
        ({"question": QUESTION, "filters": {"since": "yesterday"}}, 422, "invalid_request", None),
        ({"question": QUESTION, "retriever": "magic"}, 422, "invalid_request", "retriever"),
        ({"question": QUESTION, "facets": ["colour"]}, 422, "invalid_request", "facets.0"),
        ({"question": ""}, 422, "invalid_question", None),
        ({"question": "half \ud800"}, 422, "invalid_question", None),
        ({"question": "(", "syntax": "lucene"}, 422, "invalid_question", None),
        ({"question": QUESTION, "index": "other"}, 404, "not_found", "index"),
        ({"question": "x" * 10_001}, 413, "too_large", "question"),
        ({"question": QUESTION, "top": 900, "offset": 101}, 413, "too_large", "offset + top"),
        ({"question": QUESTION, "rerank_depth": 2000}, 413, "too_large", "rerank_depth"),
        ({"question": QUESTION, "sentences": 21}, 413, "too_large", "sentences"),
        ({"question": QUESTION, "filters": {"mesh": ["a"] * 101}}, 413, "too_large", "mesh"),
    ],
)
def test_what_is_wrong_is_named(client, given, status, code, field):
    response = client.post("/v1/search", content=json.dumps(given), headers={"Content-Type": "application/json"})
    assert response.status_code == status
    error = error_of(response)
    assert (error["code"], error.get("field")) == (code, field)


def test_errors_outside_of_fields(client):
    def broken(content: bytes):
        return client.post("/v1/search", content=content, headers={"Content-Type": "application/json"})

    assert (broken(b'{"question": ').status_code, error_of(broken(b"{"))["code"]) == (400, "invalid_json")
    assert error_of(client.get("/nothing"))["code"] == "not_found"
    response = client.delete("/v1/search")
    assert (response.status_code, error_of(response)["code"]) == (405, "method_not_allowed")
    assert error_of(client.get("/v1/search?question=why&colour=red"))["field"] == "colour"
    wrong = client.get("/v1/search?question=why", headers={"X-Request-Timeout": "soon"})
    assert (wrong.status_code, error_of(wrong)["field"]) == (422, "X-Request-Timeout")
    batch = client.post("/v1/search/batch", json={"questions": ["why"] * 101})
    assert (batch.status_code, error_of(batch)["field"]) == (413, "questions")


def test_without_a_reranker_searches_are_bm25_and_reranking_is_refused(make_client):
    client = make_client(None)
    assert client.post("/v1/search", json={"question": QUESTION}).json()["reranker"] is None
    response = client.post("/rerank", json={"query": "why", "texts": ["because"]})
    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")


def test_a_request_that_is_not_answered_in_time_ends_with_504(make_client, gated: GatedReranker):
    gated.gate.set()
    client = make_client(gated)
    gated.gate.clear()
    client.app.state.service.queue.tokens_per_second = 1e9  # or it would be refused at once
    response = client.get("/v1/search", params={"question": QUESTION}, headers={"X-Request-Timeout": "3"})
    assert (response.status_code, error_of(response)["code"]) == (504, "deadline_exceeded"), response.text
    assert client.get("/v1/search", params={"question": QUESTION, "rerank": "false"}).status_code == 200
    assert client.get("/health").status_code == 200
