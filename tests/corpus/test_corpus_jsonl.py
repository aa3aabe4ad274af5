"""JSON lines: the names and types of fields, and the errors for malformed lines."""

import json
from pathlib import Path

import pytest

from bioqa.errors import RecordError, SourceError
from bioqa.types import Article, Author, Link
from tests.corpus.corpus_files import read, write


def read_record(path: Path, record: dict[str, object]) -> Article:
    (article,) = read(write(path / "a.jsonl", json.dumps(record)))
    assert isinstance(article, Article)
    return article


def test_every_known_field_is_read(tmp_path: Path) -> None:
    record = {
        "id": 12,
        "title": "T",
        "text": "One.\nTwo  three ",
        "year": 1998,
        "journal": " J ",
        "doi": "10.1/x",
        "mesh": ["Neoplasms", None, " Neoplasms/genetics "],
        "keywords": "a; b;",
        "publication_types": ["Review"],
        "language": "eng",
        "authors": [
            "Smith JA",
            "Roe, Jane B.",
            {"name": "Doe J"},
            {"last": "Ng", "suffix": "Jr"},
            {"orcid": "0"},
            "WHO group",
        ],
        "journal_abbreviation": "J Tests",
        "volume": 7,
        "issue": "2 Suppl",
        "pages": "1-9",
        "pmcid": "PMC1",
        "entered": "2001/2/3",
        "revised": "2002-03-04",
        "print_date": "1998",
        "electronic_date": "1998-05-06",
        "vernacular_title": "V",
        "major_topics": "Neoplasms; Asthma",
        "abstract_languages": ["fre"],
        "status": "ppublish",
        "links": [{"type": "RetractionIn", "id": 13, "source": "J. 1999"}, {"type": "CommentIn"}],
        "unknown": 1,
    }
    assert read_record(tmp_path, record) == Article(
        id="12",
        title="T",
        abstract="One.\nTwo  three ",
        journal="J",
        date="1998",
        doi="10.1/x",
        mesh=("Neoplasms", "Neoplasms/genetics"),
        keywords=("a", "b"),
        publication_types=("Review",),
        languages=("eng",),
        authors=(
            Author("Smith", "", "JA"),
            Author("Roe", "Jane B.", "JB"),
            Author("Doe", "", "J"),
            Author("Ng", suffix="Jr"),
            Author(collective="WHO group"),
        ),
        journal_abbreviation="J Tests",
        volume="7",
        issue="2 Suppl",
        pages="1-9",
        pmcid="PMC1",
        entered="2001-02-03",
        revised="2002-03-04",
        print_date="1998",
        electronic_date="1998-05-06",
        vernacular_title="V",
        major_topics=("Neoplasms", "Asthma"),
        abstract_languages=("fre",),
        status="ppublish",
        links=(Link("RetractionIn", "13", "J. 1999"), Link("CommentIn")),
    )


@pytest.mark.parametrize("name", ["id", "_id", "pmid", "docid"])
@pytest.mark.parametrize(("value", "expected"), [("x-1", "x-1"), (7, "7"), (7.0, "7"), (" 7 ", "7")])
def test_an_id_has_four_possible_names_and_is_text_or_a_number(
    tmp_path: Path, name: str, value: object, expected: str
) -> None:
    assert read_record(tmp_path, {name: value, "text": "t"}).id == expected


@pytest.mark.parametrize("name", ["text", "contents", "abstract"])
def test_the_text_has_three_possible_names(tmp_path: Path, name: str) -> None:
    assert read_record(tmp_path, {"id": "1", name: "Title\nBody"}).abstract == "Title\nBody"


def test_the_first_of_several_names_that_has_a_value_counts(tmp_path: Path) -> None:
    article = read_record(tmp_path, {"_id": "b", "id": None, "abstract": "c", "contents": "b", "text": float("nan")})
    assert (article.id, article.abstract) == ("b", "b")


@pytest.mark.parametrize(
    ("field", "date"),
    [
        ({"date": "2019-03-04"}, "2019-03-04"),
        ({"date": "2019 Jan-Feb"}, "2019-01"),
        ({"date": 20190304}, "2019-03-04"),
        ({"year": "1998"}, "1998"),
        ({"year": 1998.0}, "1998"),
        ({"date": None, "year": 1998}, "1998"),
        ({"year": float("nan")}, ""),
        ({"year": "unknown"}, ""),
        ({}, ""),
    ],
)
def test_a_date_or_a_year_becomes_the_date(tmp_path: Path, field: dict[str, object], date: str) -> None:
    assert read_record(tmp_path, {"id": "1", "text": "t", **field}).date == date


def test_missing_values_of_any_kind_are_empty(tmp_path: Path) -> None:
    record = {
        "id": "1",
        "title": None,
        "text": "",
        "journal": float("nan"),
        "mesh": None,
        "keywords": [float("nan")],
        "doi": None,
    }
    assert read_record(tmp_path, record) == Article("1", "", "")
    assert read_record(tmp_path, {"id": "1", "title": "only a title"}) == Article("1", "only a title", "")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_blank_lines_a_byte_order_mark_and_windows_line_ends_are_ignored(tmp_path: Path, name: str) -> None:
    lines = '\ufeff{"id": "1", "text": "é\u2028x"}\r\n\r\n   \n{"id": "2", "text": "t"}'
    assert read(write(tmp_path / name, lines)) == [Article("1", "", "é\u2028x"), Article("2", "", "t")]


BAD_LINES = {
    b'{"id": "1", "text": "t"': "not JSON: .* at character 24",
    b"id,text": "not JSON: Expecting value at character 1",
    b'["1", "t"]': "not a JSON object but list",
    b"12": "not a JSON object but int",
    b"[" * 100_000: "lists or objects are nested more than 100 levels deep",
    b'{"id": ' + b"1" * 5000 + b', "text": "t"}': "a number has 5,000 digits, more than the 300 allowed",
    b'{"text": "t"}': r"no id \(looked for id, _id, pmid, docid\)",
    b'{"id": null, "text": "t"}': "no id \\(looked",
    b'{"id": NaN, "text": "t"}': "no id \\(looked",
    b'{"id": " ", "text": "t"}': "id is empty",
    b'{"id": true, "text": "t"}': "id is not text but bool",
    b'{"_id": 1.5, "text": "t"}': "_id is not text but float",
    b'{"id": "1"}': r"neither text nor title \(looked for text, contents, abstract, title\)",
    b'{"id": "1", "text": ["t"]}': "text is not text but list",
    b'{"id": "1", "title": 5, "text": "t"}': "title is not text but int",
    b'{"id": "1", "text": "t", "mesh": {"a": 1}}': "mesh is neither a list nor text but dict",
    b'{"id": "1", "text": "t", "keywords": [1]}': "keywords is not text but int",
    b'{"id": "1", "text": "t", "year": [1998]}': "year is not text but list",
    b'{"id": "1", "text": "t", "year": true}': "year is not text but bool",
    b'{"id": "1", "text": "a\\ud800b"}': "text has half of a surrogate pair",
    '{"id": "1", "text": "caf\xe9"}'.encode("latin-1"): r"byte 25 \(0xe9\) is not UTF-8",
}


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_aborts_and_is_named(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path / "a.jsonl", b'{"id": "0", "text": "t"}\n\n' + line + b'\n{"id": "9", "text": "t"}\n')
    with pytest.raises(RecordError, match=rf"a\.jsonl, line 3: ({BAD_LINES[line]}).*Correct the line"):
        read(path)


def test_bad_lines_are_skipped_and_reported_to_a_handler(tmp_path: Path) -> None:
    good = [b'{"id": "%d", "text": "t"}' % number for number in range(len(BAD_LINES))]
    path = write(
        tmp_path / "a.jsonl.gz", b"\n".join(line for pair in zip(BAD_LINES, good, strict=True) for line in pair)
    )
    bad: list[RecordError] = []
    assert len(read(path, bad.append)) == len(good)
    assert [str(error).split(": ")[0] for error in bad] == [f"{path}, line {2 * n + 1}" for n in range(len(bad))]
    assert len(bad) == len(BAD_LINES)


def test_a_truncated_gzip_file_says_after_which_line(tmp_path: Path) -> None:
    lines = "".join(json.dumps({"id": str(i), "text": f"{i * 7919 % 104729} words"}) + "\n" for i in range(30_000))
    path = write(tmp_path / "a.jsonl.gz", lines)
    path.write_bytes(path.read_bytes()[:-1000])
    bad: list[RecordError] = []
    with pytest.raises(
        SourceError, match=r"a\.jsonl\.gz: the gzip data ends after line [\d,]{4,}; the file is truncated"
    ):
        read(path, bad.append)
    assert not bad


@pytest.mark.shared_data
def test_the_shared_abstracts_are_read(shared_data: Path) -> None:
    articles = read(shared_data / "abstracts" / "abstracts-4.jsonl.gz")
    assert len(articles) > 40_000
    assert all(record.id.isdecimal() and isinstance(record, Article) and record.abstract for record in articles)


LONG = "Ö" * 16_384


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"id": "a\nb"}, r"the id 'a\\nb' has a control character"),
        ({"id": "a\tb"}, r"the id 'a\\tb' has a control character"),
        ({"id": "a\u2028b"}, r"the id 'a\\u2028b' has a control character or a line separator"),
        ({"id": "a\x00"}, "the id .* has a control character"),
        ({"id": "e2\x1b[7m"}, "the id .* has a control character"),
        ({"id": LONG}, "the id 'ÖÖ.* has 32,768 bytes in UTF-8; Lucene's limit is 32,766"),
        ({"id": "1", "journal": LONG}, "the journal 'ÖÖ.* has 32,768 bytes"),
        ({"id": "1", "mesh": ["Humans", LONG]}, "the MeSH heading 'ÖÖ.* has 32,768 bytes"),
        ({"id": "1", "publication_types": LONG}, "the publication type 'ÖÖ.* has 32,768 bytes"),
        ({"id": "1", "languages": LONG}, "the language 'ÖÖ.* has 32,768 bytes"),
        ({"id": "1", "journal": "İ" * 16_000}, "the journal 'İİ.* has 48,000 bytes"),  # in lower case
    ],
)
def test_ids_and_values_that_cannot_be_indexed_are_malformed_records(
    tmp_path: Path, record: dict[str, object], problem: str
) -> None:
    lines = [{"id": "0", "text": "t"}, {"text": "t", **record}, {"id": "2", "text": "t"}]
    path = write(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(RecordError, match=rf"a\.jsonl, line 2: {problem}"):
        read(path)
    bad: list[RecordError] = []
    assert [record.id for record in read(path, bad.append)] == ["0", "2"]
    assert len(bad) == 1


def test_ids_and_values_up_to_the_limits_are_read(tmp_path: Path) -> None:
    for id in ("a b", "a\u00a0b", "=cmd|'/C calc'!A0", "ä", "\u202eb", "x" * 32_766):
        assert read_record(tmp_path, {"id": id, "text": "t", "journal": "x" * 32_766}).id == id


def test_line_ends_in_values_to_filter_by_are_spaces(tmp_path: Path) -> None:
    article = read_record(tmp_path, {"id": "1", "text": "t", "journal": "The\nLancet", "mesh": ["Heart\r\n Failure"]})
    assert (article.journal, article.mesh) == ("The Lancet", ("Heart Failure",))
