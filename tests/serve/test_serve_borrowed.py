"""The interfaces of text-embeddings-inference, Cohere, Jina, vLLM and Pyserini: their published schemas, and their clients."""

import json

import numpy as np
import pytest

QUERY = "which gene is mutated in cystic fibrosis"
TEXTS = ["aspirin inhibits inflammation and pain", "CFTR protein", "malaria is caused by Plasmodium parasites"]
LONG = " ".join(f"The {number} patients of the treatment are children." for number in range(40))


def order_of(reranker, texts=TEXTS) -> list[int]:
    return np.argsort(-reranker.logits(QUERY, texts), kind="stable").tolist()


def test_tei_rerank(client, reranker):
    """RerankRequest and RerankResponse of docs/openapi.json."""
    response = client.post("/rerank", json={"query": QUERY, "texts": TEXTS})
    ranks = response.json()
    assert [rank["index"] for rank in ranks] == order_of(reranker)
    assert all(rank.keys() == {"index", "score"} for rank in ranks)
    probabilities = reranker.probabilities(QUERY, TEXTS)
    assert [rank["score"] for rank in ranks] == pytest.approx(sorted(probabilities, reverse=True), abs=1e-5)
    for name in ("x-compute-tokens", "x-compute-characters", "x-total-time", "x-queue-time", "x-inference-time"):
        assert int(response.headers[name]) >= 0
    assert response.headers["x-compute-type"] == "cpu"
    full = {"query": QUERY, "texts": TEXTS, "raw_scores": True, "return_text": True, "truncate": True}
    ranks = client.post("/rerank", json={**full, "truncation_direction": "Right"}).json()
    assert [rank["text"] for rank in ranks] == [TEXTS[rank["index"]] for rank in ranks]
    assert [rank["score"] for rank in ranks] == pytest.approx(sorted(reranker.logits(QUERY, TEXTS))[::-1], abs=1e-4)


def test_tei_truncates_unless_told_not_to(client, reranker):
    texts = ["CFTR", LONG]
    ranks = client.post("/rerank", json={"query": QUERY, "texts": texts, "raw_scores": True}).json()
    expected = reranker.score_pairs([(QUERY, text) for text in texts], whole_questions=True)
    assert expected.truncated.tolist() == [False, True]
    assert {rank["index"]: rank["score"] for rank in ranks} == pytest.approx(dict(enumerate(expected.logits)), abs=1e-4)
    response = client.post("/rerank", json={"query": QUERY, "texts": texts, "truncate": False})
    assert (response.status_code, response.json()["error"]["field"]) == (422, "texts")
    assert client.post("/rerank", json={"query": QUERY, "texts": texts, "truncate": None}).status_code == 200


def test_tei_info(client, reranker):
    """Info of docs/openapi.json."""
    info = client.get("/info").json()
    assert info.keys() >= {"model_id", "model_dtype", "model_type", "max_concurrent_requests", "max_input_length"}
    assert info.keys() >= {
        "max_batch_tokens",
        "max_client_batch_size",
        "auto_truncate",
        "tokenization_workers",
        "version",
    }
    assert info["model_id"] == reranker.name
    assert info["max_input_length"] == reranker.max_length
    assert info["model_type"] == {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_cohere_rerank(client, reranker, path):
    """V2RerankResponse of cohere-python; vLLM's and Jina's usage beside it."""
    body = client.post(path, json={"model": "rerank-v3.5", "query": QUERY, "documents": TEXTS, "top_n": 2}).json()
    assert [result["index"] for result in body["results"]] == order_of(reranker)[:2]
    assert all(result.keys() == {"index", "relevance_score"} for result in body["results"])
    scores = [result["relevance_score"] for result in body["results"]]
    assert scores == pytest.approx(sorted(reranker.probabilities(QUERY, TEXTS))[:0:-1], abs=1e-5)
    assert isinstance(body["id"], str)
    assert body["model"] == reranker.name
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] > 0
    assert body["meta"]["api_version"]["version"] == ("2" if path == "/v2/rerank" else "1")
    assert body["truncation"] == {"passages_split": 0, "characters_not_read": 0}
    assert "warnings" not in body["meta"]


def test_documents_may_be_texts_objects_or_one_text(client):
    mixed = [TEXTS[0], {"text": TEXTS[1]}]
    given = {"query": QUERY, "documents": mixed, "return_documents": True, "top_n": 0}
    results = client.post("/v1/rerank", json=given).json()["results"]
    assert sorted((result["index"], result["document"]["text"]) for result in results) == list(enumerate(TEXTS[:2]))
    assert len(client.post("/v1/rerank", json={"query": QUERY, "documents": "one"}).json()["results"]) == 1
    for documents, field in (([], "documents"), ([5], "documents.0"), ([{"title": "a"}], "documents.0")):
        response = client.post("/v2/rerank", json={"query": QUERY, "documents": documents})
        assert (response.status_code, response.json()["error"]["field"]) == (422, field)


def test_long_documents_are_read_in_windows_and_that_is_told(client, reranker):
    from bioqa.pipeline.windows import score_articles
    from bioqa.types import Article

    body = client.post("/v1/rerank", json={"query": QUERY, "documents": [LONG, "CFTR"], "raw_scores": True}).json()
    expected = score_articles(reranker, QUERY, [Article("0", "", LONG), Article("1", "", "CFTR")])
    scores = {result["index"]: result["relevance_score"] for result in body["results"]}
    assert scores == pytest.approx(dict(enumerate(expected.logits.tolist())), abs=1e-4)
    assert body["truncation"]["passages_split"] == expected.coverage.split == 1
    assert body["truncation"]["characters_not_read"] == expected.coverage.unread


def test_fields_of_other_servers_that_change_nothing_are_told(client):
    given = {"query": QUERY, "documents": TEXTS, "max_chunks_per_doc": 3, "priority": 1, "rank_fields": ["text"]}
    warnings = client.post("/v2/rerank", json=given).json()["meta"]["warnings"]
    assert [warning.split()[0] for warning in warnings] == ["max_chunks_per_doc", "priority"]
    response = client.post("/v2/rerank", json={**given, "max_chunk": 3})
    assert response.json()["error"] == {
        "code": "unknown_field",
        "message": "There is no field max_chunk.",
        "field": "max_chunk",
    }


def test_limits_of_texts_are_named(make_client, reranker):
    client = make_client(reranker, max_documents=2, max_document=50)
    for texts, limit, field in ((TEXTS, "max_documents", "texts"), (["x" * 51], "max_document", "texts.0")):
        response = client.post("/rerank", json={"query": QUERY, "texts": texts})
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["field"]) == (413, "too_large", field)
        assert limit in error["message"]


def test_pyserini_search(client):
    """SearchResponse of pyserini/server/rest/openapi.yaml."""
    body = client.get("/v1/demo/search", params={"query": "Marfan syndrome", "hits": 3}).json()
    assert body.keys() == {"api", "index", "query", "candidates"}
    assert (body["api"], body["index"], body["query"]) == ("v1", "demo", {"text": "Marfan syndrome"})
    assert [one["rank"] for one in body["candidates"]] == [1, 2, 3]
    retriever = client.app.state.service.retriever()
    found = retriever.search("Marfan syndrome", 3)
    assert [(one["docid"], one["score"]) for one in body["candidates"]] == [(one.id, one.score) for one in found]
    assert all(one.keys() == {"docid", "score", "rank", "doc"} for one in body["candidates"])
    article = retriever.articles(found)[0]
    doc = body["candidates"][0]["doc"]
    assert (doc["title"], doc["abstract"]) == (article.title, article.abstract)
    assert "id" not in doc
    raw = client.get("/v1/demo/search", params={"query": "Marfan syndrome", "parse": "false"}).json()
    assert json.loads(raw["candidates"][0]["doc"])["id"] == article.id
    short = client.get("/v1/demo/search", params={"query": "Marfan syndrome", "max_doc_length": 10}).json()
    assert short["candidates"][0]["doc"]["abstract"] == article.abstract[:10]


def test_pyserini_parameters(client):
    def search(**given):
        return client.get("/v1/demo/search", params={"query": "Marfan syndrome", **given})

    assert search(k1=1.2, b=0.75).json()["candidates"][0]["score"] != search().json()["candidates"][0]["score"]
    assert search(k1=0.9, b=0.4).json() == search().json()
    for given, field in (({"k1": 1.2}, "b"), ({"b": 0.4}, "k1"), ({"hits": 0}, "hits"), ({"qid": 1}, "qid")):
        response = search(**given)
        assert (response.status_code, response.json()["error"]["field"]) == (422, field)
    assert search(k1="nan", b=0.4).status_code == search(k1=1, b=2).status_code == 422
    assert search(hits=1001).status_code == 413
    assert client.get("/v1/other/search?query=a").status_code == 404
    assert client.get("/v1/demo/search").json()["error"]["field"] == "query"


def test_pyserini_document(client):
    """DocumentResponse of pyserini/server/rest/openapi.yaml."""
    body = client.get("/v1/demo/doc/99000001").json()
    assert body.keys() == {"api", "index", "docid", "doc"}
    assert (body["api"], body["index"], body["docid"]) == ("v1", "demo", "99000001")
    candidates = client.get("/v1/demo/search", params={"query": body["doc"]["title"]}).json()["candidates"]
    assert body["doc"] in [one["doc"] for one in candidates if one["docid"] == "99000001"]
    assert client.get("/v1/demo/doc/99000001?parse=false").json()["doc"].startswith('{"id":"99000001"')
    assert client.get("/v1/demo/doc/1").status_code == 404


def test_the_client_of_cohere(address, reranker):
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="unused", base_url=address)
    found = client.rerank(model="any", query=QUERY, documents=TEXTS, top_n=2)
    assert [result.index for result in found.results] == order_of(reranker)[:2]
    old = cohere.Client(api_key="unused", base_url=address)
    found = old.rerank(model="any", query=QUERY, documents=[*TEXTS, {"text": "more"}], return_documents=True)
    assert {result.document.text for result in found.results} == {*TEXTS, "more"}


@pytest.mark.parametrize("provider", ["cohere", "jina_ai", "hosted_vllm", "huggingface"])
def test_the_client_of_litellm(address, reranker, provider, monkeypatch):
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    litellm = pytest.importorskip("litellm")
    found = litellm.rerank(
        model=f"{provider}/any", query=QUERY, documents=TEXTS, top_n=2, api_base=address, api_key="unused"
    )
    assert [result["index"] for result in found.results] == order_of(reranker)[:2]
