"""Updates with daily files: exact, in one step; and verification."""

import shutil
from pathlib import Path

import pytest

from bioqa import BM25Retriever, Index
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources, gaps
from bioqa.errors import IndexStateError, SourceError, UsageError
from bioqa.index.build import build_index
from bioqa.index.update import update_index
from bioqa.index.verify import verify_index
from bioqa.types import Article
from tests.support import DEMO


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "index"
    shutil.copy(DEMO / "demo26n0001.xml", tmp_path / "pubmed26n0001.xml")
    shutil.copy(DEMO / "demo26n0002.xml", tmp_path / "pubmed26n0002.xml")
    build_index(path, [tmp_path / "pubmed26n0001.xml"])
    return path


def test_an_update_replaces_adds_and_deletes(index, tmp_path, demo_index):
    report = update_index(index, [tmp_path / "pubmed26n0002.xml"])
    assert (report.documents_before, report.documents) == (324, 320)
    assert (report.articles, report.deletions, report.replaced, report.files) == (27, 12, 31, 1)
    with Index(index) as updated, Index(demo_index) as built:
        ids = [candidate.id for candidate in BM25Retriever(built).search("disease patients treatment gene cell", 400)]
        assert len(ids) > 250
        assert all(updated.get(id) == built.get(id) for id in ids)
        assert [entry.articles for entry in updated.info().sources] == [324, 27]


def test_a_file_is_indexed_once(index, tmp_path):
    update_index(index, [tmp_path / "pubmed26n0002.xml"])
    again = update_index(index, [tmp_path])
    assert (again.files, again.files_known, again.documents) == (0, 2, 320)


def test_a_file_that_changed_or_comes_too_late_is_refused(index, tmp_path):
    shutil.copy(tmp_path / "pubmed26n0002.xml", tmp_path / "pubmed26n0005.xml")
    update_index(index, [tmp_path / "pubmed26n0005.xml"])
    with pytest.raises(UsageError, match=r"pubmed26n0002.*comes before pubmed26n0005"):
        update_index(index, [tmp_path / "pubmed26n0002.xml"])
    with (tmp_path / "pubmed26n0005.xml").open("a") as file:
        file.write("<!-- changed -->")
    with pytest.raises(SourceError, match="differs"):
        update_index(index, [tmp_path / "pubmed26n0005.xml"])


def test_gaps_in_the_numbering_are_reported(index, tmp_path):
    shutil.copy(tmp_path / "pubmed26n0002.xml", tmp_path / "pubmed26n0005.xml")
    told = []
    update_index(index, [tmp_path / "pubmed26n0005.xml"], note=told.append)
    assert "pubmed26n0002–0004" in told[0]
    assert gaps(["pubmed26n0001.xml.gz", "x/pubmed26n0003.xml.gz", "pubmed27n0009.xml", "other.xml"]) == [
        "pubmed26n0002"
    ]


def test_an_older_version_changes_nothing(tmp_path):
    def citation(version, title):
        return (
            f'<PubmedArticleSet><PubmedArticle><MedlineCitation><PMID Version="{version}">7</PMID><Article><ArticleTitle>'
            f"{title}</ArticleTitle></Article></MedlineCitation></PubmedArticle></PubmedArticleSet>"
        )

    for name, version, title in (("a", 2, "Second"), ("b", 1, "First"), ("c", 2, "Second, revised")):
        (tmp_path / f"{name}.xml").write_text(citation(version, title))
    build_index(tmp_path / "index", [tmp_path / "a.xml"])
    update_index(tmp_path / "index", [tmp_path / "b.xml"])
    with Index(tmp_path / "index") as index:
        assert index.get("7").title == "Second"
    update_index(tmp_path / "index", [tmp_path / "c.xml"])
    with Index(tmp_path / "index") as index:
        assert (len(index), index.get("7").title) == (1, "Second, revised")


def test_a_failed_update_changes_nothing(index, tmp_path):
    broken = tmp_path / "pubmed26n0003.xml"
    broken.write_text((tmp_path / "pubmed26n0002.xml").read_text()[:-100])
    with pytest.raises(SourceError):
        update_index(index, [tmp_path / "pubmed26n0002.xml", broken])
    with Index(index) as opened:
        assert len(opened) == 324
        assert len(opened.info().sources) == 1
    assert update_index(index, [tmp_path / "pubmed26n0002.xml"]).documents == 320


def test_a_search_under_way_sees_the_old_state(index, tmp_path):
    with Index(index) as old:
        update_index(index, [tmp_path / "pubmed26n0002.xml"])
        assert len(old) == 324
        assert len(BM25Retriever(old).search("heart failure", 5)) == 5
        with Index(index) as new:
            assert len(new) == 320


def test_a_path_that_is_not_an_index_cannot_be_updated(tmp_path):
    with pytest.raises(IndexStateError, match="There is no index"):
        update_index(tmp_path / "none", [DEMO / "demo26n0002.xml"])


@pytest.mark.shared_data
@pytest.mark.parametrize("year", range(20, 27))
def test_real_baseline_and_update_pairs_give_the_exact_set(shared_data, tmp_path, year):
    baseline = next((shared_data / "pubmed-xml" / "baseline").glob(f"pubmed{year}n*.xml.gz"))
    update = next((shared_data / "pubmed-xml" / "updatefiles").glob(f"pubmed{year}n*.xml.gz"))
    expected: dict[str, Article] = {}
    for file in (baseline, update):
        for record in read_source(expand_sources([file])[0]):
            if isinstance(record, Article):
                if record.id not in expected or record.version >= expected[record.id].version:
                    expected[record.id] = record
            else:
                expected.pop(record.id, None)
    build_index(tmp_path / "index", [baseline])
    report = update_index(tmp_path / "index", [update])
    assert report.documents == len(expected)
    with Index(tmp_path / "index") as index:
        assert all(index.get(id) == article for id, article in expected.items())
    assert verify_index(tmp_path / "index").errors == ()


def test_an_intact_index_has_no_errors(index):
    report = verify_index(index)
    assert (report.documents, report.errors, report.warnings) == (324, (), ())


def test_a_damaged_byte_is_found_in_every_kind_of_file(index, tmp_path):
    kinds: dict[str, Path] = {}
    for file in sorted(index.iterdir()):
        if file.name != "write.lock" and file.stat().st_size:
            kinds[file.suffix or "segments"] = file
    assert {".cfs", ".si", "segments"} <= set(kinds) or {".fdt", ".tim", ".doc", "segments"} <= set(kinds)
    for kind, file in kinds.items():
        copy = tmp_path / f"copy{kind}"
        shutil.copytree(index, copy)
        data = bytearray((copy / file.name).read_bytes())
        data[len(data) // 2] ^= 0xFF
        (copy / file.name).write_bytes(data)
        try:
            errors = verify_index(copy).errors
        except IndexStateError as problem:
            errors = (str(problem),)
        assert errors, f"a damaged byte in {file.name} was not found"
