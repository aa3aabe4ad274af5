"""Fetch PubMed's baseline and update files from NLM's server: in parallel, resumed after a break, checked against .md5 files.

A file gets its name only once its checksum is right; until then it is a ``.part`` file, from which the next fetch resumes.
Layout of the server: https://ftp.ncbi.nlm.nih.gov/pubmed/baseline/README.txt
"""

import hashlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from bioqa.errors import SourceError, UsageError
from bioqa.fetch.listing import RemoteFile, file_filter, parse_listing, parse_md5
from bioqa.fetch.server import BASE_URL, FailedError, Server, StoppedError, TransferError, checked_url
from bioqa.io.locks import locked
from bioqa.io.output import RESUME_HINT, open_no_follow, output_errors, replacing

_PROGRESS_SECONDS = 0.2
_STOP_SECONDS = 1.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A file (folder/name) that could not be fetched, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """Files and bytes done, including those that existed already, and in total; the total of bytes is approximate at first."""

    files_done: int
    files: int
    bytes_done: int
    bytes: int


@dataclass(frozen=True, slots=True)
class FetchReport:
    """The result of a fetch.

    The numbers of files ``fetched`` and ``skipped`` because they existed already, ``bytes`` received and wall ``seconds``.
    ``snapshot`` is the latest file of the listings and ``snapshot_date`` its date there ("" if it has none). ``unlisted`` are
    PubMed files in the folders that the server no longer lists, such as those of another year.
    """

    into: str
    fetched: int
    skipped: int
    failed: tuple[FetchFailure, ...]
    bytes: int
    seconds: float
    snapshot: str
    snapshot_date: str
    unlisted: tuple[str, ...]


# Of a file: True if it was fetched, False if it existed already.
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
    """Fetch PubMed's baseline into ``into/baseline`` and its update files into ``into/updatefiles``, each with its .md5 file.

    ``files`` selects among them (see ``file_filter``). ``base_url`` is the folder that contains the two. ``jobs`` files are fetched
    at a time. Temporary failures are retried ``retries`` times, after 1, 2, 4, … seconds or the server's Retry-After. ``timeout``
    is the longest silence of the server in seconds, and the longest time for its headers; less than 1,000 bytes a second counts as
    silence. ``sleep`` replaces waiting in tests. ``note`` is called with a sentence for each retry, in the thread where it happens.
    A file that fails for good is in the report and does not stop the others.

    Raises:
        UsageError: no files are selected, or an argument is out of range.
        SourceError: the server cannot be reached, or its listing has no PubMed files.
        OutputError: ``into`` cannot be written, the disk is full, or another fetch into it is running.
    """
    started = time.monotonic()
    folders = ["baseline"] * baseline + ["updatefiles"] * updates
    if not folders:
        raise UsageError("Nothing to fetch was named. Give --baseline, --updates or both.")
    if jobs < 1 or retries < 0 or not 0 < timeout <= 86_400:
        raise UsageError(
            "A fetch needs at least 1 job, at least 0 retries, and a timeout above 0 and of at most 86,400 seconds."
        )
    wanted = file_filter(files)
    stop = threading.Event()
    note = note or (lambda text: None)
    server = Server(
        checked_url(base_url),
        timeout=timeout,
        retries=retries,
        stop=stop,
        wait=stop.wait if sleep is None else sleep,
        note=note,
    )
    fetcher = _Fetcher(Path(into), server)
    with closing(server), locked(Path(into), "fetch"):
        listed = [file for folder in folders for file in fetcher.listing(folder)]
        chosen = [file for file in listed if wanted(file)]
        if not chosen:
            raise UsageError(f"No file matches {files!r}: the server has {listed[0].name} to {listed[-1].name}.")
        size = sum(file.size for file in chosen) / 1e9
        note(f"Files: {len(chosen):,}" + (f", about {size:,.2f} GB." if size else "."))
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
        unlisted=_unlisted(Path(into), folders, {file.key for file in listed}),
    )


def _unlisted(into: Path, folders: list[str], listed: set[str]) -> tuple[str, ...]:
    present = {f"{folder}/{p.name}" for folder in folders for p in (into / folder).glob("pubmed*.xml.gz")}
    return tuple(sorted(present - listed))


@dataclass
class _Fetcher:
    """A fetch: workers take files from a queue; the thread that calls ``run`` collects the outcomes."""

    root: Path
    server: Server
    # By file, so that each number has one writer: bytes on disk, total bytes, bytes received.
    done: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)

    def listing(self, folder: str) -> list[RemoteFile]:
        """The PubMed files in a folder of the server."""
        url = f"{self.server.url}{folder}/"
        hint = "Check the network; --base-url or BIOQA_PUBMED_URL names the folder that contains baseline/ and updatefiles/."
        try:
            page = self._repeat(url, partial(self.server.read, f"{folder}/"))
        except FailedError as problem:
            raise SourceError(f"The listing {url} cannot be read: {problem}. {hint}") from None
        found = parse_listing(page.decode(errors="replace"), folder)
        if not found:
            raise SourceError(f"The page {url} lists no files like pubmed26n0001.xml.gz. {hint}")
        return found

    def run(self, files: list[RemoteFile], jobs: int, progress: Callable[[FetchProgress], None]) -> list[_Outcome]:
        """Fetch the files; Ctrl-C and errors that concern all files first stop the workers."""
        self.sizes = {file.key: file.size for file in files}
        self.done, self.received = dict.fromkeys(self.sizes, 0), dict.fromkeys(self.sizes, 0)
        waiting, ended = deque(files), queue.SimpleQueue[_Outcome | BaseException]()
        # Daemons: a worker that waits for a silent server must not keep the process from exiting.
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
                    outcome = ended.get(timeout=_PROGRESS_SECONDS)
                    if isinstance(outcome, BaseException):
                        raise outcome
                    outcomes.append(outcome)
                done, size = sum(self.done.values()), sum(self.sizes.values())
                progress(FetchProgress(len(outcomes), len(files), done, max(done, size)))
            return outcomes
        finally:
            self.server.stop.set()
            end = time.monotonic() + _STOP_SECONDS
            for worker in (worker for worker in workers if worker.ident):
                worker.join(max(0.0, end - time.monotonic()))

    def _work(self, waiting: deque[RemoteFile], ended: "queue.SimpleQueue[_Outcome | BaseException]") -> None:
        while True:
            try:
                file = waiting.popleft()
            except IndexError:
                return
            try:
                ended.put(self._repeat(file.key, partial(self._fetch, file)))
            except FailedError as problem:
                self.done[file.key] = self.sizes[file.key] = 0
                ended.put(FetchFailure(file.key, str(problem)))
            except StoppedError:
                return
            except BaseException as problem:
                ended.put(problem)
                return

    def _repeat(self, name: str, attempt: Callable[[], _T]) -> _T:
        """The result of ``attempt``, repeated after a TransferError until the retries are used up.

        urllib3 retries requests until a response arrives, and nothing after. Here the same class counts and waits for what can fail
        later: a body that breaks off, which is resumed from its last byte, and a wrong checksum.
        """
        retries = self.server.retries(name)
        while True:
            try:
                return attempt()
            except TransferError as problem:
                retries = self.server.try_again(retries, problem)

    def _fetch(self, file: RemoteFile) -> bool:
        """An attempt at a file and its .md5 file: True if it was fetched, False if it existed already."""
        target = self.root / file.folder / file.name
        part, md5, md5_part = (target.with_name(file.name + end) for end in (".part", ".md5", ".md5.part"))
        content = self.server.read(f"{file.key}.md5")
        checksum = parse_md5(content.decode(errors="replace"))
        if checksum is None:
            raise TransferError("its .md5 file on the server has no checksum")
        with output_errors(target, RESUME_HINT):
            target.parent.mkdir(exist_ok=True)
            for path in (part, md5_part):
                if path.is_symlink() or (path.exists() and not path.is_file()):
                    raise OSError(None, f"{path.name} is not a regular file")
            if md5_part.is_file() and md5_part.read_bytes() != content:
                part.unlink(missing_ok=True)  # part of an earlier version of the file
            with replacing(md5_part) as file_part:
                file_part.write_bytes(content)
            fetched = _md5(target) != checksum
            if fetched:
                self._complete(file, part, checksum)
                part.replace(target)
            md5_part.replace(md5)
            self.done[file.key] = self.sizes[file.key] = target.stat().st_size
        return fetched

    def _complete(self, file: RemoteFile, part: Path, checksum: str) -> None:
        """Download the rest of ``part`` and delete it if the checksum is wrong."""
        found = _md5(part)
        if found == checksum:
            return
        self._download(file, part)
        found = _md5(part)
        if found != checksum:
            part.unlink()
            self.done[file.key] = 0
            raise TransferError(f"its checksum is {found}, but {checksum} in its .md5 file")

    def _download(self, file: RemoteFile, part: Path) -> None:
        response, start = self.server.open(file.key, part.stat().st_size if part.is_file() else 0)
        with response, open(part, "ab" if start else "wb", opener=open_no_follow) as out:
            self.done[file.key] = start
            if response.length_remaining is not None:
                self.sizes[file.key] = start + response.length_remaining
            for chunk in self.server.chunks(response, file.max_bytes - start):
                out.write(chunk)
                self.done[file.key] += len(chunk)
                self.received[file.key] += len(chunk)


def _md5(path: Path) -> str | None:
    """The MD5 checksum of a file in hexadecimal digits, None if there is no such file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
