"""MCP: four tools with typed results within budgets, in memory, over HTTP and as a process."""

import asyncio
import json
import os
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("mcp")

from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

from bioqa.corpus.sentences import sentences
from bioqa.serve.mcp_results import _fitting
from bioqa.serve.mcp_server import create_mcp_server
from bioqa.serve.service import Service
from bioqa.serve.work import Work
from tests.serve.conftest import serving
from tests.serve.mutations import mutated
from tests.support import REPOSITORY, write_jsonl

QUESTION = "Which gene is mutated in Marfan syndrome?"
TOOLS = ["search", "get_articles", "find_similar", "verify_quote"]
REVISION = "2026-07-28"

Use = Callable[[Client], Awaitable[Any]]


def with_client(target: Any, use: Use, **settings: Any) -> Any:
    """What ``use(client)`` returns, with a client of a server (in memory, at an address, or a process)."""

    async def run() -> Any:
        async with Client(target, **settings) as client:
            return await use(client)

    return asyncio.run(run())


@pytest.fixture(scope="module")
def service(demo_index, reranker) -> Iterator[Service]:
    with Service.open([f"demo={demo_index}"], reranker) as opened:
        yield opened


@pytest.fixture
def server(service) -> Iterator[Any]:
    work = Work(service.settings)
    yield create_mcp_server(service, work)
    work.close()


@pytest.fixture
def call(server) -> Callable[..., Any]:
    """Call a tool in memory and return its result."""
    return lambda name, **arguments: with_client(server, lambda client: client.call_tool(name, arguments))


def content(result: Any) -> dict[str, Any]:
    """The content of a result, which is the same as text and structured."""
    assert not result.is_error, result.content
    [text] = result.content
    assert json.loads(text.text) == result.structured_content
    return result.structured_content


def error(result: Any) -> str:
    """The sentence of a result that is an error."""
    assert result.is_error
    [text] = result.content
    assert text.text.endswith((".", "?"))
    assert "Traceback" not in text.text
    assert "pydantic" not in text.text
    return text.text


def assert_sentences_are_in_place(service, found: list[dict[str, Any]]) -> None:
    for one in found:
        article = service.article(one["pmid"])
        for sentence in one["sentences"]:
            assert sentence["pmid"] == article.id
            source = {"title": article.title, "abstract": article.abstract}[sentence["section"]]
            assert source[sentence["begin"] : sentence["end"]] == sentence["text"]


def catalog(server) -> list[dict[str, Any]]:
    listed = with_client(server, lambda client: client.list_tools())
    return [tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools]


def test_the_catalog_is_short(server):
    """Counted in word pieces, of which JSON has more than of the tokens of large language models."""
    from transformers import AutoTokenizer

    from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER

    tools = catalog(server)
    text = json.dumps(tools, separators=(",", ":"), ensure_ascii=False)
    tokenizer = AutoTokenizer.from_pretrained(DEFAULT_FOLDER, model_max_length=10_000)
    assert len(tokenizer.encode(text, add_special_tokens=False)) <= 1_500
    assert [tool["name"] for tool in tools] == TOOLS
    for tool in tools:
        assert tool["annotations"]["readOnlyHint"] is True
        assert tool["description"].endswith((".", ")."))
        assert tool["inputSchema"]["additionalProperties"] is False
    assert catalog(server) == tools


def test_schemas_list_what_is_there(server, call):
    tools = {tool["name"]: tool for tool in catalog(server)}
    assert list(tools["search"]["inputSchema"]["properties"]) == ["question", "filters", "top", "max_chars"]
    results = {
        "search": call("search", question=QUESTION),
        "get_articles": call("get_articles", pmids=["99000001"]),
        "find_similar": call("find_similar", pmid="99000001"),
        "verify_quote": call("verify_quote", pmid="99000001", text="nothing of the kind"),
    }
    for name, result in results.items():
        assert list(content(result)) == [
            *tools[name]["outputSchema"]["required"],
            *(["sentence"] if name == "verify_quote" else []),
        ]
    hit = tools["search"]["outputSchema"]["properties"]["hits"]["items"]
    [*_, found] = content(results["search"])["hits"]
    assert set(found) == {*hit["required"], "probability"}
    assert list(found["sentences"][0]) == hit["properties"]["sentences"]["items"]["required"]


def test_search_is_that_of_the_service(service, call):
    filters = {"since": "2015", "language": ["eng"], "exclude_retracted": True}
    found = content(call("search", question=f" {QUESTION} ", filters=filters, top=3, max_chars=20_000))
    from bioqa.serve.schemas import FilterFields, SearchFields

    options = SearchFields(top=3).pipeline_options(FilterFields(**filters).filters(), service.options)
    answer = service.search(QUESTION, options)
    assert [hit["pmid"] for hit in found["hits"]] == [hit.article.id for hit in answer.hits]
    assert [hit["probability"] for hit in found["hits"]] == pytest.approx(
        [h.probability for h in answer.hits], abs=1e-4
    )
    assert len(found["hits"]) == 3
    assert found["deferred"] == []
    assert found["question"] == QUESTION
    assert found["filters"] == filters
    assert found["options"]["top"] == 3
    assert found["options"]["rerank_depth"] == 50
    assert found["options"]["reranker"] == service.reranker.name
    assert (found["index"], found["documents"]) == ("demo", answer.index.documents)
    assert (found["snapshot"], found["generation"]) == (answer.index.date, answer.index.generation)
    assert found["snapshot"]
    assert_sentences_are_in_place(service, found["hits"])
    assert all(hit["sentences"] for hit in found["hits"])


def test_filters_can_be_json_in_text_and_pmids_numbers(call):
    """Some clients write objects as text."""
    found = content(call("search", question=QUESTION, filters='{"since": "2020"}'))
    assert found["filters"] == {"since": "2020"}
    assert [one["pmid"] for one in content(call("get_articles", pmids=[99000001]))["articles"]] == ["99000001"]


@pytest.mark.parametrize("max_chars", [500, 800, 1200, 2000, 4000, 8000, 20_000])
def test_a_response_is_never_longer_than_its_budget(call, max_chars):
    ids = [str(99000001 + number) for number in range(20)]
    for name, given in (
        ("search", {"question": QUESTION, "top": 20}),
        ("find_similar", {"pmid": ids[0], "top": 20}),
        ("get_articles", {"pmids": [*ids, "1"]}),
    ):
        result = call(name, **given, max_chars=max_chars)
        assert len(result.content[0].text) <= max_chars
        if result.is_error:
            assert max_chars < 2000
            assert "Allow more" in error(result)
            continue
        found = content(result)
        whole = [one["pmid"] for one in found.get("hits", found.get("articles"))]
        if name == "get_articles":
            assert whole + found["deferred"] == ids
            assert found["not_found"] == ["1"]
        else:
            assert len(whole + found["deferred"]) == 20
        if max_chars == 2000:
            assert whole
            assert found["deferred"]


def test_an_article_that_does_not_fit_is_cut_at_a_sentence(service, call):
    id = max(
        (f"99000{n:03}" for n in range(1, 300)),
        key=lambda one: len(service.articles([one])[0].abstract) if service.articles([one])[0] else 0,
    )
    whole = content(call("get_articles", pmids=[id]))
    size = len(json.dumps(whole, ensure_ascii=False, separators=(",", ":")))
    found = content(call("get_articles", pmids=[id, "99000001"], max_chars=size - 100))
    [article] = found["articles"]
    assert found["deferred"] == ["99000001"]
    assert article["cut"] >= 1
    expected = [one.text for one in sentences(service.article(id)) if one.section == "abstract"]
    assert [one["text"] for one in article["sentences"]] == expected[: len(expected) - article["cut"]]
    assert whole["articles"][0]["cut"] == 0
    assert_sentences_are_in_place(service, found["articles"])


def test_articles_are_found_by_any_identifier(service, call):
    with_doi = next(one for one in service.articles([f"99000{n:03}" for n in range(1, 300)]) if one and one.doi)
    given = [f"PMID: {with_doi.id}", f"https://doi.org/{with_doi.doi}", "nonsense", "99000002", "99000002"]
    found = content(call("get_articles", pmids=given, max_chars=50_000))
    assert [one["pmid"] for one in found["articles"]] == [with_doi.id, "99000002"]
    assert found["articles"][0]["doi"] == with_doi.doi
    assert found["not_found"] == ["nonsense"]


def test_similar_articles(service, call):
    found = content(call("find_similar", pmid="99000001", top=4, max_chars=20_000))
    assert found["question"] == service.article("99000001").title
    assert ("reranker" in found["options"]) is not any("BM25 only" in told for told in found["warnings"])
    assert len(found["hits"]) == 4
    assert "99000001" not in [hit["pmid"] for hit in found["hits"]]
    assert_sentences_are_in_place(service, found["hits"])
    assert "no article '1'" in error(call("find_similar", pmid="1"))


def test_quotations(service, call):
    article = service.article("99000001")
    sentence = next(one for one in sentences(article) if one.section == "abstract")
    exact = content(call("verify_quote", pmid="99000001", text=sentence.text))
    assert exact["match"] == "exact"
    assert exact["sentence"] == {
        "pmid": "99000001",
        "section": "abstract",
        "begin": sentence.begin,
        "end": sentence.end,
        "text": sentence.text,
    }
    variant = content(call("verify_quote", pmid="PMID:99000001", text=sentence.text.upper().replace(" ", "\n")))
    assert (variant["match"], variant["sentence"]) == ("variant", exact["sentence"])
    assert variant["variations"] == ["white space", "capital letters"]
    first, *rest = sentence.text.split()
    wrong = content(call("verify_quote", pmid="99000001", text=" ".join(["Unicorns", *rest])))
    assert (wrong["match"], wrong["sentence"]) == ("none", exact["sentence"])
    assert wrong["differences"] == [{"quoted": "Unicorns", "article": first}]
    assert 0.5 < wrong["similarity"] < 1
    assert wrong["snapshot"] == service.retriever().snapshot().date


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("search", {}, "question is missing"),
        ("search", {"question": " "}, "empty"),
        ("search", {"question": 7}, "question must be text, not 7"),
        ("search", {"question": "a " * 6000}, "max_question"),
        (
            "search",
            {"question": QUESTION, "since": "2020"},
            "search has no argument 'since'. It has: question, filters",
        ),
        ("search", {"question": QUESTION, "filters": {"year": "2020"}}, "no field filters.year"),
        ("search", {"question": QUESTION, "filters": {"mesh": "Asthma"}}, "filters.mesh must be a list"),
        ("search", {"question": QUESTION, "filters": {"since": "soon"}}, "'soon' is not a date"),
        ("search", {"question": QUESTION, "filters": {"mesh": ["a"] * 101}}, "max_values"),
        ("search", {"question": QUESTION, "max_chars": 10}, "max_chars must be at least 500, not 10"),
        ("search", {"question": QUESTION, "top": 1000}, "top must be at most 50, not 1000"),
        ("search", {"question": QUESTION, "index": "other"}, "no argument 'index'"),
        ("get_articles", {"pmids": []}, "pmids"),
        ("get_articles", {"pmids": ["1"] * 51}, "pmids"),
        ("verify_quote", {"pmid": "99000001", "text": " "}, "no word"),
        ("verify_quote", {"pmid": "99000001"}, "text is missing"),
        ("verify_quote", {"pmid": "1", "text": "a"}, "The index demo has no article '1'"),
        ("nothing", {}, "There is no tool 'nothing'. There are: search"),
    ],
)
def test_errors_are_sentences(call, name, given, message):
    assert message in error(call(name, **given))


def test_an_internal_error_is_not_told_but_logged(service, call, monkeypatch, caplog):
    def fail(*given: Any, **named: Any) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr(service, "search", fail)
    assert error(call("search", question=QUESTION)) == "The server failed on this call; its log says why."
    assert "secret path" in caplog.text


def test_the_notice_of_a_retraction_is_named(call):
    [article] = content(call("get_articles", pmids=["99000301"]))["articles"]
    assert article["marks"] == {"retracted": ["99000407"]}


def test_retracted_articles_are_marked(bioqa, tmp_path):
    links = [{"type": "RetractionIn", "id": "9", "source": ""}]
    text = "Statins cure measles in mice. They do not."
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "5", "title": "Statins", "text": text, "links": links}])
    assert bioqa("index", "build", tmp_path / "index", corpus).code == 0
    with Service.open([tmp_path / "index"]) as service:
        work = Work(service.settings)
        server = create_mcp_server(service, work)

        async def use(client: Client) -> list[Any]:
            return [
                await client.call_tool("search", {"question": "statins"}),
                await client.call_tool("get_articles", {"pmids": ["5"]}),
                await client.call_tool("verify_quote", {"pmid": "5", "text": "Statins cure measles"}),
            ]

        search, articles, quote = map(content, with_client(server, use))
        work.close()
    marks = {"retracted": ["9"]}
    assert search["hits"][0]["marks"] == articles["articles"][0]["marks"] == quote["marks"] == marks
    assert search["warnings"] == ["5 (rank 1) is retracted."]
    assert "probability" not in search["hits"][0]


def test_several_indexes_are_named(demo_index, tmp_path, bioqa):
    corpus = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "5", "title": "Statins", "text": "Statins work."}])
    assert bioqa("index", "build", tmp_path / "index", corpus).code == 0
    with Service.open([f"demo={demo_index}", f"small={tmp_path / 'index'}"]) as service:
        work = Work(service.settings)
        server = create_mcp_server(service, work)
        for tool in catalog(server):
            assert tool["inputSchema"]["properties"]["index"] == {"enum": ["demo", "small"], "default": "demo"}

        async def use(client: Client) -> list[Any]:
            return [
                await client.call_tool("search", {"question": "statins", "index": "small"}),
                await client.call_tool("search", {"question": "statins", "index": "large"}),
            ]

        found, missing = with_client(server, use)
        work.close()
    assert (content(found)["index"], [hit["pmid"] for hit in content(found)["hits"]]) == ("small", ["5"])
    assert "no index 'large'" in error(missing)


def test_concurrent_calls_are_all_answered(demo_index, reranker):
    """Also if the reranker's queue has no room for them: they wait."""
    from bioqa.serve.settings import Settings

    settings = Settings(queue_tokens=40_000)
    with Service.open([f"demo={demo_index}"], reranker, settings=settings) as service:
        work = Work(service.settings)

        async def use(client: Client) -> list[Any]:
            calls = [client.call_tool("search", {"question": f"{QUESTION} {n}", "top": 2}) for n in range(24)]
            return await asyncio.gather(*calls)

        results = with_client(create_mcp_server(service, work), use)
        work.close()
    assert [content(result)["question"][-2:].strip() for result in results] == [str(n) for n in range(24)]
    assert all(content(result)["hits"] for result in results)


def test_the_logging_of_the_process_stays_as_it_is(service):
    import logging

    root = logging.getLogger()
    before = root.handlers[:], root.level
    work = Work(service.settings)
    create_mcp_server(service, work)
    work.close()
    assert (root.handlers, root.level) == before


def test_over_http(address):
    async def use(client: Client) -> Any:
        assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
        assert client.protocol_version == REVISION
        calls = [client.call_tool("search", {"question": QUESTION, "top": 2}) for _ in range(8)]
        return await asyncio.gather(*calls)

    results = with_client(f"{address}/mcp", use)
    assert all(len(content(result)["hits"]) == 2 for result in results)


def test_over_http_with_an_older_revision(address):
    async def use(client: Client) -> Any:
        assert client.protocol_version != REVISION
        return await client.call_tool("get_articles", {"pmids": ["99000001"]})

    assert content(with_client(f"{address}/mcp", use, mode="legacy"))["articles"]


def test_the_gate_guards_the_tools(make_client, tmp_path):
    from bioqa.serve.keys import new_key

    key, table = new_key("laboratory")
    (tmp_path / "keys.toml").write_text(table)
    client = make_client(keys=tmp_path / "keys.toml", origins=("https://friend.example",))
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": REVISION,
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            }
        },
    }
    headers = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": REVISION,
        "Mcp-Method": "tools/list",
    }

    def post(**more: str) -> Any:
        return client.post("/mcp", json=body, headers={**headers, **more})

    assert post().status_code == 401
    admitted = {"Authorization": f"Bearer {key}"}
    answer = post(**admitted)
    assert answer.status_code == 200, answer.text
    assert [tool["name"] for tool in answer.json()["result"]["tools"]] == TOOLS
    assert post(**admitted, Host="evil.example").status_code == 421
    assert post(**admitted, Origin="https://evil.example").status_code == 403
    assert post(**admitted, Origin="https://friend.example").status_code == 200
    assert post(**admitted, Origin="http://127.0.0.1").status_code == 200
    for method in ("GET", "DELETE", "PUT"):
        assert client.request(method, "/mcp", headers=admitted).status_code == 405


@pytest.mark.parametrize("revision", [REVISION, "2025-06-18", "tomorrow"])
def test_mutated_calls_never_break_the_server(client, revision, caplog):
    arguments = {"question": QUESTION, "filters": {"mesh": ["Asthma"], "since": "2019"}, "top": 2, "max_chars": 2000}
    headers = {
        "Accept": "application/json, text/event-stream",
        "Content-Type": "application/json",
        "MCP-Protocol-Version": revision,
        "Mcp-Method": "tools/call",
        "Mcp-Name": "search",
    }
    rng = random.Random(1)
    statuses = set()
    for number in range(40):
        meta = {"io.modelcontextprotocol/protocolVersion": revision, "io.modelcontextprotocol/clientCapabilities": {}}
        params = {"name": "search", "arguments": arguments, "_meta": meta}
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
        if number % 4 == 0:
            content = mutated(body, rng)
        else:
            changed = mutated(arguments, rng)
            content = json.dumps(body).encode().replace(json.dumps(arguments).encode(), changed)
        response = client.post("/mcp", content=content, headers=headers)
        assert response.status_code < 500, (content, response.text)
        statuses.add(response.status_code)
    assert 400 in statuses
    assert 200 in statuses or revision == "tomorrow"
    assert "Traceback" not in caplog.text


def test_questions_are_logged_only_if_told(demo_index, tmp_path):
    from bioqa.serve.settings import Settings

    for log_questions in (False, True):
        log = tmp_path / f"{log_questions}.log"
        settings = Settings(log=str(log), log_questions=log_questions)
        with serving(Service.open([f"demo={demo_index}"], settings=settings)) as address:
            with_client(f"{address}/mcp", lambda client: client.call_tool("search", {"question": QUESTION}))
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert {line["path"] for line in lines} == {"/mcp"}
        assert any(line.get("question") == QUESTION for line in lines) is log_questions


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "bioqa", "mcp", *map(str, arguments)]


def test_as_a_process(demo_index, tiny_reranker, tmp_path):
    program, *arguments = command(f"demo={demo_index}", "--reranker", tiny_reranker)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}

    async def run() -> Any:
        parameters = StdioServerParameters(command=program, args=arguments, env=environment, cwd=REPOSITORY)
        async with Client(parameters) as client:
            assert client.protocol_version == REVISION
            calls = [client.call_tool("search", {"question": QUESTION, "top": 2}) for _ in range(8)]
            return await asyncio.gather(*calls)

    assert all(len(content(result)["hits"]) == 2 for result in asyncio.run(run()))


def test_standard_output_has_only_the_protocol(demo_index):
    """Whatever is sent; at the end of standard input the process ends by itself."""
    messages: list[Any] = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}},
        {"jsonrpc": "2.0", "id": 2, "method": "nothing"},
        {
            "jsonrpc": "2.0",
            "id": 3,
            "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            },
        },
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "get_articles", "arguments": {}}},
    ]
    lines = [json.dumps(message) for message in messages]
    lines.insert(2, "no JSON")
    with subprocess.Popen(
        command(demo_index, "--no-rerank"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n".join(lines) + "\n")
        process.stdin.flush()
        answers = []
        while not any(answer.get("id") == 4 for answer in answers):
            answers.append(json.loads(process.stdout.readline()))
        rest, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    assert rest == ""
    assert all(answer["jsonrpc"] == "2.0" for answer in answers)
    assert answers[-1]["result"]["content"][0]["text"] == "pmids is missing."
    assert "Traceback" not in errors


def test_an_index_that_cannot_be_opened_is_told(bioqa, tmp_path):
    done = bioqa("mcp", tmp_path / "nothing")
    assert (done.code, done.out) == (5, "")
    assert "nothing" in done.err


def test_no_result_is_longer_than_allowed_even_without_articles():
    from bioqa.serve.errors import InvalidError
    from bioqa.serve.mcp_results import ArticlesResult

    result = ArticlesResult(
        index="i", documents=1, generation=1, snapshot="", articles=[], not_found=["x" * 900], deferred=[]
    )
    with pytest.raises(InvalidError, match="Allow more"):
        _fitting([result], 900)
