"""Several processes at one index: refused builds harm nothing, readers never fail, and what is wrong is called by its name."""

import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import threading

import pytest

from bioqa import BM25Retriever, Index, SearchOptions
from bioqa.errors import BioqaError, IndexStateError, SetupError, UsageError
from bioqa.index import build
from bioqa.index.build import build_index
from bioqa.index.java_errors import translated
from bioqa.index.update import compact_index, update_index
from bioqa.index.verify import verify_index
from bioqa.index.worker_pool import WorkerPool
from bioqa.index.writer import open_writer
from tests.support import DEMO, REPOSITORY, write_jsonl


def articles(count, revision=0):
    return [
        {"id": str(n), "title": f"Title {n % 7}", "text": f"common gene number {n} revision {revision}"}
        for n in range(count)
    ]


@pytest.fixture
def index(tmp_path):
    path = tmp_path / "index"
    build_index(path, [write_jsonl(tmp_path / "base.jsonl", articles(60))])
    return path


def test_a_refused_second_build_leaves_the_shards_of_the_first(index, tmp_path):
    with open_writer(index, create=False, ram_mb=16):
        shard = index / build.SHARDS / "1" / "0"
        shard.mkdir(parents=True)
        (shard / "_0.cfs").write_bytes(b"being written")
        with pytest.raises(IndexStateError, match="Another program is writing"):
            build_index(index, [tmp_path / "base.jsonl"], overwrite=True)
        assert (shard / "_0.cfs").read_bytes() == b"being written"


def test_a_refused_build_into_a_new_folder_leaves_that_of_another(tmp_path):
    source = write_jsonl(tmp_path / "base.jsonl", articles(5))
    path = tmp_path / "new"
    with open_writer(path, create=True, ram_mb=16):
        with pytest.raises(IndexStateError, match="Another program is writing"):
            build_index(path, [source])
        assert (path / "write.lock").exists()


def test_a_failed_build_removes_the_folder_that_it_made(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{\n")
    with pytest.raises(BioqaError):
        build_index(tmp_path / "new", [bad])
    assert not (tmp_path / "new").exists()


def test_readers_beside_a_writer_never_fail(index, tmp_path):
    """Without the retry on a vanished commit some of these opens fail within seconds."""
    done = threading.Event()
    failures, opened = [], []

    def read():
        while not done.is_set():
            try:
                with Index(index) as one:
                    hits = BM25Retriever(one).search("common gene", 5)
                    assert all(one.get_many(hits.ids))
                    opened.append(len(one))
            except Exception as problem:
                failures.append(problem)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        files = [write_jsonl(tmp_path / f"update{revision}.jsonl", articles(30, revision)) for revision in range(1, 12)]
        code = "import sys; from bioqa.index.update import update_index; [update_index(sys.argv[1], [one]) for one in sys.argv[2:]]"
        subprocess.run([sys.executable, "-c", code, index, *files], check=True, cwd=REPOSITORY)
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not [str(one) for one in failures]
    assert set(opened) == {60}


def test_an_older_commit_that_a_writer_is_deleting_does_not_matter(index, tmp_path):
    [old] = index.glob("segments_*")
    content = old.read_bytes()
    update_index(index, [write_jsonl(tmp_path / "update.jsonl", articles(60, 1))], compact_above=0)
    assert not old.exists()
    old.write_bytes(content)  # its segments are gone, as between the listing of commits and their reading
    with Index(index) as opened:
        assert len(opened) == 60
        assert not opened.refresh()


def test_threads_of_one_process_update_check_and_search_at_the_same_time(tmp_path):
    """pyjnius keeps the object of a method call where all threads see it: one thread's call may get another's object."""
    done = threading.Event()
    failures, searches = [], []
    paths = [tmp_path / f"index{number}" for number in range(3)]
    base = write_jsonl(tmp_path / "base.jsonl", articles(60))
    updates = {
        path: [write_jsonl(tmp_path / f"{path.name}-{n}.jsonl", articles(30, n)) for n in range(8)] for path in paths
    }

    def guarded(work, path):
        try:
            work(path)
        except Exception as problem:
            failures.append(problem)

    def update(path):
        build_index(path, [base], overwrite=True)
        for one in updates[path]:
            update_index(path, [one], compact_above=0)
            assert not verify_index(path).errors
            compact_index(path)

    def search(path):
        while not done.is_set():
            with Index(path, threads=2) as one:
                retriever = BM25Retriever(one)
                for _ in range(5):
                    assert all(one.get_many(retriever.search("common gene", 5).ids))
                    searches.append(retriever.search_many(["revision", "number 7"], 5))
                    one.refresh()

    for path in paths:
        build_index(path, [base])
    writers = [threading.Thread(target=guarded, args=(update, path)) for path in paths]
    readers = [threading.Thread(target=guarded, args=(search, path)) for path in paths]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in (*writers, *readers):
            thread.start()
        for thread in writers:
            thread.join()
    finally:
        sys.setswitchinterval(usual)
        done.set()
        for thread in readers:
            thread.join()
    assert not failures
    assert searches
    for path in paths:
        with Index(path) as one:
            assert {entry.path for entry in one.manifest.sources} == {str(base), *map(str, updates[path])}
            assert len(one) == 60


def test_refresh_moves_to_a_newer_commit_and_old_candidates_keep_their_articles(index, tmp_path):
    with Index(index) as opened:
        retriever = BM25Retriever(opened)
        before = retriever.search("common gene", 60)
        texts = {article.id: article.abstract for article in retriever.articles(before)}
        assert not opened.refresh()
        update_index(index, [write_jsonl(tmp_path / "update.jsonl", articles(40, 1))], compact_above=0)
        assert opened.refresh()
        assert {article.id: article.abstract for article in retriever.articles(before)} == texts
        assert all("revision 0" in retriever.explain("gene", one) or one for one in before)
        after = retriever.articles(retriever.search("revision 1", 60))
        assert len({article.id for article in after if "revision 1" in article.abstract}) == 40


def test_an_update_builds_on_what_another_has_committed_meanwhile(index, tmp_path, monkeypatch):
    """The manifest is read under the lock: one read before it would forget the other update's file."""
    from bioqa.index import update

    first = write_jsonl(tmp_path / "first.jsonl", articles(3, 1))
    second = write_jsonl(tmp_path / "second.jsonl", articles(3, 2))
    usual = update.open_writer

    def late(*args, **kwargs):
        monkeypatch.setattr(update, "open_writer", usual)
        update_index(index, [first])
        return usual(*args, **kwargs)

    monkeypatch.setattr(update, "open_writer", late)
    update_index(index, [second])
    with Index(index) as opened:
        assert {entry.path for entry in opened.manifest.sources} >= {str(first), str(second)}


def test_files_of_one_name_in_two_folders_are_two_files(index, tmp_path):
    for day in ("day1", "day2"):
        (tmp_path / day).mkdir()
        write_jsonl(tmp_path / day / "part-00000.jsonl", [{"id": day, "text": f"came on {day}"}])
    assert update_index(index, [tmp_path / "day1"]).files == 1
    report = update_index(index, [tmp_path / "day1", tmp_path / "day2"])
    assert (report.files, report.files_known, report.documents) == (1, 1, 62)


def test_compaction_makes_an_updated_index_equal_to_a_fresh_one(tmp_path):
    old, new = long_articles(400), long_articles(170, 1)
    build_index(tmp_path / "updated", [write_jsonl(tmp_path / "old.jsonl", old)])
    update_index(tmp_path / "updated", [write_jsonl(tmp_path / "new.jsonl", new)], compact_above=1)
    build_index(tmp_path / "fresh", [write_jsonl(tmp_path / "all.jsonl", list(reversed(new + old[170:])))])
    questions = ["common gene", "number 17", "revision 1 gene", "title 3"]

    def results(path):
        with Index(path) as index:
            found = BM25Retriever(index).search_many(questions, 50, SearchOptions(title_weight=0.5))
            return [list(zip(hits.ids, hits.scores, strict=True)) for hits in found]

    with Index(tmp_path / "updated") as index:
        assert index.info().deleted == 170
    assert results(tmp_path / "updated") != results(tmp_path / "fresh")
    assert compact_index(tmp_path / "updated").deleted == 170
    assert results(tmp_path / "updated") == results(tmp_path / "fresh")
    with Index(tmp_path / "updated") as index:
        assert index.info().deleted == 0
        assert len(index) == 400
    assert not verify_index(tmp_path / "updated").errors


@pytest.mark.parametrize(("above", "deleted"), [(0.5, 100), (0.1, 0), (0, 0)])
def test_an_update_compacts_above_a_share(tmp_path, above, deleted):
    index = tmp_path / "index"
    build_index(index, [write_jsonl(tmp_path / "base.jsonl", long_articles(300))])
    update_index(index, [write_jsonl(tmp_path / "update.jsonl", articles(100, 1))], compact_above=above)
    with Index(index) as opened:
        assert opened.info().deleted == deleted


def test_the_commands_compact_and_tell_the_share_of_deleted_documents(tmp_path, bioqa):
    index = tmp_path / "index"
    build_index(index, [write_jsonl(tmp_path / "base.jsonl", long_articles(300))])
    update = write_jsonl(tmp_path / "update.jsonl", articles(30, 1))
    assert bioqa("index", "update", index, update, "--compact-above", "90%").code == 0
    assert "30 (9.1% of all" in bioqa("index", "info", index).out
    assert "30 deleted documents merged away" in bioqa("index", "compact", index).out
    assert json.loads(bioqa("index", "info", index, "--json").out)["deleted"] == 0
    refused = bioqa("index", "update", index, update, "--compact-above", "much")
    assert refused.code == 2
    assert "between 0% and 100%" in refused.err


def test_ties_are_in_the_order_of_ids_whatever_the_history(tmp_path):
    ids = ["b", "a", "10", "9", "é", "z"] + [f"x{n:03}" for n in range(90)]
    records = [{"id": id, "text": "the same words"} for id in ids]
    for name, order in (("one", records), ("other", records[::-1])):
        build_index(tmp_path / name, [write_jsonl(tmp_path / f"{name}.jsonl", order)])
        for threads in (1, 3):
            with Index(tmp_path / name, threads=threads) as index:
                for k in (3, 10, 96):
                    expected = sorted(ids, key=lambda id: id.encode())[:k]
                    assert BM25Retriever(index).search("words", k).ids == expected
                    assert BM25Retriever(index).search_many(["words"], k)[0].ids == expected


def test_verify_needs_no_write_access_and_no_lock(index):
    with open_writer(index, create=False, ram_mb=16):
        assert not verify_index(index).errors
    (index / "write.lock").unlink()
    index.chmod(0o555)
    try:
        assert not verify_index(index).errors
        assert not (index / "write.lock").exists()
    finally:
        index.chmod(0o755)


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_paths_outside_ascii_work_in_any_locale(tmp_path, locale):
    folder = tmp_path / "Häufigkeit-β-索引"
    folder.mkdir()
    source = write_jsonl(folder / "abstracts.jsonl", articles(5))
    environment = {**os.environ, "LC_ALL": locale}
    for command in (
        ["index", "build", folder / "index", source],
        ["search", folder / "index", "gene", "--no-rerank"],
        ["index", "verify", folder / "index"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "bioqa", *map(str, command)],
            capture_output=True,
            check=False,
            env=environment,
            cwd=REPOSITORY,
        )
        assert done.returncode == 0, done.stderr.decode()


def long_articles(count, revision=0):
    """Articles of so much text that Lucene does not merge their segments away when it commits."""
    rng = random.Random(revision)
    return [{**one, "text": f"{one['text']} {rng.randbytes(8000).hex(' ', 3)}"} for one in articles(count, revision)]


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 0x5A
        path.write_bytes(data)
    elif how == "empty":
        path.write_bytes(b"")
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "empty", "delete"])
def test_overwrite_mends_an_index_with_any_damaged_file(index, tmp_path, how):
    names = sorted(path.name for path in index.iterdir() if path.name != "write.lock")
    for name in names:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(index, tmp_path / "copy")
        damage(tmp_path / "copy" / name, how)
        build_index(tmp_path / "copy", [tmp_path / "base.jsonl"], overwrite=True)
        assert not verify_index(tmp_path / "copy").errors, name
        files = {path.name for path in (tmp_path / "copy").iterdir()}
        assert all(one.startswith(("_", "segments_")) or one == "write.lock" for one in files), name


def test_damaged_stored_fields_met_while_searching_are_an_index_error(tmp_path):
    text = " ".join(f"word{n}" for n in range(400))
    source = write_jsonl(tmp_path / "big.jsonl", [{"id": str(n), "text": f"{text} {n}"} for n in range(300)])
    path = tmp_path / "index"
    build_index(path, [source])
    [stored] = [file for file in path.iterdir() if file.suffix in (".fdt", ".cfs")]
    data = bytearray(stored.read_bytes())
    for place in range(200, len(data) // 2, 97):
        data[place] ^= 0xFF
    stored.write_bytes(data)
    with pytest.raises(IndexStateError, match=r"damaged|failed"), Index(path) as index:
        retriever = BM25Retriever(index)
        retriever.articles(retriever.search("word7", 300))


class JavaProblem(Exception):
    def __init__(self, classname):
        super().__init__("words of Java")
        self.classname, self.innermessage = classname, "words of Java"


@pytest.mark.parametrize(
    ("classname", "kind", "says"),
    [
        ("org.apache.lucene.index.CorruptIndexException", IndexStateError, "is damaged"),
        ("java.nio.file.AccessDeniedException", IndexStateError, "cannot be read"),
        ("java.nio.file.InvalidPathException", SetupError, "UTF-8 locale"),
        ("java.lang.OutOfMemoryError", SetupError, "ran out of memory"),
        ("org.apache.lucene.store.AlreadyClosedException", UsageError, "was closed"),
        ("org.apache.lucene.store.LockObtainFailedException", IndexStateError, "Another program is writing"),
    ],
)
def test_java_exceptions_become_errors_and_only_damage_is_called_damage(tmp_path, classname, kind, says):
    error = translated(JavaProblem(classname), tmp_path / "index")
    assert type(error) is kind
    assert says in str(error)
    assert ("--overwrite" in str(error)) == (says == "is damaged")


def test_a_closed_index_says_so_and_a_pickled_one_is_opened_anew(index):
    with Index(index, threads=1) as opened:
        copy = pickle.loads(pickle.dumps(opened))
    assert len(copy) == 60
    copy.close()
    copy.close()
    with pytest.raises(UsageError, match="was closed"):
        opened.get("1")
    with pytest.raises(UsageError, match="by the path"):
        Index(7)


def test_a_build_with_workers_needs_no_main_guard(tmp_path):
    (tmp_path / "script.py").write_text(
        "import sys\n"
        "from bioqa.index import build\n"
        "build.SMALL_BYTES = 0\n"
        "print(build.build_index(sys.argv[1], sys.argv[2:], workers=2, memory_mb=800).documents)\n"
    )
    sources = [DEMO / "demo26n0001.xml", DEMO / "demo26n0002.xml"]
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "index", *sources],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "320"


def test_the_default_of_memory_obeys_a_control_group(tmp_path, monkeypatch):
    (tmp_path / "limit").write_text(f"{2**31}\n")
    (tmp_path / "max").write_text("max\n")
    monkeypatch.setattr(build, "CGROUP_LIMITS", (tmp_path / "max", tmp_path / "none"))
    assert build.available_memory() > 2**31
    monkeypatch.setattr(build, "CGROUP_LIMITS", (tmp_path / "max", tmp_path / "limit"))
    assert build.available_memory() == 2**31


def test_a_killed_worker_is_reported_as_that():
    with pytest.raises(SetupError, match="killed, most likely because memory ran out"), WorkerPool(1, 300) as pool:
        pid = pool.submit(os.getpid).result()
        pool.submit(os.kill, pid, 9).result()
