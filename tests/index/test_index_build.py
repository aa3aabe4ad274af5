"""Building a Lucene index: what is in it, and that nothing stored is lost when a build fails."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bioqa import Index, build_index
from bioqa.errors import IndexStateError, OutputError, RecordError, SourceError
from bioqa.index.jvm import java
from bioqa.types import Article, Section
from tests.support import DEMO, write_jsonl


def test_an_article_comes_back_from_the_index_as_it_went_in(tmp_path, demo_index):
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources

    records = {}
    for name in ("demo26n0001.xml", "demo26n0002.xml"):
        for record in read_source(expand_sources([DEMO / name])[0]):
            if isinstance(record, Article):
                records[record.id] = record
            else:
                records.pop(record.id)
    with Index(demo_index) as index:
        assert len(index) == len(records) == 320
        read = {id: index.get(id) for id in records}
    noticed = read.pop("99000284")  # a notice in the index corrects it, which its own record does not say
    assert noticed.marks == {"corrected": ("99000408",)}
    assert replace(noticed, links=()) == records.pop("99000284")
    assert read == records


def test_deleted_and_unknown_articles_are_not_found(demo_index):
    with Index(demo_index) as index:
        assert index.get("99000120") is None
        assert index.get("1") is None


def test_info_has_sources_with_checksums_fields_and_snapshot(demo_index):
    with Index(demo_index) as index:
        info = index.info()
    assert info.documents == 320
    assert {"contents", "id", "journal", "lacks", "language", "mesh", "raw", "title", "type"} <= set(info.fields)
    assert [Path(entry.path).name for entry in info.sources] == ["demo26n0001.xml", "demo26n0002.xml"]
    assert [entry.articles for entry in info.sources] == [324, 27]
    assert [entry.deletions for entry in info.sources] == [0, 12]
    assert all(len(entry.md5) == 32 and entry.size > 1000 for entry in info.sources)
    assert info.snapshot == "2026-02-19"
    assert info.size == sum(file.stat().st_size for file in demo_index.iterdir())


def test_a_later_record_replaces_an_earlier_one_unless_its_version_is_lower(tmp_path):
    def citation(version: int, title: str) -> str:
        return (
            f'<PubmedArticle><MedlineCitation><PMID Version="{version}">7</PMID><Article><ArticleTitle>{title}</ArticleTitle>'
            "</Article></MedlineCitation></PubmedArticle>"
        )

    source = tmp_path / "a.xml"
    source.write_text(
        f"<PubmedArticleSet>{citation(1, 'First')}{citation(3, 'Third')}{citation(2, 'Second')}</PubmedArticleSet>"
    )
    build_index(tmp_path / "index", [source])
    with Index(tmp_path / "index") as index:
        assert len(index) == 1
        article = index.get("7")
    assert article is not None
    assert (article.title, article.version) == ("Third", 3)


def test_words_at_the_border_of_two_sections_are_indexed_apart(tmp_path):
    abstract = "METHODS: Randomised trials.RESULTS: Zebrafish recovered."
    sections = (Section("METHODS", "METHODS", 0, 9, 27), Section("RESULTS", "RESULTS", 27, 36, 56))
    assert Article("1", "T", abstract, sections).default_text() == (
        "T\nMETHODS: Randomised trials.\nRESULTS: Zebrafish recovered."
    )


def test_an_existing_index_is_kept_unless_overwrite_is_passed(tmp_path, corpus):
    path = tmp_path / "index"
    build_index(path, [corpus])
    with pytest.raises(IndexStateError, match="--overwrite"):
        build_index(path, [corpus])
    one = write_jsonl(tmp_path / "one.jsonl", [{"id": "9", "text": "Aspirin."}])
    build_index(path, [one], overwrite=True)
    with Index(path) as index:
        assert len(index) == 1


def test_a_failed_overwrite_leaves_the_old_index_as_it_was(tmp_path, corpus):
    path = tmp_path / "index"
    build_index(path, [corpus])
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "5", "text": "Good."}\nnot json\n')
    with pytest.raises(RecordError, match=r"bad\.jsonl"):
        build_index(path, [bad], overwrite=True)
    with Index(path) as index:
        assert len(index) == 4
        assert index.get("5") is None


def test_a_failed_first_build_leaves_nothing(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("not json\n")
    with pytest.raises(RecordError):
        build_index(tmp_path / "index", [bad])
    assert not (tmp_path / "index").exists()


def test_bad_records_are_skipped_and_counted_only_when_asked(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"id": "5", "text": "Good."}\nnot json\n{"title": "no id"}\n')
    told: list[str] = []
    report = build_index(tmp_path / "index", [bad], skip_bad=True, note=told.append)
    assert (report.documents, report.skipped, len(told)) == (1, 2, 2)
    assert "2" in told[0]


def test_a_corpus_without_articles_is_refused(tmp_path):
    source = tmp_path / "only-deletions.xml"
    source.write_text("<PubmedArticleSet><DeleteCitation><PMID>1</PMID></DeleteCitation></PubmedArticleSet>")
    with pytest.raises(SourceError, match="No articles found"):
        build_index(tmp_path / "index", [source])


def test_a_folder_with_other_files_is_never_built_over(tmp_path, corpus):
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.tex").write_text("years of work")
    with pytest.raises(IndexStateError, match=r"chapter\.tex"):
        build_index(target, [corpus], overwrite=True)
    assert (target / "chapter.tex").read_text() == "years of work"


def test_a_file_where_the_index_should_be_is_refused(tmp_path, corpus):
    with pytest.raises(IndexStateError, match="is a file"):
        build_index(corpus, [corpus])


def test_a_place_that_cannot_be_written_is_named(corpus):
    with pytest.raises(OutputError, match="/proc/nowhere"):
        build_index("/proc/nowhere", [corpus])


def test_a_gap_in_pubmeds_numbering_is_reported(tmp_path):
    for number in (1, 2, 5):
        shutil.copy(DEMO / "demo26n0002.xml", tmp_path / f"pubmed26n{number:04}.xml")
    told = []
    build_index(tmp_path / "index", [tmp_path], note=told.append)
    assert told == ["Gap in the files: pubmed26n0003–0004 is missing."]


def test_a_java_that_another_package_started_is_refused_in_a_sentence(demo_index):
    program = (
        "import sys, types; sys.modules['jnius'] = types.ModuleType('jnius')\n"
        f"import bioqa; bioqa.Index({str(demo_index)!r})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "SetupError: Another package" in done.stderr


def test_a_second_build_at_the_same_time_is_refused(tmp_path, corpus):
    from bioqa.index.writer import open_writer

    path = tmp_path / "index"
    with (
        pytest.raises(IndexStateError, match="Another program is writing"),
        open_writer(path, create=True, ram_mb=16),
    ):
        build_index(path, [corpus])


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "There is no index at"),
        (lambda path: path.mkdir(), "is not an index"),
        (lambda path: path.write_text("x"), "is not an index"),
        (lambda path: (path.mkdir(), (path / "notes.txt").write_text("x")), "is not an index"),
        (lambda path: (path.mkdir(), (path / "_0.fdt").write_bytes(b"x")), "unfinished build"),
        (lambda path: (path.mkdir(), (path / "segments_1").write_bytes(b"rubbish")), "damaged"),
    ],
)
def test_a_path_that_is_not_an_index_is_refused_with_the_reason(tmp_path, prepare, message):
    path = tmp_path / "index"
    prepare(path)
    with pytest.raises(IndexStateError, match=message):
        Index(path)


def _rewrite_commit(path: Path, **changes: str) -> None:
    """Commit the index again with other user data, as another version of bioqa would."""
    directory = java("org.apache.lucene.store.FSDirectory").open(java("java.nio.file.Paths").get(str(path)))
    writer = java("org.apache.lucene.index.IndexWriter")(directory, java("org.apache.lucene.index.IndexWriterConfig")())
    data = java("java.util.HashMap")()
    for key, value in changes.items():
        data.put(key.replace("__", "."), value)
    writer.setLiveCommitData(data.entrySet())
    writer.commit()
    writer.close()


def test_an_index_of_a_newer_format_asks_for_an_upgrade(tmp_path, corpus):
    build_index(tmp_path / "index", [corpus])
    _rewrite_commit(tmp_path / "index", bioqa__format="99", bioqa__version="7.0")
    with pytest.raises(IndexStateError, match=r"format 99 \(written by bioqa 7\.0\).*Upgrade"):
        Index(tmp_path / "index")


def test_a_lucene_index_of_another_program_is_refused(tmp_path, corpus):
    build_index(tmp_path / "index", [corpus])
    _rewrite_commit(tmp_path / "index")
    with pytest.raises(IndexStateError, match="did not build"):
        Index(tmp_path / "index")


def test_an_index_of_an_older_format_asks_for_a_new_build(tmp_path, corpus):
    build_index(tmp_path / "index", [corpus])
    _rewrite_commit(tmp_path / "index", bioqa__format="1", bioqa__version="0.0")
    with pytest.raises(IndexStateError, match="older index format 1"):
        Index(tmp_path / "index")
    assert build_index(tmp_path / "index", [corpus], overwrite=True).documents == 4
