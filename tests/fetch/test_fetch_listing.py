"""The listings and checksum files of PubMed's server, and selecting files."""

import time

import pytest

from bioqa.fetch.listing import RemoteFile, file_filter, parse_listing, parse_md5
from tests.fetch.pubmed_server import ONE, TWO

NLM_PAGE = """<h1>Index of /pubmed/baseline</h1>
<pre>Name                     Last modified      Size  <hr><a href="/pubmed/">Parent Directory</a>        -
<a href="README.txt">README.txt</a>               2026-01-30 09:54  4.5K
<a href="pubmed26n0010.xml.gz">pubmed26n0010.xml.gz</a>     2026-01-29 14:49   19M
<a href="pubmed26n0010.xml.gz.md5">pubmed26n0010.xml.gz.md5</a> 2026-01-29 14:49   64
<a href="pubmed26n0002.xml.gz">pubmed26n0002.xml.gz</a>     2026-01-29 14:48  1.5K
<a href="pubmed26n0002_stats.html">pubmed26n0002_stats.html</a> 2026-01-29 14:48  583
<hr></pre>"""


def test_a_listing_gives_names_in_numerical_order_dates_and_sizes():
    assert parse_listing(NLM_PAGE, "baseline") == [
        RemoteFile("baseline", "pubmed26n0002.xml.gz", 1536, "2026-01-29"),
        RemoteFile("baseline", "pubmed26n0010.xml.gz", 19 << 20, "2026-01-29"),
    ]


def test_listings_of_other_servers_are_read_too():
    table = (
        '<tr><td><a href="/m/pubmed26n0001.xml.gz">…</a></td><td>29-Jan-2026 14:48</td><td align=right>20 M</td></tr>'
    )
    assert parse_listing(table, "b") == [RemoteFile("b", ONE, 20 << 20, "29-Jan-2026")]
    plain = f"<li><a href='{TWO}'>{TWO}</a><li><a href={ONE}>{ONE}</a><a href='../../{ONE}.part'>"
    assert [file.name for file in parse_listing(plain, "b")] == [ONE, TWO]


def test_checksum_files_are_read_in_both_forms():
    assert parse_md5(f"MD5({ONE})= {'aB' * 16}\n") == "ab" * 16
    assert parse_md5(f"{'01' * 16}  {ONE}") == "01" * 16
    assert parse_md5("0" * 40) is None


@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (None, [1, 2, 3, 10, 11]),
        ("2-10", [2, 3, 10]),
        ("10-", [10, 11]),
        ("-2", [1, 2]),
        ("3", [3]),
        ("1, 10-11", [1, 10, 11]),
        ("pubmed26n001*", [10, 11]),
        ("pubmed26n0003", [3]),
        ("*11.xml.gz", [11]),
    ],
)
def test_files_are_selected_by_number_or_name(selection, numbers):
    files = [RemoteFile("baseline", f"pubmed26n{number:04}.xml.gz", 0, "") for number in (1, 2, 3, 10, 11)]
    assert [file.order[1] for file in filter(file_filter(selection), files)] == numbers


def test_odd_listings_take_no_time_and_give_no_odd_numbers():
    row = '<a href="{0}">{0}</a> 2026-01-29 14:48 {1}\n'
    page = (
        row.format(f"pubmed26n{'1' * 5000}.xml.gz", "1M")
        + row.format(ONE, "9" * 400)
        + row.format(TWO, "999999999999G")
    )
    assert [(file.name, file.max_bytes) for file in parse_listing(page, "b")] == [(ONE, 1 << 30), (TWO, 1 << 34)]
    before = time.monotonic()
    assert [file.name for file in parse_listing(row.format(ONE, "1M") + "<" * 1_000_000, "b")] == [ONE]
    assert time.monotonic() - before < 5
