"""The MCP tools: what they return, their limits, and both transports."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from bioqa.rerank.reranker import Reranker
from bioqa.serve.mcp_server import create_mcp_server
from bioqa.serve.quotes import locate
from bioqa.serve.service import Service
from bioqa.types import Article
from tests.support import REPOSITORY

QUESTION = "Which gene is mutated in Marfan syndrome?"
ARTICLE = Article(
    "1", "A “quoted” title", "First sentence on asthma. The α-blocker  lowered “blood pressure” in 12–14 patients. End."
)


@pytest.fixture(scope="module")
def service(demo_index: Path, reranker: Reranker) -> Iterator[Service]:
    with Service.open([f"demo={demo_index}"], reranker) as opened:
        yield opened


@pytest.fixture(scope="module")
def plain(demo_index: Path) -> Iterator[Service]:
    """Without a reranker: the tiny one reads too few tokens for a title as the question."""
    with Service.open([f"demo={demo_index}"]) as opened:
        yield opened


def call(service: Service, tool: str, **arguments: Any) -> Any:
    """The result of a tool, called as an agent does."""

    async def run() -> Any:
        async with Client(create_mcp_server(service)) as client:
            return await client.call_tool(tool, arguments)

    return anyio.run(run)


def test_a_search_gives_articles_with_sentences_at_their_places(service: Service) -> None:
    found = call(service, "search", question=QUESTION).structured_content
    assert found["query"].startswith(f"{QUESTION}; reranked by ")
    assert found["index"].startswith("demo: 320 articles")
    assert [one["pmid"] for one in found["results"]] + found["deferred"] == [
        hit.article.id for hit in service.search(QUESTION).hits
    ]
    for one in found["results"]:
        article = service.article(one["pmid"])
        for sentence in one["sentences"]:
            text = article.title if sentence["section"] == "title" else article.abstract
            assert text[sentence["begin"] : sentence["end"]] == sentence["text"]


def test_filters_apply_and_are_told(service: Service) -> None:
    found = call(service, "search", question=QUESTION, filters={"type": ["Review"], "since": "2015"}).structured_content
    assert "type=['Review']" in found["query"]
    for one in found["results"]:
        article = service.article(one["pmid"])
        assert "Review" in article.publication_types
        assert article.date >= "2015"


@pytest.mark.parametrize("max_chars", [1500, 3000, 8000])
@pytest.mark.parametrize("tool", ["search", "find_similar", "get_articles"])
def test_no_response_is_longer_than_its_limit(plain: Service, tool: str, max_chars: int) -> None:
    ids = [hit.article.id for hit in plain.search(QUESTION).hits]
    arguments: dict[str, Any] = {
        "search": {"question": QUESTION},
        "find_similar": {"pmid": ids[0]},
        "get_articles": {"pmids": ids},
    }[tool]
    found = call(plain, tool, **arguments, max_chars=max_chars)
    if found.is_error:
        assert "does not fit into max_chars" in found.content[0].text
        return
    assert len(json.dumps(found.structured_content, ensure_ascii=False, separators=(",", ":"))) <= max_chars
    items = found.structured_content["articles" if tool == "get_articles" else "results"]
    assert len(items) + len(found.structured_content["deferred"]) == 10


def test_articles_that_are_not_there_are_named(service: Service) -> None:
    found = call(service, "get_articles", pmids=["99000001", "5", " 99000001 ", 99000001]).structured_content
    assert [one["pmid"] for one in found["articles"]] == ["99000001"]
    assert found["not_found"] == ["5"]


def test_a_retracted_article_is_marked(service: Service) -> None:
    found = call(service, "get_articles", pmids=["99000301"]).structured_content
    assert found["articles"][0]["marks"] == ["Retracted (PMID 99000407)"]


def test_similar_articles_leave_out_the_article_itself(plain: Service) -> None:
    found = call(plain, "find_similar", pmid="99000001").structured_content
    assert "99000001" not in [one["pmid"] for one in found["results"]]
    assert found["results"]


def test_a_quotation_is_verified(service: Service) -> None:
    article = service.article("99000001")
    exact = call(service, "verify_quote", pmid=article.id, text=article.abstract[10:60]).structured_content
    assert (exact["match"], exact["begin"], exact["end"]) == (
        "exact",
        *_span(article.abstract, article.abstract[10:60].strip()),
    )
    wrong = call(service, "verify_quote", pmid=article.id, text="The moon is made of cheese.").structured_content
    assert wrong["match"] == "nearest"
    assert wrong["similarity"] < 0.5


def _span(text: str, part: str) -> tuple[int, int]:
    return text.index(part), text.index(part) + len(part)


@pytest.mark.parametrize(
    ("quotation", "match", "text"),
    [
        ("lowered “blood pressure”", "exact", "lowered “blood pressure”"),
        (
            'The α-blocker lowered "blood pressure" in 12-14 patients',
            "normalized",
            "The α-blocker  lowered “blood pressure” in 12–14 patients",
        ),
        ('a "QUOTED" title', "normalized", "A “quoted” title"),
        (
            "The α-blocker lowered blood sugar in 12 patients.",
            "nearest",
            "The α-blocker  lowered “blood pressure” in 12–14 patients.",
        ),
    ],
)
def test_quotations_are_found_whatever_their_form(quotation: str, match: str, text: str) -> None:
    place = locate(ARTICLE, quotation)
    assert (place.match, place.text) == (match, text)
    section = ARTICLE.title if place.section == "title" else ARTICLE.abstract
    assert section[place.begin : place.end] == text
    assert bool(place.differences) == (match == "nearest")


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("search", {"question": " "}, "question"),
        ("search", {"question": "gene", "filters": {"colour": "red"}}, "filters: colour"),
        ("search", {"question": "gene", "filters": {"since": "soon"}}, "'soon' is not a date"),
        ("get_articles", {"pmids": ["1"], "max_chars": 5}, "max_chars"),
        ("find_similar", {"pmid": "5"}, "has no article '5'"),
        ("verify_quote", {"pmid": "5", "text": "x"}, "has no article '5'"),
        ("verify_quote", {"pmid": "99000001", "text": "  "}, "The quotation is empty"),
    ],
)
def test_bad_arguments_are_told_in_a_sentence(
    service: Service, tool: str, arguments: dict[str, Any], message: str
) -> None:
    found = call(service, tool, **arguments)
    assert found.is_error
    assert message in found.content[0].text
    assert "Traceback" not in found.content[0].text


def test_the_catalog_is_short(service: Service) -> None:
    async def run() -> Any:
        async with Client(create_mcp_server(service)) as client:
            return await client.list_tools()

    tools = anyio.run(run).tools
    assert [tool.name for tool in tools] == ["search", "get_articles", "find_similar", "verify_quote"]
    catalog = json.dumps([tool.model_dump(exclude_none=True, by_alias=True) for tool in tools])
    # Like the tokenizers of LLMs: words of up to eight letters, numbers of up to three digits, runs of other characters.
    assert len(re.findall(r" ?[A-Za-z]{1,8}|\d{1,3}| ?[^A-Za-z0-9 ]+", catalog)) <= 1500


def test_concurrent_calls_are_all_answered(service: Service) -> None:
    answers: list[Any] = []

    async def run() -> None:
        async with Client(create_mcp_server(service)) as client, anyio.create_task_group() as group:

            async def one(number: int) -> None:
                answers.append(await client.call_tool("search", {"question": f"{QUESTION} {number}"}))

            for number in range(20):
                group.start_soon(one, number)

    anyio.run(run)
    assert len(answers) == 20
    assert not any(answer.is_error for answer in answers)


def test_the_command_speaks_on_standard_input_and_output(service: Service, tiny_reranker: Path) -> None:
    index = service.retriever().index.path
    arguments = ["-m", "bioqa", "mcp", str(index), "--reranker", str(tiny_reranker), "--device", "cpu"]

    async def run() -> Any:
        parameters = StdioServerParameters(command=sys.executable, args=arguments, env={"PYTHONPATH": str(REPOSITORY)})
        async with Client(stdio_client(parameters)) as client:
            return await client.call_tool("search", {"question": QUESTION})

    assert anyio.run(run).structured_content["results"]


def test_the_server_speaks_over_http(address: str) -> None:
    async def run() -> Any:
        async with Client(f"{address}/mcp") as client:
            return await client.call_tool("search", {"question": QUESTION})

    assert anyio.run(run).structured_content["results"]
