"""PubMed's baseline and update files from NLM's server: parallel, gone on with after a break, checked against .md5 files.

A file gets its name only when its checksum is right; until then it is a ``.part``, which the next fetch goes on with.
Layout of the server: https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/README.txt
"""

import hashlib
import itertools
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from bioqa.errors import SourceError, UsageError
from bioqa.fetch.listing import RemoteFile, file_filter, parse_listing, parse_md5
from bioqa.fetch.server import BASE_URL, RefusedError, RetryError, Server, StoppedError, checked_url
from bioqa.io.locks import RESUME, locked
from bioqa.io.output import output_errors

_REPORT_SECONDS = 0.2
_LEAVE_SECONDS = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A file (folder/name) that could not be fetched, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is: files and bytes (with those that were there already) done and in all; sizes are rough at first."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What a fetch did.

    Counts of files fetched and of files skipped as already there, ``bytes`` received, wall ``seconds``; ``snapshot`` is the
    latest file of the listings and ``snapshot_date`` its date there ("" if it has none); ``strays`` are PubMed files in the
    folders that the server no longer lists, as those of another year.
    """

    into: str
    fetched: int
    skipped: int
    failed: tuple[FetchFailure, ...]
    bytes: int
    seconds: float
    snapshot: str
    snapshot_date: str
    strays: tuple[str, ...]


# What became of a file: True fetched, False there already.
_Outcome = FetchFailure | bool


def fetch_pubmed(
    into: str | Path,
    *,
    baseline: bool = False,
    updates: bool = False,
    files: str | None = None,
    base_url: str = BASE_URL,
    jobs: int = 4,
    retries: int = 5,
    timeout: float = 60.0,
    sleep: Callable[[float], object] | None = None,
    progress: Callable[[FetchProgress], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> FetchReport:
    """Fetch PubMed's baseline into ``into/baseline``, its update files into ``into/updatefiles``, each beside its .md5 file.

    ``files`` selects among them (``file_filter``). ``base_url`` is the folder that holds the two. ``jobs`` files are fetched
    at a time. What fails in passing is tried again ``retries`` times, after 1, 2, 4, … seconds or the server's Retry-After;
    ``timeout`` is how many seconds a server may send nothing. ``sleep`` takes the place of waiting in tests; ``note`` is told
    of each retry, in the thread where it happens. A file that fails for good is in the report and stops no other.

    Raises:
        UsageError: nothing, or nothing that the server has, is asked for; an argument out of its range.
        SourceError: the server cannot be reached, or its listing names no PubMed file.
        OutputError: ``into`` cannot be written, the disk is full, or another fetch is at work there.
    """
    started = time.monotonic()
    folders = ["baseline"] * baseline + ["updatefiles"] * updates
    if not folders:
        raise UsageError("Nothing to fetch was named. Give --baseline, --updates or both.")
    if jobs < 1 or retries < 0 or not 0 < timeout <= 86_400:
        raise UsageError("A fetch needs at least 1 job, 0 retries and a timeout above 0 seconds and of a day at most.")
    wanted = file_filter(files)
    stop = threading.Event()
    server = Server(checked_url(base_url), timeout, stop)
    fetcher = _Fetcher(Path(into), server, retries, stop.wait if sleep is None else sleep, note or (lambda text: None))
    with locked(Path(into)):
        listed = [file for folder in folders for file in fetcher.listing(folder)]
        chosen = [file for file in listed if wanted(file)]
        if not chosen:
            raise UsageError(f"No file is {files!r}: the server has {listed[0].name} to {listed[-1].name}.")
        size = sum(file.size for file in chosen) / 1e9
        fetcher.note(f"Files: {len(chosen):,}" + (f", about {size:,.2f} GB." if size else "."))
        outcomes = fetcher.run(chosen, jobs, progress or (lambda state: None))
    latest = max(listed, key=lambda file: file.order)
    return FetchReport(
        into=str(into),
        fetched=outcomes.count(True),
        skipped=outcomes.count(False),
        failed=tuple(sorted((o for o in outcomes if isinstance(o, FetchFailure)), key=lambda failure: failure.name)),
        bytes=sum(fetcher.received.values()),
        seconds=time.monotonic() - started,
        snapshot=latest.name,
        snapshot_date=latest.date,
        strays=_strays(Path(into), folders, {file.key for file in listed}),
    )


def _strays(into: Path, folders: list[str], listed: set[str]) -> tuple[str, ...]:
    here = {f"{folder}/{p.name}" for folder in folders for p in (into / folder).glob("pubmed*.xml.gz")}
    return tuple(sorted(here - listed))


@dataclass
class _Fetcher:
    """One fetch: workers take files from a queue; the thread that calls ``run`` gathers what became of them."""

    root: Path
    server: Server
    retries: int
    sleep: Callable[[float], object]
    note: Callable[[str], None]
    # By file, so that each number has one writer: bytes here now, bytes in all, bytes received.
    here: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    def listing(self, folder: str) -> list[RemoteFile]:
        """The PubMed files in a folder of the server."""
        url = f"{self.server.url}{folder}/"
        remedy = (
            "Check the network; --base-url or BIOQA_PUBMED_URL names the folder that holds baseline/ and updatefiles/."
        )
        try:
            page = self._retrying(url, partial(self.server.read, f"{folder}/"))
        except RefusedError as problem:
            raise SourceError(f"The listing {url} cannot be read: {problem}. {remedy}") from None
        found = parse_listing(page.decode(errors="replace"), folder)
        if not found:
            raise SourceError(f"The page {url} lists no file like pubmed26n0001.xml.gz. {remedy}")
        return found

    def run(self, files: list[RemoteFile], jobs: int, progress: Callable[[FetchProgress], None]) -> list[_Outcome]:
        """Fetch the files; Ctrl-C, and an error that concerns all files, stop the workers first."""
        self.sizes = {file.key: file.size for file in files}
        self.here, self.received = dict.fromkeys(self.sizes, 0), dict.fromkeys(self.sizes, 0)
        waiting, ended = deque(files), queue.SimpleQueue[_Outcome | BaseException]()
        # Daemons: one that hangs on a silent server must not keep the process from ending.
        workers = [
            threading.Thread(target=self._work, args=(waiting, ended), daemon=True)
            for _ in range(min(jobs, len(files)))
        ]
        outcomes: list[_Outcome] = []
        try:
            for worker in workers:
                worker.start()
            while len(outcomes) < len(files):
                with suppress(queue.Empty):
                    outcome = ended.get(timeout=_REPORT_SECONDS)
                    if isinstance(outcome, BaseException):
                        raise outcome
                    outcomes.append(outcome)
                here, size = sum(self.here.values()), sum(self.sizes.values())
                progress(FetchProgress(len(outcomes), len(files), here, max(here, size)))
            return outcomes
        finally:
            self.server.stop.set()
            end = time.monotonic() + _LEAVE_SECONDS
            for worker in (worker for worker in workers if worker.ident):
                worker.join(max(0.0, end - time.monotonic()))

    def _work(self, waiting: deque[RemoteFile], ended: "queue.SimpleQueue[_Outcome | BaseException]") -> None:
        while True:
            try:
                file = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put(self._retrying(file.key, partial(self._fetch, file)))
            except RefusedError as problem:
                self.here[file.key] = self.sizes[file.key] = 0
                ended.put(FetchFailure(file.key, str(problem)))
            except StoppedError:
                return
            except BaseException as problem:
                ended.put(problem)
                return

    def _retrying(self, what: str, attempt: Callable[[], _T]) -> _T:
        """What the attempt gives, tried again after growing waits; every failure ends as a RefusedError."""
        for turn in itertools.count(1):
            try:
                return attempt()
            except RetryError as problem:
                if turn > self.retries:
                    raise RefusedError(f"{problem}; attempts: {turn}" if turn > 1 else str(problem)) from None
                wait = problem.after
                if wait is None:
                    wait = min(60.0, 2.0 ** (turn - 1)) * random.uniform(0.5, 1.0)
                self.note(f"{what}: {problem}. Trying again in {wait:.0f} s.")
            self.sleep(wait)
        raise AssertionError

    def _fetch(self, file: RemoteFile) -> bool:
        """One attempt at a file and its .md5 file: True where it was fetched, False where it was there already."""
        target = self.root / file.folder / file.name
        part, md5, md5_part = (target.with_name(file.name + end) for end in (".part", ".md5", ".md5.part"))
        content = self.server.read(f"{file.key}.md5")
        checksum = parse_md5(content.decode(errors="replace"))
        if checksum is None:
            raise RetryError("its .md5 file on the server holds no checksum")
        with output_errors(target, RESUME):
            target.parent.mkdir(exist_ok=True)
            if md5_part.is_file() and md5_part.read_bytes() != content:
                part.unlink(missing_ok=True)  # begun when the server had another state of the file
            md5_part.write_bytes(content)
            fetched = _md5(target) != checksum
            if fetched:
                self._complete(file, part, checksum)
                part.replace(target)
            md5_part.replace(md5)
            self.here[file.key] = self.sizes[file.key] = target.stat().st_size
        return fetched

    def _complete(self, file: RemoteFile, part: Path, checksum: str) -> None:
        """Go on with ``part`` until it has the checksum; one that ends with another is deleted."""
        found = _md5(part)
        if found == checksum:
            return
        self._download(file, part)
        found = _md5(part)
        if found != checksum:
            part.unlink()
            self.here[file.key] = 0
            raise RetryError(f"its checksum is {found}, not {checksum} as the server says")

    def _download(self, file: RemoteFile, part: Path) -> None:
        response, start = self.server.open(file.key, part.stat().st_size if part.is_file() else 0)
        with response, part.open("ab" if start else "wb") as out:
            self.here[file.key] = start
            if response.length is not None:
                self.sizes[file.key] = start + response.length
            for chunk in self.server.chunks(response):
                out.write(chunk)
                self.here[file.key] += len(chunk)
                self.received[file.key] += len(chunk)


def _md5(path: Path) -> str | None:
    """The checksum of a file in hex; None where there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
