"""Fetching PubMed's files from a local server that fails on request."""

import errno
import gc
import os
import random
import resource
import ssl
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from urllib3 import HTTPResponse
from urllib3.exceptions import MaxRetryError

from bioqa.corpus.sources import expand_sources
from bioqa.errors import OutputError, SourceError, UsageError
from bioqa.fetch.pubmed import FetchReport, fetch_pubmed
from bioqa.fetch.server import Retries
from tests.fetch.pubmed_server import MAX_REQUESTS, ONE, SIZE, THREE, TWO, Handler, PubMed


@pytest.fixture
def pubmed(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubMed]:
    monkeypatch.setenv("no_proxy", "*")
    with PubMed() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()
        assert len(server.requests) <= MAX_REQUESTS


class Waits(list[float]):
    """The waits between attempts, recorded instead of waited."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def fetch(pubmed: PubMed, tmp_path: Path, waits: Waits):
    """Fetch the baseline into tmp_path, unless the settings say otherwise."""

    def run(into: Path = tmp_path, **settings: object) -> FetchReport:
        settings = {"baseline": True, "base_url": pubmed.url, "sleep": waits, "jobs": 2, "timeout": 5.0} | settings
        return fetch_pubmed(into, **settings)

    return run


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


def is_whole(pubmed: PubMed, into: Path, path: str) -> bool:
    return (into / path).read_bytes() == pubmed.files[path]


def test_baseline_and_updates_come_into_a_folder_each_with_their_checksums(pubmed, fetch, tmp_path):
    report = fetch(updates=True)
    assert (report.fetched, report.skipped, report.failed, report.bytes) == (3, 0, (), 3 * SIZE)
    assert (report.snapshot, report.snapshot_date) == (THREE, "2026-01-29")
    assert names(tmp_path / "baseline") == [ONE, f"{ONE}.md5", TWO, f"{TWO}.md5"]
    assert names(tmp_path / "updatefiles") == [THREE, f"{THREE}.md5"]
    for path in pubmed.files:
        assert path.endswith("/") or is_whole(pubmed, tmp_path, path)
    assert [source.path.name for source in expand_sources([tmp_path / "baseline"])] == [ONE, TWO]


def test_files_that_are_there_with_the_right_checksum_are_skipped_and_others_are_fetched_again(pubmed, fetch, tmp_path):
    fetch()
    (tmp_path / "baseline" / TWO).write_bytes(b"damaged")
    report = fetch()
    assert (report.fetched, report.skipped, report.bytes) == (1, 1, SIZE)
    assert is_whole(pubmed, tmp_path, f"baseline/{TWO}")
    assert len(pubmed.asked(f"baseline/{ONE}")) == 1


def test_a_file_that_the_server_has_replaced_is_fetched_again_with_its_checksum(pubmed, fetch, tmp_path):
    fetch()
    pubmed.put("baseline", ONE, b"corrected")
    assert fetch().fetched == 1
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}.md5")


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_a_connection_that_breaks_off_or_falls_silent_is_resumed_from_there(pubmed, fetch, tmp_path, waits, fault):
    pubmed.faults[f"baseline/{ONE}"] = [fault]
    report = fetch(timeout=0.3 if fault == "stall" else 5.0)
    assert (report.fetched, report.bytes) == (2, 2 * SIZE)
    assert pubmed.asked(f"baseline/{ONE}") == ["", f"bytes={SIZE // 2}-"]
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")
    assert len(waits) == 1


def test_the_next_fetch_resumes_from_the_parts_of_an_earlier_one(pubmed, fetch, tmp_path):
    pubmed.faults[f"baseline/{ONE}"] = ["break"]
    report = fetch(retries=0)
    assert [failure.name for failure in report.failed] == [f"baseline/{ONE}"]
    assert f"broke off {SIZE // 2:,} bytes before the end" in report.failed[0].reason
    assert names(tmp_path / "baseline") == [f"{ONE}.md5.part", f"{ONE}.part", TWO, f"{TWO}.md5"]
    assert fetch().bytes == SIZE // 2
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")
    assert names(tmp_path / "baseline") == [ONE, f"{ONE}.md5", TWO, f"{TWO}.md5"]


@pytest.mark.parametrize("fault", ["whole", "other range", "416"])
def test_a_server_that_cannot_start_from_a_byte_sends_the_whole_file(pubmed, fetch, tmp_path, waits, fault):
    pubmed.faults[f"baseline/{ONE}"] = ["break", fault]
    assert fetch().failed == ()
    assert len(waits) == 1
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")


def test_a_part_of_a_file_that_the_server_has_since_replaced_is_discarded(pubmed, fetch, tmp_path):
    pubmed.faults[f"baseline/{ONE}"] = ["break"]
    fetch(retries=0)
    pubmed.put("baseline", ONE, random.Random(1).randbytes(SIZE))
    assert fetch().bytes == SIZE
    assert pubmed.asked(f"baseline/{ONE}") == ["", ""]
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")


def test_a_complete_part_is_not_requested_and_one_that_is_too_long_is_fetched_again(pubmed, fetch, tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / f"{ONE}.part").write_bytes(pubmed.files[f"baseline/{ONE}"])
    (tmp_path / "baseline" / f"{TWO}.part").write_bytes(bytes(SIZE + 1))
    report = fetch()
    assert (report.fetched, report.bytes) == (2, SIZE)
    assert pubmed.asked(f"baseline/{ONE}") == []
    assert pubmed.asked(f"baseline/{TWO}") == [f"bytes={SIZE + 1}-", ""]
    assert is_whole(pubmed, tmp_path, f"baseline/{TWO}")


def test_a_wrong_checksum_is_retried(pubmed, fetch, tmp_path, waits):
    pubmed.faults[f"baseline/{ONE}"] = ["wrong bytes"]
    notes: list[str] = []
    report = fetch(note=notes.append)
    assert (report.fetched, report.bytes, len(waits)) == (2, 3 * SIZE, 1)
    assert any(f"baseline/{ONE}: its checksum is" in text for text in notes)
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")


def test_a_checksum_that_stays_wrong_is_reported_and_does_not_stop_other_files(pubmed, fetch, tmp_path, waits):
    pubmed.files[f"baseline/{ONE}.md5"] = b"0" * 32 + f"  {ONE}\n".encode()
    report = fetch()
    assert report.fetched == 1
    assert [failure.name for failure in report.failed] == [f"baseline/{ONE}"]
    assert f"but {'0' * 32} in its .md5 file" in report.failed[0].reason
    assert len(pubmed.asked(f"baseline/{ONE}")) == 6
    for turn, wait in enumerate(waits):
        assert 2**turn / 2 <= wait <= 2**turn
    assert names(tmp_path / "baseline") == [f"{ONE}.md5.part", TWO, f"{TWO}.md5"]


def test_a_checksum_that_turns_wrong_leaves_an_existing_file_alone(pubmed, fetch, tmp_path):
    fetch()
    right = pubmed.files[f"baseline/{ONE}.md5"]
    pubmed.files[f"baseline/{ONE}.md5"] = b"0" * 32
    assert len(fetch(retries=1).failed) == 1
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")
    assert (tmp_path / "baseline" / f"{ONE}.md5").read_bytes() == right


def test_a_busy_server_is_asked_again_after_the_time_it_names(pubmed, fetch, waits):
    pubmed.faults[f"baseline/{ONE}"] = ["503 7"]
    pubmed.faults["baseline/"] = ["429 99999", f"500 {formatdate(time.time() + 30, usegmt=True)}", "502 soon"]
    assert fetch().failed == ()
    assert waits[0] == 600.0
    assert 25 < waits[1] <= 30
    assert 2 <= waits[2] <= 4
    assert waits[3:] == [7.0]


@pytest.mark.parametrize("status", ["404", "403"])
def test_a_refused_request_is_not_retried(pubmed, fetch, waits, status):
    pubmed.faults[f"baseline/{ONE}"] = [status]
    report = fetch()
    assert [(failure.name, failure.reason[:8]) for failure in report.failed] == [(f"baseline/{ONE}", f"HTTP {status}")]
    assert report.fetched == 1
    assert waits == []


def test_a_server_that_hangs_up_is_retried_as_often_as_requested(pubmed, fetch, waits):
    pubmed.faults[f"baseline/{ONE}"] = ["hang up"] * 9
    report = fetch(retries=3)
    assert report.failed[0].reason.endswith("attempts: 4")
    assert len(pubmed.asked(f"baseline/{ONE}")) == 4
    assert len(waits) == 3


def test_md5_files_without_a_checksum_are_a_failure(pubmed, fetch):
    pubmed.files[f"baseline/{ONE}.md5"] = b"<html>Please log in</html>"
    assert "has no checksum" in fetch().failed[0].reason


def test_an_unreachable_server_is_named_with_a_hint(pubmed, fetch, waits):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    with pytest.raises(SourceError, match=rf"http://127.0.0.1:{port}/baseline/ cannot be read: .*refused.*--base-url"):
        fetch(base_url=f"http://127.0.0.1:{port}")
    assert len(waits) == 5


@pytest.mark.parametrize("page", [b"<html>Please log in to the hotel's network</html>", b"<pre></pre>", b""])
def test_a_page_without_files_is_not_a_listing(pubmed, fetch, page):
    pubmed.files["baseline/"] = page
    with pytest.raises(SourceError, match=r"/pubmed/baseline/ lists no files like pubmed26n0001\.xml\.gz"):
        fetch()


def test_only_selected_files_are_fetched(fetch, tmp_path):
    assert fetch(files="2-").fetched == 1
    assert names(tmp_path / "baseline") == [TWO, f"{TWO}.md5"]
    with pytest.raises(UsageError, match=f"No file matches '7-9': the server has {ONE} to {TWO}"):
        fetch(files="7-9")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"baseline": False}, "Give --baseline, --updates or both"),
        ({"jobs": 0}, "at least 1 job"),
        ({"timeout": 0}, "timeout above 0"),
        ({"timeout": float("inf")}, "at most 86,400"),
        ({"files": "one"}, "Invalid selection of files 'one'"),
        ({"files": "1,,2"}, "Invalid selection of files '1,,2'"),
        ({"base_url": "ftp://ftp.ncbi.nlm.nih.gov/pubmed"}, "is not the address of a server"),
        ({"base_url": "file:///etc"}, "is not the address of a server"),
        ({"base_url": "http://[::1/"}, "is not the address of a server"),
    ],
)
def test_invalid_arguments_are_errors_before_any_request(pubmed, fetch, settings, message):
    with pytest.raises(UsageError, match=message):
        fetch(**settings)
    assert pubmed.requests == []


def test_a_folder_that_cannot_be_written_is_an_output_error(fetch, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be written"):
        fetch(tmp_path / "file")


def test_a_full_disk_ends_the_fetch_with_an_output_error(fetch, tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (SIZE // 2, before[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot be written: File too large.*resumes where it stopped"):
            fetch(jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("ending", [".part", ".md5.part"])
@pytest.mark.parametrize("content", ["", "of someone else"])
def test_a_planted_link_is_refused_and_what_it_points_to_is_left_alone(pubmed, fetch, tmp_path, ending, content):
    victim = tmp_path / "victim"
    victim.write_text(content)
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / f"{ONE}{ending}").symlink_to(victim)
    with pytest.raises(OutputError, match=rf"{ONE}{ending} is not a regular file"):
        fetch(jobs=1)
    assert victim.read_text() == content
    assert not (tmp_path / "baseline" / ONE).exists()


def test_a_pipe_in_the_place_of_a_part_is_refused(fetch, tmp_path):
    (tmp_path / "baseline").mkdir()
    os.mkfifo(tmp_path / "baseline" / f"{ONE}.part")
    with pytest.raises(OutputError, match="is not a regular file"):
        fetch(jobs=1)


def test_a_server_that_sends_a_byte_now_and_then_counts_as_silent(pubmed, fetch, tmp_path, waits):
    pubmed.faults[f"baseline/{ONE}"] = ["slow"]
    notes: list[str] = []
    report = fetch(timeout=0.4, note=notes.append)
    assert (report.fetched, len(waits)) == (2, 1)
    assert any("the server sent only" in text for text in notes)


@pytest.mark.parametrize("fault", ["slow header", "endless continue"])
def test_headers_must_be_complete_within_the_timeout(pubmed, fetch, waits, fault):
    pubmed.faults[f"baseline/{ONE}"] = [fault] * 2
    before = time.monotonic()
    report = fetch(timeout=0.4, retries=1)
    assert [failure.reason for failure in report.failed] == ["the server sent nothing for 0.4 s; attempts: 2"]
    assert time.monotonic() - before < 4


@pytest.mark.parametrize("fault", ["long", "endless"])
def test_a_file_far_longer_than_the_listing_says_is_not_downloaded(pubmed, fetch, tmp_path, waits, fault):
    pubmed.faults[f"baseline/{ONE}"] = [fault]
    limit = 2 * SIZE + (1 << 20)
    report = fetch()
    reasons = [failure.reason for failure in report.failed]
    assert reasons == [f"it is longer than {limit:,} bytes, the most to expect by the listing"]
    assert waits == []
    assert report.bytes <= limit + SIZE


def test_the_body_of_a_redirect_is_not_read(pubmed, fetch, tmp_path):
    pubmed.faults[f"baseline/{ONE}"] = ["endless redirect"]
    pubmed.files["elsewhere"] = pubmed.files[f"baseline/{ONE}"]
    before = time.monotonic()
    assert fetch().failed == ()
    assert time.monotonic() - before < 4
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib3 leaves the response open
@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[::1", "http://127.0.0.1:99999999/", "ftp://x/y"])
def test_a_redirect_to_no_http_address_is_a_failure(pubmed, fetch, waits, location):
    pubmed.faults[f"baseline/{ONE}"] = [f"302 {location}"]
    assert [failure.name for failure in fetch().failed] == [f"baseline/{ONE}"]
    assert waits == []
    gc.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # urllib3 leaves the response open
def test_contradicting_lengths_are_a_failure(pubmed, fetch):
    pubmed.faults[f"baseline/{ONE}"] = ["bad length"]
    assert [failure.name for failure in fetch().failed] == [f"baseline/{ONE}"]
    gc.collect()


def test_a_redirect_from_https_to_http_is_not_followed():
    retries = Retries(pause=lambda failure, seconds: None, total=3)
    response = HTTPResponse(status=302, headers={"Location": "http://example.org/x"})
    with pytest.raises(MaxRetryError, match="without encryption"):
        retries.increment("GET", "https://example.org/x", response=response)
    assert retries.increment("GET", "http://example.org/x", response=response).total == 3


def test_a_second_fetch_into_a_folder_is_refused_and_the_first_is_not_disturbed(pubmed, fetch, tmp_path):
    pubmed.faults[f"baseline/{ONE}"] = ["stall"]
    refused: list[str] = []

    def second(state: object) -> None:
        if not refused:
            with pytest.raises(OutputError, match=f"Another fetch is running in {tmp_path}") as problem:
                fetch()
            refused.append(str(problem.value))
            pubmed.over.set()

    assert fetch(progress=second).failed == ()
    assert len(refused) == 1
    assert fetch().skipped == 2


def test_a_file_system_without_locks_can_be_fetched_into(fetch, monkeypatch):
    def no_locks(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert fetch().fetched == 2


def test_an_untrusted_certificate_is_not_retried(fetch, waits, monkeypatch):
    problem = ssl.SSLCertVerificationError(1, "certificate verify failed")
    problem.verify_message = "unable to get local issuer certificate"

    def no_trust(*arguments: object, **settings: object) -> None:
        raise problem

    monkeypatch.setattr("urllib3.connection.HTTPConnection.connect", no_trust)
    with pytest.raises(SourceError, match=r"certificate is not trusted \(unable to get local issuer"):
        fetch()
    assert waits == []


def test_progress_counts_bytes_up_to_all_of_them(fetch):
    states = []
    fetch(progress=states.append)
    assert states[-1].files_done == states[-1].files == 2
    assert states[-1].bytes_done == states[-1].bytes == 2 * SIZE
    assert all(state.bytes_done <= state.bytes for state in states)


def test_files_of_another_year_in_the_folder_are_reported(fetch, tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "pubmed25n0001.xml.gz").write_bytes(b"old")
    assert fetch().unlisted == ("baseline/pubmed25n0001.xml.gz",)


def test_an_interrupted_fetch_leaves_parts_that_are_resumed(pubmed, fetch, tmp_path):
    pubmed.faults[f"baseline/{ONE}"] = ["stall"]

    def interrupt(state) -> None:
        if state.bytes_done == SIZE // 2 + SIZE:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt, timeout=0.5)
    assert f"{ONE}.part" in names(tmp_path / "baseline")
    assert ONE not in names(tmp_path / "baseline")
    report = fetch()
    assert (report.skipped, report.bytes) == (1, SIZE // 2)


def test_every_retry_is_noted_with_its_reason_and_wait(pubmed, fetch, waits):
    pubmed.faults["baseline/"] = ["503 7"]
    pubmed.faults[f"baseline/{ONE}"] = ["hang up", "break"]
    notes: list[str] = []
    fetch(jobs=1, note=notes.append)
    assert notes[0] == f"{pubmed.url}/baseline/: HTTP 503 Service Unavailable. Trying again in 7 s."
    hung_up, broken = notes[2:]
    assert hung_up.startswith(
        f"{pubmed.url}/baseline/{ONE}: Remote end closed connection without response. Trying again"
    )
    assert broken.startswith(
        f"baseline/{ONE}: the connection broke off {SIZE // 2:,} bytes before the end of {SIZE:,}."
    )
    assert len(waits) == 3


def test_redirects_are_followed_and_do_not_count_as_attempts(pubmed, fetch, tmp_path, waits):
    pubmed.faults[f"baseline/{ONE}"] = ["301 elsewhere"]
    pubmed.files["elsewhere"] = pubmed.files[f"baseline/{ONE}"]
    assert fetch(retries=0).failed == ()
    assert is_whole(pubmed, tmp_path, f"baseline/{ONE}")
    pubmed.faults["elsewhere"] = ["302 elsewhere"] * 20
    pubmed.faults[f"baseline/{TWO}"] = ["301 elsewhere"]
    pubmed.put("baseline", TWO, b"new")
    assert [failure.reason for failure in fetch(retries=0).failed] == ["too many redirects"]
    assert waits == []


def test_the_proxy_of_the_environment_is_used(pubmed, fetch, monkeypatch, waits):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://user:secret@127.0.0.1:{port}")
    with pytest.raises(SourceError, match=r"cannot be read: Connection refused; attempts: 2\. "):
        fetch(retries=1)
    assert pubmed.requests == []
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:1")
    with pytest.raises(UsageError, match="http_proxy is not the address of an HTTP proxy"):
        fetch()
    monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
    assert fetch().failed == ()


def test_the_fetch_stops_during_a_wait(pubmed, fetch):
    pubmed.faults[f"baseline/{ONE}"] = ["503 500"]

    def interrupt(state) -> None:
        if state.files_done == 1:
            raise KeyboardInterrupt

    before = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt, sleep=None)
    assert time.monotonic() - before < 5
