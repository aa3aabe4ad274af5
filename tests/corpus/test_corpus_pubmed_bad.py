"""Corrupt and hostile PubMed files are errors that name the place; no file is silently read in part."""

import gzip
import os
import socket
from pathlib import Path

import pytest

from bioqa.errors import RecordError, SourceError
from tests.corpus.corpus_files import DOCTYPE, citation, pubmed_set, read, write

GOOD = citation(pmid="<PMID>7</PMID>")


def random_titles(count: int) -> str:
    return pubmed_set(*[citation(f"<ArticleTitle>{os.urandom(400).hex()}</ArticleTitle>") for _ in range(count)])


def test_a_truncated_gzip_file_is_an_error_after_its_readable_records(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml.gz", random_titles(2000))
    path.write_bytes(path.read_bytes()[:-400_000])
    with pytest.raises(SourceError, match=r"a\.xml\.gz: the gzip data ends after [\d,]+ bytes of text.*truncated"):
        read(path)


def test_a_damaged_gzip_file_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml.gz", random_titles(50))
    damaged = bytearray(path.read_bytes())
    damaged[-6] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(SourceError, match=r"a\.xml\.gz: corrupt gzip data .*CRC"):
        read(path)


def test_gzip_is_known_by_content_and_not_by_name(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "plain.xml", gzip.compress(pubmed_set(GOOD).encode())))) == 1
    path = tmp_path / "zipped.xml.gz"
    path.write_text(pubmed_set(GOOD))
    assert len(read(path)) == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pubmed_set(GOOD)[:-40], r"invalid XML at line \d+, column \d+"),
        (
            pubmed_set(GOOD).replace("</ArticleTitle>", "</Title>"),
            r"invalid XML at line 5, column \d+: Opening and ending tag",
        ),
        (pubmed_set(GOOD) + "<more/>", r"invalid XML at line 6, column \d+: Extra content"),
        (pubmed_set(GOOD, doctype="").replace("title", "&alpha;"), r"line 2, column \d+: Entity 'alpha' not defined"),
        (pubmed_set(GOOD).replace("title", "caf\xe9").encode("latin-1"), r"invalid XML at line 5, column \d+"),
        ("PMID- 1\nTI  - Title\n", "invalid XML at line 1, column 1"),
        ("<!-- nothing -->", "invalid XML at line 1"),
        ("   \n", "invalid XML at line"),
    ],
)
def test_broken_xml_is_never_skippable(tmp_path: Path, content: str | bytes, message: str) -> None:
    bad: list[RecordError] = []
    with pytest.raises(SourceError, match=rf"a\.xml.*{message}") as caught:
        read(write(tmp_path / "a.xml", content), bad.append)
    assert not isinstance(caught.value, RecordError)
    assert not bad


@pytest.mark.parametrize("content", ["<eLinkResult><LinkSet/></eLinkResult>", "<html><head><meta></head></html>"])
def test_a_foreign_file_in_a_folder_is_one_bad_record(tmp_path: Path, content: str) -> None:
    write(tmp_path / "a.xml", pubmed_set(GOOD))
    write(tmp_path / "b.xml", content)
    write(tmp_path / "c.xml", pubmed_set(citation(pmid="<PMID>9</PMID>")))
    with pytest.raises(RecordError, match=r"b\.xml is not PubMed XML: its root element is (html|eLinkResult), not"):
        read(tmp_path)
    bad: list[RecordError] = []
    assert [record.id for record in read(tmp_path, bad.append)] == ["7", "9"]
    assert len(bad) == 1


def records_of(count: int) -> list[str]:
    return [citation(pmid=f"<PMID>{n}</PMID>") for n in range(1, count + 1)]


@pytest.mark.parametrize("count", [2, 5000])
def test_output_of_efetch_without_its_header_is_told_as_that(tmp_path: Path, count: int) -> None:
    path = write(tmp_path / "a.xml", "\n\n".join(records_of(count)))
    with pytest.raises(SourceError, match=r"a\.xml has PubmedArticle elements without a root .*Put <PubmedArticleSet>"):
        read(path)
    assert len(read(write(tmp_path / "b.xml", f"<PubmedArticleSet>{path.read_text()}</PubmedArticleSet>"))) == count


@pytest.mark.parametrize("count", [1, 5000])
@pytest.mark.parametrize("doctype", [DOCTYPE, ""])
def test_files_that_were_put_together_are_told_as_that(tmp_path: Path, doctype: str, count: int) -> None:
    path = write(tmp_path / "a.xml", pubmed_set(*records_of(count), doctype=doctype) * 2)
    with pytest.raises(SourceError, match=r"a\.xml is several PubMed files, .*Save each as its own file; .* csplit"):
        read(path)


@pytest.mark.parametrize(
    "begin",
    ["<a", "<!--", f"{citation()}<a", "<PubmedArticle><MedlineCitation><a b='", "<a/>" * 1000 + "<!--", "<?"],
)
def test_xml_that_never_ends_is_an_error(tmp_path: Path, begin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bioqa.corpus.xml_records.MAX_RECORD_BYTES", 1 << 20)
    path = write(tmp_path / "a.xml.gz", f"<PubmedArticleSet>{begin}{'a' * (3 << 20)}")
    with pytest.raises(SourceError, match=r"a\.xml\.gz: (no record ends in the 1 MiB after|invalid XML)"):
        read(path)


def billion_laughs() -> str:
    levels = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))
    return f'<!DOCTYPE PubmedArticleSet [<!ENTITY l0 "lol">{levels}]>\n'


@pytest.mark.parametrize("place", ["text", "attribute", "root"])
def test_entities_that_expand_each_other_are_errors(tmp_path: Path, place: str) -> None:
    record = {
        "text": citation("<ArticleTitle>&l9;</ArticleTitle>"),
        "attribute": citation('<Abstract><AbstractText Label="&l9;">x</AbstractText></Abstract>'),
        "root": GOOD,
    }[place]
    document = pubmed_set(record, doctype=billion_laughs())
    if place == "root":
        document = document.replace("<PubmedArticleSet>", '<PubmedArticleSet a="&l9;">')
    with pytest.raises(SourceError, match=r"declares XML entities|amplification"):
        read(write(tmp_path / "a.xml", document))


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE P [<!ENTITY x SYSTEM "{url}">]>',
        '<!DOCTYPE P [<!ENTITY % x SYSTEM "{url}"> %x;]>',
    ],
)
def test_external_entities_are_refused_unread(tmp_path: Path, declaration: str) -> None:
    secret = write(tmp_path / "secret.txt", "the secret")
    document = pubmed_set(citation("<ArticleTitle>&x;</ArticleTitle>"), doctype=declaration.format(url=secret.as_uri()))
    with pytest.raises(SourceError, match="declares XML entities") as caught:
        read(write(tmp_path / "a.xml", document))
    assert "the secret" not in str(caught.value)


def test_a_doctype_is_accepted_without_fetching_its_dtd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    dtd = write(tmp_path / "own.dtd", '<!ENTITY x "the secret"><!ATTLIST PMID Version CDATA "5">')
    local = f'<!DOCTYPE PubmedArticleSet SYSTEM "{dtd.as_uri()}">'
    for doctype in (DOCTYPE, local, local.replace(dtd.as_uri(), "http://127.0.0.1:9/x.dtd"), ""):
        (article,) = read(write(tmp_path / "a.xml", pubmed_set(GOOD, doctype=doctype)))
        assert (article.id, getattr(article, "version", 0)) == ("7", 1)


BAD_RECORDS = {
    "no PMID": citation(pmid=""),
    "PMID '12a' is not a number": citation(pmid="<PMID>12a</PMID>"),
    "PMID '' is not a number": citation(pmid="<PMID/>"),
    "PMID '-3' is not a number": citation(pmid="<PMID>-3</PMID>"),
    "Version 'two' of the PMID is not a number": citation(pmid='<PMID Version="two">1</PMID>'),
    "of the PMID is not a number of at most nine digits": citation(pmid=f'<PMID Version="{"9" * 5000}">1</PMID>'),
    "the id '1111": citation(pmid=f"<PMID>{'1' * 32_767}</PMID>"),
    "the journal 'ÖÖ": citation(f"<Journal><Title>{'Ö' * 16_384}</Title></Journal><ArticleTitle>T</ArticleTitle>"),
    "PMID 1 has no Article element": citation(""),
    ": no PMID.": "<PubmedArticle><PubmedData/></PubmedArticle>",
    "the entity &alpha; is not defined in XML": citation("<ArticleTitle>&alpha;-synuclein</ArticleTitle>"),
}


@pytest.mark.parametrize("problem", BAD_RECORDS)
def test_a_bad_record_aborts_and_is_named(tmp_path: Path, problem: str) -> None:
    path = write(tmp_path / "a.xml", pubmed_set(GOOD, "\n", BAD_RECORDS[problem], GOOD))
    with pytest.raises(RecordError, match=r"a\.xml, record 2 \(line 6\): .*") as caught:
        read(path)
    assert problem in str(caught.value)


def test_bad_records_are_skipped_and_reported_to_a_handler(tmp_path: Path) -> None:
    deletions = "<DeleteCitation><PMID>8</PMID><PMID>x</PMID><PMID>9</PMID></DeleteCitation>"
    path = write(tmp_path / "a.xml.gz", pubmed_set(*BAD_RECORDS.values(), GOOD, deletions))
    bad: list[RecordError] = []
    assert [record.id for record in read(path, bad.append)] == ["7", "8", "9"]
    assert [str(error).split(" (line")[0] for error in bad] == [
        f"{path}, record {n}" for n in (*range(1, len(BAD_RECORDS) + 1), len(BAD_RECORDS) + 3)
    ]


def test_line_numbers_beyond_the_16_bit_limit_are_right(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", pubmed_set("\n" * 70_000, citation(pmid="")))
    with pytest.raises(RecordError, match="line 70005"):
        read(path)


def test_endless_nesting_is_an_error(tmp_path: Path) -> None:
    deep = "<i>" * 5000 + "x" + "</i>" * 5000
    with pytest.raises(SourceError, match=r"invalid XML at line \d+, column \d+: .*depth"):
        read(write(tmp_path / "a.xml", pubmed_set(citation(f"<ArticleTitle>{deep}</ArticleTitle>"))))
