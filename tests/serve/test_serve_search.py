"""The own API: search, articles, indexes."""

QUESTION = "Which gene is mutated in Marfan syndrome?"


def test_a_search_returns_what_the_pipeline_answers(client):
    from bioqa import Pipeline, PipelineOptions

    answer = client.post("/v1/search", json={"question": QUESTION, "top": 3}).json()
    service = client.app.state.service
    direct = Pipeline(service.retriever(), service.reranker).answer(QUESTION, PipelineOptions(top=3))
    assert [hit["id"] for hit in answer["hits"]] == [hit.article.id for hit in direct.hits]
    assert [hit["logit"] for hit in answer["hits"]] == [hit.logit for hit in direct.hits]
    assert answer["index"]["name"] == "demo"
    assert answer["index"]["generation"] >= 1
    assert set(answer["timings"]) == {"retrieve", "rerank", "highlight", "queue"}
    assert client.get("/v1/search", params={"question": QUESTION, "top": 3}).json()["hits"] == answer["hits"]


def test_health_and_readiness(client):
    assert client.get("/health").json() == {"status": "ok"}
    assert client.get("/ready").json() == {"status": "ready"}
    client.app.state.service.draining = True
    assert client.get("/ready").status_code == 503
    assert client.get("/health").status_code == 200


def test_an_article_and_the_indexes(client):
    [index] = client.get("/v1/indexes").json()["indexes"]
    assert index["name"] == "demo"
    assert client.get("/v1/articles/99000001").json()["id"] == "99000001"
    error = client.get("/v1/articles/1").json()["error"]
    assert error["code"] == "not_found"
    assert error["field"] == "pmid"
