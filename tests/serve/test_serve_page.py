"""The web page as a browser without JavaScript gets it."""

import hashlib
import json
import random
import re
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import pytest

from bioqa.types import Article, Section, Snippet
from tests.serve.conftest import serving
from tests.support import REPOSITORY, write_jsonl

QUESTION = "Which gene is mutated in Marfan syndrome?"
ASSETS = REPOSITORY / "bioqa" / "serve" / "assets"


class Page(HTMLParser):
    """The elements of a page, and the text in them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[int, str]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.texts.append((len(self.elements) - 1, data))

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [
            own
            for name, own in self.elements
            if name == tag and all(value in own.get(key, "").split() for key, value in wanted.items())
        ]

    def link(self, text: str) -> str:
        """The address of the first link that begins with a text."""
        for at, data in self.texts:
            if data.strip().startswith(text):
                return next(own["href"] for tag, own in reversed(self.elements[: at + 1]) if tag == "a")
        raise AssertionError(f"no link {text!r}")


@pytest.fixture
def get(client):
    """Get a page, and check what must hold for every one."""

    def fetch(path: str, status: int = 200, **parameters):
        response = client.get(path, params=parameters or None, headers={"accept": "text/html"})
        assert response.status_code == status, response.text[:500]
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'self'" in response.headers["content-security-policy"]
        page = Page(response.text)
        check_self_contained(page)
        page.html = response.text
        return page

    return fetch


def check_self_contained(page: Page) -> None:
    """Nothing is loaded from elsewhere, and nothing is inline that the content security policy forbids."""
    for tag, own in page.elements:
        loaded = [own.get("src", ""), own.get("action", ""), own.get("hx-get", ""), own.get("srcset", "")]
        loaded += [own.get("href", "")] if tag in ("link", "use", "image") else []
        assert all(not one or re.match("/(?!/)", one) for one in loaded), (tag, own)
        assert "style" not in own
        assert not [name for name in own if name.startswith(("on", "hx-on"))]
        assert tag != "style"
        assert tag != "script" or own.get("src")


def test_the_start_page_says_what_is_searched(get):
    page = get("/")
    assert "320 articles" in re.sub(r"\s+", " ", page.html).replace("</strong>", "")
    assert "2026-02-19" in page.html
    [form] = page.all("form")
    assert form["action"] == "/search"
    example = get(page.link(QUESTION))
    assert example.all("li", class_="hit")


def test_results_are_those_of_the_pipeline(client, get):
    page = get("/search", q=QUESTION)
    answer = client.post("/v1/search", json={"question": QUESTION}).json()
    titles = [own["href"] for own in page.all("a", class_="title")]
    assert [urlsplit(one).path for one in titles] == [f"/article/{hit['id']}" for hit in answer["hits"]]
    for hit in answer["hits"]:
        assert f"probability {hit['probability']:.2f}" in page.html
        assert f"rank {hit['first_stage_rank']}, score {hit['first_stage_score']:.2f}" in page.html
    marks = page.all("mark")
    expected = [s for hit in answer["hits"] for s in hit["snippets"] if s["beginSection"] == "abstract"]
    assert {(int(own["data-begin"]), int(own["data-end"])) for own in marks} == {
        (one["offsetInBeginSection"], one["offsetInEndSection"]) for one in expected
    }
    assert len(marks) == len(expected)


def test_the_first_stage_is_sent_before_the_reranker_has_read(make_client, gated, demo_index):
    import threading

    import httpx

    from bioqa.serve.service import Service

    gated.gate.set()
    with serving(Service.open([f"demo={demo_index}"], gated)) as address:
        gated.gate.clear()
        with httpx.stream("GET", f"{address}/search", params={"q": QUESTION}, timeout=30) as response:
            parts = response.iter_text()
            before = ""
            while "reranker is reading" not in before:
                before += next(parts)
            assert 'class="plain"' in before
            assert "the reranker is reading 50 articles" in before
            assert 'class="final"' not in before
            threading.Timer(0.1, gated.gate.set).start()
            after = "".join(parts)
        assert after.count('<li class="hit"') == 10
        assert "</html>" in after


def test_a_failure_of_the_reranker_leaves_the_first_list(make_client, reranker):
    class Broken:
        def __getattr__(self, name):
            return getattr(reranker, name)

        def score_encoded(self, encoded):
            if len(encoded) > 8:
                raise RuntimeError("out of memory")
            return reranker.score_encoded(encoded)

    page = Page(make_client(Broken()).get("/search", params={"q": QUESTION}).text)
    assert page.all("ol", class_="plain")
    assert not page.all("section", class_="final")
    assert page.all("p", role="alert")


def test_filters_by_links(get):
    page = get("/search", q=QUESTION)
    reviews = get(page.link("Review"))
    counted = int(re.search(r"(\d+) articles match; the filters hide (\d+) more", re.sub(r"\s+", " ", reviews.html))[1])
    assert f'<span class="value">Review</span> <span class="count">{counted}</span>' in page.html
    assert dict(parse_qsl(urlsplit(page.link("Review")).query)) == {"q": QUESTION, "type": "Review"}
    assert urlsplit(reviews.link("Remove all")).query == urlsplit(page.link("off")).query.replace("&rerank=no", "")
    bars = page.all("svg", class_="histogram")
    assert len(bars) == 1
    year = next(own["href"] for own in page.all("a") if "since" in own.get("href", ""))
    narrowed = get(year)
    assert "Published: " in narrowed.html


def test_a_filter_that_leaves_nothing_says_what_it_hides(get):
    page = get("/search", q=QUESTION, type="Review", journal="No such journal", since="2015")
    assert "No article passes the filters" in page.html
    assert re.search(r"Without filters,\s+206 articles match", page.html)
    assert "No article in the index has the journal" in page.html.replace("&#39;", "'")
    assert "No article contains a word" in get("/search", q="zzzzqqq").html


def test_sorting_by_date_keeps_the_articles(get):
    ids = [own["href"] for own in get("/search", q=QUESTION).all("a", class_="title")]
    page = get("/search", q=QUESTION, sort="date")
    assert sorted(own["href"] for own in page.all("a", class_="title")) == sorted(ids)
    years = [
        int(year) for year in re.findall(r'<p class="source">[^<]*?\b(20\d\d)\b', page.html.split('class="final"')[1])
    ]
    assert len(years) == 10
    assert years == sorted(years, reverse=True)


def test_pages_follow_each_other_without_gaps(get):
    first = get("/search", q=QUESTION)
    second = get(first.link("Next"))
    both = [own["href"] for page in (first, second) for own in page.all("a", class_="title")]
    together = get("/search", q=QUESTION, top="20")
    assert both == [own["href"] for own in together.all("a", class_="title")]
    assert second.link("← Previous") == f"/search?{urlsplit(first.link('off')).query.replace('&rerank=no', '')}"
    assert "There are no results on page 40" in get("/search", q=QUESTION, page="40").html


def test_the_explanation_and_the_search_record(client, get):
    page = get("/search", q=QUESTION, explain="yes", type="Review")
    assert len(page.all("pre", class_="explanation")) == 10
    record = re.search(r'<pre id="record"[^>]*>(.*?)</pre>', page.html, re.DOTALL)[1]
    lines = dict(re.split(r":\s+", line, maxsplit=1) for line in record.splitlines())
    assert lines["Question"] == QUESTION
    assert lines["Filters"] == "type Review"
    assert lines["Snapshot"] == "2026-02-19"
    assert "generation 1" in lines["Index"]
    assert "k1 0.9, b 0.4" in lines["First stage"]
    assert "50 candidates" in lines["Reranker"]
    assert lines["Address"].startswith("http://127.0.0.1/search?q=Which+gene")
    assert "--type Review" in lines["Command"]
    found = client.get(page.link("The same search as JSON")).json()
    assert [hit["id"] for hit in found["hits"]] == [
        urlsplit(own["href"]).path.rpartition("/")[2] for own in page.all("a", class_="title")
    ]


def test_export_of_chosen_and_of_all(client, make_client, get):
    page = get("/search", q=QUESTION)
    chosen = [own["value"] for own in page.all("input", type="checkbox")][:2]
    parameters = {"q": QUESTION, "id": chosen, "which": "chosen", "format": "csl-json"}
    response = client.get("/export", params=parameters)
    assert response.headers["content-disposition"] == 'attachment; filename="bioqa.json"'
    assert [one["id"] for one in json.loads(response.text)] == chosen
    everything = client.get("/export", params={"q": QUESTION, "which": "all", "format": "ris"}).text
    assert everything.count("TY  - ") == 206
    order = [own["value"] for own in page.all("input", type="checkbox")]
    assert re.findall(r"^AN  - (\d+)", everything, re.MULTILINE)[:10] == order
    few = make_client(max_results=20)
    assert "Export the best 20" in few.get("/search", params={"q": QUESTION}).text
    assert few.get("/export", params={"q": QUESTION, "which": "all", "format": "ris"}).text.count("TY  - ") == 20
    assert "No article is chosen" in get("/export", 422, q=QUESTION, which="chosen").html
    assert "format must be one of" in get("/export", 422, id="99000027", format="word").html


def test_an_article_with_its_notice_and_links(get):
    page = get("/article/99000301")
    assert page.link("PMID 99000407") == "https://pubmed.ncbi.nlm.nih.gov/99000407/"
    assert page.all("p", class_="retracted")
    marked = get("/article/99000027", q=QUESTION)
    assert marked.link("PubMed 99000027") == "https://pubmed.ncbi.nlm.nih.gov/99000027/"
    assert marked.link("Full text in PMC").startswith("https://pmc.ncbi.nlm.nih.gov/articles/PMC")
    assert marked.link("DOI").startswith("https://doi.org/10.")
    assert len(marked.all("mark")) == 1 + 2
    assert marked.link("← Results for") == "/search?" + urlsplit(get("/search", q=QUESTION).link("on")).query
    similar = get(marked.link("Find articles similar"))
    assert similar.all("li")


def test_similar_articles_as_a_part_of_a_page(client):
    response = client.get("/article/99000027/similar", headers={"HX-Request": "true"})
    assert "<html" not in response.text
    assert response.text.count("<li>") == 5
    assert response.headers["vary"] == "HX-Request"
    failed = client.get("/article/1/similar", headers={"HX-Request": "true"})
    assert failed.status_code == 404
    assert failed.text.startswith('<p class="note problem" role="alert">')


def test_the_pmid_form_leads_to_the_article(client):
    response = client.get("/article", params={"pmid": " 99000027 "}, follow_redirects=False)
    assert response.headers["location"] == "/article/99000027"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/article/1", 404, "has no article"),
        ("/article/%00", 404, "has no article"),
        ("/article/a%2Fb", 404, "There is nothing at"),
        ("/nothing", 404, "There is nothing at /nothing"),
        ("/assets/none.js", 404, "There is nothing at"),
        ("/search?q=heart&page=0", 422, "page must be a whole number from 1"),
        ("/search?q=heart&page=99999", 413, "max_results"),
        ("/search?q=heart&since=19", 422, "date"),
        ("/search?q=heart&index=other", 404, "There is no index"),
        ("/search?q=heart&rerank=maybe", 422, "rerank must be yes or no"),
        ("/search?q=%28heart&syntax=lucene", 422, "query"),
        ("/search?q=" + "x" * 10_001, 413, "max_question"),
    ],
)
def test_errors_are_pages(get, path, status, sentence):
    page = get(path, status)
    assert sentence in page.html
    assert page.all("main")


def test_a_program_gets_json_for_what_is_not_there(client):
    assert client.get("/nothing").json()["error"]["code"] == "not_found"


def test_a_full_queue_is_told_with_a_way_out(make_client, gated, reranker):
    gated.gate.set()
    client = make_client(gated, queue_tokens=2_000)
    service = client.app.state.service
    service.queue._admitted_waiters += 1
    try:
        response = client.get("/search", params={"q": QUESTION})
    finally:
        service.queue._admitted_waiters -= 1
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) >= 1
    page = Page(response.text)
    assert "The server is busy" in response.text
    assert "rerank=no" in page.link("show the results without the reranker")
    assert client.get(page.link("show the results without the reranker")).status_code == 200


def test_without_a_reranker_the_list_comes_at_once(make_client):
    page = Page(make_client().get("/search", params={"q": QUESTION}).text)
    assert len(page.all("li", class_="hit")) == 10
    assert not page.all("ol", class_="plain")
    assert not page.all("svg", class_="meter")


def test_everything_is_escaped(tmp_path, reranker):
    from starlette.testclient import TestClient

    from bioqa import build_index
    from bioqa.serve.app import create_app
    from bioqa.serve.service import Service

    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><!--later-->"
    record = {
        "id": "1",
        "title": f"Aspirin {evil}",
        "text": f"Aspirin inhibits cyclooxygenase {evil}. It lowers fever.",
        "journal": evil,
        "doi": f'10.1/"{evil}',
        "pmcid": f"PMC1{evil}",
        "date": "2020",
        "mesh": [evil],
        "keywords": [evil],
        "publication_types": [evil, "Retracted Publication"],
        "languages": [evil],
        "authors": [{"last": evil, "initials": "A"}],
        "links": [{"type": "RetractionIn", "id": f"2{evil}", "source": evil}],
    }
    long = {"id": "2/3 ?", "title": "Aspirin" * 100, "text": "Aspirin. " * 3, "authors": [{"last": "A" * 300}]}
    index = tmp_path / "index"
    build_index(index, [write_jsonl(tmp_path / "evil.jsonl", [record, long])])
    app = create_app(Service.open([f"evil={index}"], reranker))
    with TestClient(app, base_url="http://127.0.0.1", headers={"accept": "text/html"}) as client:
        paths = ["/search", "/article/1", "/article/1/similar", "/article/" + evil]
        for path in [*paths, f"/search?type={evil}&journal={evil}&as_of={evil}", f"/search?sort={evil}"]:
            response = client.get(path, params={"q": f"aspirin {evil}"} if "?" not in path else None)
            for page in (response, client.get(path.replace("?", "?q=aspirin&") if "?" in path else f"{path}?q={evil}")):
                assert page.headers["content-type"].startswith("text/html")
                parsed = Page(page.text)
                check_self_contained(parsed)
                assert "<script>alert" not in page.text
                assert "<img" not in page.text
                assert all(not own.get("href", "").startswith("javascript:") for _, own in parsed.elements)
                assert page.text.count("</html>") == 1
        found = Page(client.get("/search?q=aspirin").text)
        second = next(own["href"] for own in found.all("a", class_="title") if "2%2F3" in own["href"])
        assert second.startswith("/article/2%2F3%20%3F")


def test_no_address_is_a_fault_of_the_server(make_client):
    client = make_client()
    rng = random.Random(7)
    names = [
        "q",
        "page",
        "top",
        "since",
        "until",
        "as_of",
        "type",
        "journal",
        "sort",
        "rerank",
        "syntax",
        "index",
        "explain",
    ]
    names += ["id", "which", "format", "exclude_retracted"]
    values = [
        "",
        "heart",
        "0",
        "-1",
        "1e9",
        "9" * 30,
        "²",
        "2019-13",
        "2019",
        "yes",
        "no",
        "all",
        "ris",
        "lucene",
        "\0",
        "%",
        "\ud7ff",
    ]
    values += ['"', "((", "a AND", "NOT", "*:*", "[1 TO", "😀" * 50, " ", "é\u0301", "demo", "chosen", "date"]
    for _ in range(300):
        path = rng.choice(
            ["/search", "/article/99000027", "/export", "/article/99000027/similar", "/article", "/", "/about"]
        )
        given = [(rng.choice(names), rng.choice(values)) for _ in range(rng.randrange(6))]
        response = client.get(path, params=given)
        assert response.status_code in (200, 404, 413, 422), (path, given, response.status_code, response.text[:300])
    for query in ("q=%ff%fe", "q=%ED%A0%80", "%ff=%ff", "q=heart&type=%ED%A0%80", "&&==&", "q=%00"):
        assert client.get(f"/search?{query}").status_code in (200, 422)


def test_pages_are_small(client):
    import gzip

    for path in ("/", "/search", "/article/99000027"):
        response = client.get(path, params={"q": QUESTION})
        page = Page(response.text)
        sources = [own.get("src") or own.get("href") for _, own in page.elements]
        assets = {one for one in sources if one and one.startswith("/assets/")}
        size = len(response.content)
        for one in assets:
            sent = client.get(one)
            assert sent.status_code == 200
            assert "immutable" in sent.headers["cache-control"]
            name = urlsplit(one).path.rpartition("/")[2]
            assert sent.content == (ASSETS / name).read_bytes()
            assert sent.headers["content-encoding"] == "gzip"
            size += len(gzip.compress(sent.content))
        assert size < 100_000, (path, size)
    plain = client.get("/assets/page.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers


def test_htmx_is_as_published():
    digest = hashlib.sha256((ASSETS / "htmx.min.js").read_bytes()).hexdigest()
    assert f"SHA-256 {digest}" in (REPOSITORY / "NOTICE").read_text(encoding="utf-8")


def test_nothing_in_the_assets_is_loaded_from_elsewhere():
    for name in ("style.css", "page.js"):
        assert "//" not in (ASSETS / name).read_text(encoding="utf-8")


def test_a_permalink_has_everything_in_it(client, get):
    from starlette.datastructures import QueryParams

    from bioqa.serve.page_query import PageQuery

    address = (
        "/search?q=heart+failure&index=demo&since=2015&until=2024&as_of=2025&type=Review&type=Letter&journal=A&mesh=B%2Fc"
        "&major_topic=D&author=Smith+J&language=eng&exclude_retracted=yes&has_abstract=yes&syntax=lucene&rerank=no&sort=date"
        "&top=20&page=2&explain=yes"
    )
    query = PageQuery.read(QueryParams(urlsplit(address).query))
    assert query.address() == address
    assert PageQuery.read(QueryParams(urlsplit(query.address()).query)) == query
    assert "page=" not in query.filtered(since="")
    assert query.has("type", "review")
    get(address)


@pytest.mark.parametrize("step", [1, 7])
def test_paragraphs_are_true_to_offsets(step):
    from bioqa.serve.page_views import paragraphs

    abstract = "AIM: α was 𝔅 tested.RESULTS: It <b>works. Twice."
    at = abstract.index("RESULTS")
    sections = (Section("AIM", "", 0, 5, at), Section("RESULTS", "", at, at + 9, len(abstract)))
    for article in (Article("1", "T", abstract, sections), Article("1", "T", abstract)):
        spans = [(begin, begin + step) for begin in range(5, len(abstract) - step)]
        for begin, end in spans:
            snippet = Snippet("1", "abstract", begin, end, abstract[begin:end])
            found = paragraphs(article, [snippet])
            whole = "".join(f"{one.label}: " * bool(one.label) + "".join(p.text for p in one.pieces) for one in found)
            assert whole == abstract
            marked = [piece for one in found for piece in one.pieces if piece.rank]
            assert all(abstract[piece.begin : piece.end] == piece.text for piece in marked)
            if not (begin < at < end or begin < at + 9 < end or at <= begin < at + 9):
                assert "".join(piece.text for piece in marked) == snippet.text


def test_bars_of_the_histogram_cover_all_years():
    from bioqa.serve.page_views import HEIGHT, MAX_BARS, WIDTH, histogram

    assert histogram([]) == []
    for first, last in ((2020, 2020), (2012, 2025), (1946, 2026), (1781, 2026), (2009, 2021)):
        years = [(str(year), year % 7 + 1) for year in range(first, last + 1)]
        bars = histogram(years)
        assert len(bars) <= MAX_BARS
        assert sum(bar.articles for bar in bars) == sum(count for _, count in years)
        assert bars[0].first == first
        assert bars[-1].last == last
        assert all(one.last + 1 == other.first for one, other in pairwise(bars))
        assert max(bar.height for bar in bars) == HEIGHT
        assert bars[-1].x + bars[-1].width <= WIDTH + 0.1
        assert all(bar.width >= 24 for bar in bars)


def test_verdicts():
    from bioqa.serve.page_views import verdict

    assert verdict(1.0) == verdict(0.8) == "Very likely an answer"
    assert verdict(0.79) == "Likely an answer"
    assert verdict(0.0) == "Unlikely to answer"
