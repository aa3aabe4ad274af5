"""Builds on several processes, and interrupted builds: every document is that of an undisturbed build."""

import random
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from bioqa import Index
from bioqa.errors import IndexStateError, SourceError, UsageError
from bioqa.index import build, writer
from bioqa.index.build import build_index
from tests.support import DEMO, REPOSITORY

KILLS = 20
# Workers even for a small corpus, and a commit after every source, so that kills hit many states.
BUILD = """
import sys
from bioqa.index import build
build.SMALL_BYTES, build.COMMIT_SECONDS = int(sys.argv[1]), 0.0
print(build.build_index(sys.argv[2], [sys.argv[3]], workers=2, memory_mb=1500))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The demo baseline in twelve files, some citations repeated with other titles, and the update file."""
    folder = tmp_path_factory.mktemp("files")
    citations = re.findall(r"<PubmedArticle>.*?</PubmedArticle>", (DEMO / "demo26n0001.xml").read_text(), re.DOTALL)
    for number in range(12):
        part = citations[number * 27 : number * 27 + 27]
        if number:
            part += [
                c.replace("<ArticleTitle>", f"<ArticleTitle>Again in {number}: ")
                for c in citations[number : number + 3]
            ]
        name = folder / f"pubmed26n{number + 1:04}.xml"
        name.write_text(f"<PubmedArticleSet>{''.join(part)}</PubmedArticleSet>")
    shutil.copy(DEMO / "demo26n0002.xml", folder / "pubmed26n0013.xml")
    return folder


def contents(path):
    """Every document of an index, by id; fails on a duplicate id."""
    with Index(path) as index:
        articles = {article.id: article for article in index.sample(len(index), random.Random(0))}
        assert len(articles) == len(index)
        return articles


@pytest.fixture(scope="module")
def undisturbed(files, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "index"
    build_index(path, [files], workers=1)
    found = contents(path)
    assert len(found) == 320
    assert sum(article.title.startswith("Again in") for article in found.values()) > 5
    return found


def test_an_index_built_by_workers_is_that_of_one_process(files, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SMALL_BYTES", 0)
    report = build_index(tmp_path / "index", [files], workers=2)
    assert report.documents == 320
    assert contents(tmp_path / "index") == undisturbed
    assert not (tmp_path / "index" / "shards").exists()


@pytest.mark.slow
@pytest.mark.parametrize("small", [0, 10**9], ids=["workers", "one process"])
def test_a_killed_build_resumes_and_ends_as_if_undisturbed(files, undisturbed, tmp_path, small):
    rng = random.Random(small)
    path = tmp_path / "index"
    command = [sys.executable, "-c", BUILD, str(small), str(path), str(files)]
    started = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY)
    latest = max(5.0 if small == 0 else 2.0, time.perf_counter() - started)  # a busy machine commits later
    shutil.rmtree(path)
    kills = resumed = 0
    while kills < KILLS // 2:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
        try:
            _, err = process.communicate(timeout=rng.uniform(0.3, latest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            kills += 1
            if not (path.exists() and writer.has_commit(path)):
                continue
            resumed += 1
            if writer.latest_manifest(path).state != "complete":
                continue
            process.returncode = 0  # killed between its last commit and its end
        assert process.returncode == 0, err
        assert contents(path) == undisturbed
        shutil.rmtree(path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert contents(path) == undisturbed
    assert resumed, "no kill came after a commit, so nothing was tested"


def test_an_unfinished_build_is_not_searched_and_not_resumed_with_other_sources(files, tmp_path, monkeypatch):
    path = tmp_path / "index"

    def stop(*_):
        raise RuntimeError("stopped by the test")

    monkeypatch.setattr(build, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(build, "keep_latest_records", stop)
    with pytest.raises(RuntimeError):
        build_index(path, [files])
    with pytest.raises(IndexStateError, match="unfinished build"):
        Index(path)
    monkeypatch.undo()
    with pytest.raises(IndexStateError, match="unfinished build from other sources"):
        build_index(path, [files / "pubmed26n0001.xml"])
    report = build_index(path, [files])
    assert (report.documents, report.resumed) == (320, 13)


def test_a_source_that_changed_since_the_kill_is_refused(files, tmp_path, monkeypatch):
    folder, path = tmp_path / "files", tmp_path / "index"
    shutil.copytree(files, folder)
    monkeypatch.setattr(build, "COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(build, "keep_latest_records", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build_index(path, [folder])
    monkeypatch.undo()
    changed = folder / "pubmed26n0003.xml"
    changed.write_text(changed.read_text().replace("heart", "hearts"))
    with pytest.raises(SourceError, match=r"pubmed26n0003\.xml has changed"):
        build_index(path, [folder])


def test_the_old_index_is_searched_while_a_new_one_is_built_over_it(files, corpus, tmp_path, monkeypatch):
    path = tmp_path / "index"
    build_index(path, [corpus])
    seen = []
    monkeypatch.setattr(build, "COMMIT_SECONDS", 0.0)

    def look(progress):
        with Index(path) as index:
            seen.append(len(index))

    build_index(path, [files], overwrite=True, progress=look)
    assert set(seen) == {4}
    with Index(path) as index:
        assert len(index) == 320


def test_a_wrong_checksum_beside_a_source_is_reported(files, tmp_path):
    shutil.copy(files / "pubmed26n0001.xml", tmp_path)
    source = tmp_path / "pubmed26n0001.xml"
    beside = tmp_path / "pubmed26n0001.xml.md5"
    beside.write_text(f"MD5(pubmed26n0001.xml)= {'0' * 32}\n")
    with pytest.raises(SourceError, match="checksum"):
        build_index(tmp_path / "index", [source])
    import hashlib

    beside.write_text(f"MD5(pubmed26n0001.xml)= {hashlib.md5(source.read_bytes()).hexdigest()}\n")
    assert build_index(tmp_path / "index", [source]).documents == 27


@pytest.mark.parametrize(("workers", "memory"), [(0, None), (-1, None), (2, 100)])
def test_too_few_workers_or_too_little_memory_is_refused(files, tmp_path, workers, memory):
    with pytest.raises(UsageError):
        build_index(tmp_path / "index", [files], workers=workers, memory_mb=memory)
