"""Files, folders and globs expand to the list of sources to read; mistakes have clear messages."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import Source, expand_sources
from bioqa.errors import BioqaError, SourceError, UsageError
from tests.corpus.corpus_files import citation, pubmed_set, read, write

XML = pubmed_set(citation())
LINE = '{"id": "1", "text": "t"}\n'


def names(*sources: str | Path) -> list[str]:
    return [source.path.name for source in expand_sources(sources)]


@pytest.mark.parametrize(
    ("name", "content", "file_format"),
    [
        ("a.xml", XML, "pubmed"),
        ("A.XML.GZ", XML, "pubmed"),
        ("a.jsonl", LINE, "jsonl"),
        ("a.jsonl.gz", LINE, "jsonl"),
        ("a.ndjson", LINE, "jsonl"),
        ("a.json", LINE, "jsonl"),
        ("a.json.gz", "\ufeff\n" + LINE, "jsonl"),
        ("a.parquet", "PAR1...", "parquet"),
        ("dump", XML, "pubmed"),
        ("dump.gz", LINE, "jsonl"),
        ("dump.bin", "PAR1...", "parquet"),
        ("long.json", '{"id": "1", "text": "' + "x" * 100_000 + '"}', "jsonl"),
    ],
)
def test_the_format_follows_from_the_name_or_else_from_the_content(
    tmp_path: Path, name: str, content: str, file_format: str
) -> None:
    path = write(tmp_path / name, content)
    assert expand_sources([path]) == [Source(path, file_format)]  # type: ignore[arg-type]


def test_a_folder_stands_for_its_corpus_files_in_numerical_order(tmp_path: Path) -> None:
    for name in (
        "pubmed26n10.xml.gz",
        "pubmed26n9.xml.gz",
        "pubmed25n100.xml.gz",
        "pubmed26n9.xml.gz.md5",
        ".hidden.xml",
        "README.txt",
    ):
        write(tmp_path / name, XML)
    write(tmp_path / "settings.json", '{"a": 1}')
    write(tmp_path / "records.json", LINE)
    write(tmp_path / "nothing.json", "")
    (tmp_path / "sub.xml").mkdir()
    found = ["pubmed25n100.xml.gz", "pubmed26n9.xml.gz", "pubmed26n10.xml.gz", "records.json"]
    assert names(tmp_path) == found
    assert names(str(tmp_path)) == found


def test_sources_keep_the_order_given_and_are_read_once(tmp_path: Path) -> None:
    a, b = write(tmp_path / "a.xml", XML), write(tmp_path / "b.xml", XML)
    link = tmp_path / "c.xml"
    link.symlink_to(a)
    assert names(b, tmp_path, a, b, str(tmp_path / "*.xml"), link, tmp_path / ".." / tmp_path.name / "a.xml") == [
        "b.xml",
        "a.xml",
    ]


def test_a_glob_matches_in_natural_order_and_skips_checksums(tmp_path: Path) -> None:
    for folder in ("baseline", "updatefiles"):
        (tmp_path / folder).mkdir()
    for name in ("updatefiles/n2.xml", "baseline/n10.xml", "baseline/n9.xml", "baseline/n9.xml.md5"):
        write(tmp_path / name, XML)
    assert names(str(tmp_path / "*" / "n*")) == ["n9.xml", "n10.xml", "n2.xml"]
    assert names(str(tmp_path / "**" / "n2.*")) == ["n2.xml"]
    assert names(str(tmp_path / "*e*")) == ["n9.xml", "n10.xml", "n2.xml"]


def test_an_existing_file_whose_name_looks_like_a_glob_is_not_a_glob(tmp_path: Path) -> None:
    path = write(tmp_path / "a[1].xml", XML)
    assert expand_sources([str(path)]) == [Source(path, "pubmed")]


def test_one_source_may_be_given_without_a_list(tmp_path: Path) -> None:
    path = write(tmp_path / "a.xml", XML)
    assert expand_sources(str(path)) == [Source(path, "pubmed")]


def test_a_folder_with_a_beir_corpus_is_one_source(tmp_path: Path) -> None:
    write(tmp_path / "corpus.jsonl.gz", LINE)
    write(tmp_path / "queries.jsonl", LINE)
    (source,) = expand_sources([tmp_path])
    assert source == Source(tmp_path, "beir")
    assert source.file == tmp_path / "corpus.jsonl.gz"
    assert [record.id for record in read(tmp_path)] == ["1"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.xml", r"missing\.xml does not exist"),
        ("no*.xml", r"No file matches .*no\*\.xml"),
        ("empty.xml.gz", r"empty\.xml\.gz is empty"),
        ("zipped_empty.txt.gz", r"zipped_empty\.txt\.gz is empty"),
        ("folder", r"folder has no corpus files\..*JSON lines.*Its subfolders are not searched; name them: inner"),
        ("with_empty", r"with_empty/a\.jsonl is empty"),
        ("notes.txt", r"notes\.txt is not in a known corpus format\. Supported are PubMed XML"),
        ("array.json", r"array\.json is a JSON array.*jq"),
        ("settings.json", r"settings\.json is not in a known corpus format"),
        ("a.xml.md5", r"No corpus files among .*only checksum files"),
        ("pipe", "neither a file nor a folder"),
    ],
)
def test_an_unusable_source_is_an_error_that_names_it(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "with_empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty.xml.gz").touch()
    (tmp_path / "with_empty" / "a.jsonl").touch()
    for file, content in {
        "zipped_empty.txt.gz": "",
        "notes.txt": "Some notes.",
        "array.json": '[{"id": "1"}]',
        "settings.json": '{"a": 1}',
        "a.xml.md5": "MD5 = 0",
    }.items():
        write(tmp_path / file, content)
    with pytest.raises(SourceError, match=message):
        expand_sources([tmp_path / name])


@pytest.mark.parametrize("name", ["b.xml", "corpus.jsonl.gz", "b.json"])
def test_a_link_to_nothing_is_told(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.xml", XML)
    (tmp_path / "notes").symlink_to(tmp_path / "away")  # no corpus file by its name
    assert names(tmp_path) == ["a.xml"]
    (tmp_path / name).symlink_to(tmp_path / "gone.xml")
    for named in (tmp_path, tmp_path / name, str(tmp_path / f"{name[0]}*{name[1:]}")):
        with pytest.raises(SourceError, match=rf"{name} is a link to .*gone\.xml, which does not exist"):
            expand_sources([named])


def test_no_source_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="No corpus was given"):
        expand_sources([])


@pytest.mark.parametrize("file_format", ["pubmed", "jsonl", "beir", "parquet"])
def test_a_source_that_has_since_changed_is_an_error_when_read(tmp_path: Path, file_format: str) -> None:
    for path in (tmp_path, tmp_path / "gone"):
        with pytest.raises(
            SourceError, match=rf"{path.name}.* (is a folder, not a file|does not exist|is not a BEIR folder)"
        ):
            list(read_source(Source(path, file_format)))  # type: ignore[arg-type]
    (tmp_path / "empty").touch()
    with pytest.raises(SourceError, match=r"empty is (empty|not a BEIR folder)"):
        list(read_source(Source(tmp_path / "empty", file_format)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.xml", "a.jsonl", "a.parquet"])
def test_another_format_under_a_known_name_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(BioqaError, match=rf"{name}.*(invalid XML|not JSON|not a valid Parquet file)"):
        read(write(tmp_path / name, "id,text\n1,hello\n"))


def test_importing_the_package_loads_no_heavy_library() -> None:
    code = "import sys, bioqa.corpus; print([m for m in ('lxml', 'pyarrow', 'torch', 'numpy') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
