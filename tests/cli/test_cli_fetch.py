"""What `bioqa fetch` prints and its exit codes, with a plain file server on this machine."""

import functools
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bioqa.cli.main import COMMANDS

REPOSITORY = Path(__file__).resolve().parents[2]
NAMES = ["pubmed26n0001.xml.gz", "pubmed26n0002.xml.gz"]
SIZE = 200_000
ENTRY = ("bioqa.cli.fetch", "Fetch PubMed's files.")
PROGRAM = f"import sys\nfrom bioqa.cli.main import COMMANDS, main\nCOMMANDS['fetch'] = {ENTRY!r}\nsys.exit(main(sys.argv[1:]))"


class Handler(SimpleHTTPRequestHandler):
    """Python's own file server: its listings, no Range; it stops sending in the middle of files in ``silent``."""

    timeout = 10
    silent: set[str]
    over: threading.Event

    def log_message(self, *arguments: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        name = Path(self.path).name
        if name not in self.silent:
            super().copyfile(source, outputfile)
            return
        self.silent.discard(name)
        outputfile.write(source.read(SIZE // 2))
        self.over.wait(10)


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments: object) -> None:
        """Ignore clients that close their connection."""


@pytest.fixture
def handler(monkeypatch: pytest.MonkeyPatch) -> type[Handler]:
    monkeypatch.setattr(Handler, "silent", set(), raising=False)
    monkeypatch.setattr(Handler, "over", threading.Event(), raising=False)
    return Handler


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What the server has: two baseline files and their checksums."""
    folder = tmp_path / "server" / "baseline"
    folder.mkdir(parents=True)
    for name in NAMES:
        content = name.encode() * (SIZE // len(name))
        (folder / name).write_bytes(content)
        (folder / f"{name}.md5").write_text(f"MD5({name})= {hashlib.md5(content).hexdigest()}\n")
    return folder


@pytest.fixture
def url(files: Path, handler: type[Handler], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the server, also in BIOQA_PUBMED_URL."""
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setitem(COMMANDS, "fetch", ENTRY)
    with Server(("127.0.0.1", 0), functools.partial(handler, directory=files.parent)) as server:
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setenv("BIOQA_PUBMED_URL", address)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield address
        handler.over.set()
        server.shutdown()
        thread.join()


def test_a_fetch_reports_downloaded_and_skipped_files_and_the_snapshot(bioqa, url, tmp_path):
    done = bioqa("fetch", "pubmed", "--baseline", "--into", tmp_path / "in")
    assert done.code == 0
    assert done.out.startswith(f"{tmp_path / 'in'}: 2 files downloaded (400.0 kB), 0 skipped (already there) in ")
    assert done.out.endswith("; snapshot pubmed26n0002.xml.gz\n")
    assert "Files: 2." in done.err
    again = bioqa("fetch", "pubmed", "--baseline", "--into", tmp_path / "in")
    assert "0 files downloaded (0 bytes), 2 skipped" in again.out


def test_json_has_the_same(bioqa, url, tmp_path):
    done = bioqa("fetch", "pubmed", "--baseline", "--into", tmp_path / "in", "--files", "2", "--json")
    record = json.loads(done.out)
    assert record.pop("seconds") < 10
    assert record == {
        "into": str(tmp_path / "in"),
        "fetched": 1,
        "skipped": 0,
        "failed": [],
        "bytes": 200_000,
        "snapshot": NAMES[1],
        "snapshot_date": "",
        "unlisted": [],
    }


def test_a_failed_file_is_named_and_the_exit_code_is_3(bioqa, url, files, tmp_path):
    (files / f"{NAMES[0]}.md5").unlink()
    done = bioqa("fetch", "pubmed", "--baseline", "--into", tmp_path / "in", "--json")
    assert done.code == 3
    assert json.loads(done.out)["fetched"] == 1
    assert json.loads(done.out)["failed"] == [{"name": f"baseline/{NAMES[0]}", "reason": "HTTP 404 File not found"}]
    assert done.err.splitlines()[-1] == (
        f"Error: 1 of 2 files could not be downloaded: baseline/{NAMES[0]} (HTTP 404 File not found). "
        "Run the same command again to resume."
    )


def test_files_of_another_year_cause_a_warning(bioqa, url, tmp_path):
    (tmp_path / "in" / "baseline").mkdir(parents=True)
    (tmp_path / "in" / "baseline" / "pubmed25n0001.xml.gz").write_bytes(b"old")
    done = bioqa("fetch", "pubmed", "--baseline", "--into", tmp_path / "in")
    assert done.code == 0
    assert "1 file that the server no longer lists, the first baseline/pubmed25n0001.xml.gz." in done.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Give --baseline, --updates or both."),
        (["--baseline", "--files", "9-1000"], 2, "No file matches '9-1000'"),
        (["--baseline", "--jobs", 99], 2, "--jobs"),
        (["--updates", "--retries", 0], 3, "updatefiles/ cannot be read: HTTP 404"),
        (["--baseline", "--base-url", "nonsense"], 2, "'nonsense' is not the address of a server"),
    ],
)
def test_invalid_requests_are_refused_in_a_sentence(bioqa, url, tmp_path, arguments, code, message):
    done = bioqa("fetch", "pubmed", "--into", tmp_path / "in", *arguments)
    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_a_target_that_is_a_file_exits_with_7(bioqa, url, files):
    done = bioqa("fetch", "pubmed", "--baseline", "--into", files / NAMES[0])
    assert done.code == 7
    assert "cannot be written" in done.err


def test_help_acknowledges_nlm(bioqa, url):
    text = bioqa("fetch", "pubmed", "--help").out
    assert "courtesy of the U.S. National Library of Medicine" in " ".join(text.split())
    assert "BIOQA_PUBMED_URL" in text


def test_ctrl_c_exits_with_130_at_once_and_the_same_command_resumes(bioqa, url, handler, tmp_path):
    handler.silent.add(NAMES[0])
    command = ["fetch", "pubmed", "--baseline", "--into", str(tmp_path / "in")]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, *command], stderr=subprocess.PIPE, cwd=REPOSITORY)
    part = tmp_path / "in" / "baseline" / f"{NAMES[0]}.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > SIZE // 4) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=8)
    assert process.returncode == 130
    assert err.decode().splitlines()[-1] == "Interrupted."
    assert part.stat().st_size <= SIZE // 2
    assert not part.with_suffix("").exists()
    assert bioqa(*command).code == 0
    assert not part.exists()
    assert part.with_suffix("").stat().st_size == SIZE


def test_the_command_loads_nothing_heavy():
    program = "import sys, bioqa.cli.fetch\nprint([m for m in ('torch', 'numpy', 'urllib.request', 'tqdm') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"
