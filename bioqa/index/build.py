"""Corpus files → Lucene index, file by file on all cores; after a kill the same command goes on from the last commit.

Each worker process makes a shard of one source; this process adds it to the index and commits, with the list of sources taken in,
at most once in ``COMMIT_SECONDS``. Commits are marked "building" until the last, which drops all but the winning record of each
PMID and is marked "complete". Readers open the last complete commit, so they see the index as it was before, or none.
"""

import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus.sources import Source, expand_sources, gaps
from bioqa.errors import IndexStateError, SetupError, SourceError, UsageError
from bioqa.index.jvm import limit_memory
from bioqa.index.manifest import Manifest
from bioqa.index.shard import Taken, build_shard, checksum, start_worker, take
from bioqa.index.writer import add_shard, has_commit, latest_manifest, open_writer, resolve

COMMIT_SECONDS = 60.0
SMALL_BYTES = 32_000_000
"""Sources smaller than this in all are read in this process: workers take a second to start."""
SHARDS = "shards"
"""The folder inside an index that a build keeps its shards in while it runs."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did: articles in the index now, articles and deletions read, bad records skipped, wall seconds.

    ``resumed`` counts the sources that an earlier, killed run of the same build had taken in.
    """

    documents: int
    articles: int
    deletions: int
    skipped: int
    seconds: float
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """How far a build is: sources done and in all, articles and bytes of sources read so far, and bytes in all."""

    sources_done: int
    sources: int
    articles: int
    bytes_done: int
    bytes: int


def check_target(path: Path) -> None:
    """Raise IndexStateError where ``path`` holds anything but an index, finished or not."""
    if path.exists() and not path.is_dir():
        raise IndexStateError(f"{path} is a file. An index is a folder: give another path.")
    if not path.is_dir():
        return
    own = ("_", "segments", "pending_segments")
    strangers = [p.name for p in path.iterdir() if not p.name.startswith(own) and p.name not in ("write.lock", SHARDS)]
    if strangers:
        raise IndexStateError(
            f"{path} holds files that are not an index ({strangers[0]}). Give an empty or a new folder."
        )


class _Build:
    """The state of a build: the writer, the manifest as of the next commit, and what was told of the way."""

    def __init__(self, writer: Any, manifest: Manifest, progress: Callable[[BuildProgress], None] | None) -> None:
        self.writer = writer
        self.manifest = manifest
        self.progress = progress
        self.sources: list[Source] = []
        self.sizes: dict[int, int] = {}
        self.messages: list[str] = []
        self.articles = sum(entry.articles for entry in manifest.sources)
        self.committed = time.monotonic()

    def add(self, taken: Taken) -> None:
        """Note a source whose documents are in the writer."""
        self.manifest = self.manifest.with_source(taken.entry, taken.snapshot, list(taken.deletions))
        self.messages += taken.messages
        self.tell(0)

    def tell(self, articles: int) -> None:
        """Report progress: so many more articles in the source that is being read."""
        self.articles += articles
        if self.progress:
            done = [entry.order for entry in self.manifest.sources]
            read = sum(self.sizes[order] for order in done)
            self.progress(BuildProgress(len(done), len(self.sources), self.articles, read, sum(self.sizes.values())))

    def commit(self, manifest: Manifest | None = None) -> None:
        """Make what is in the writer durable, with what it came from."""
        self.writer.setLiveCommitData((manifest or self.manifest).to_user_data())
        self.writer.commit()
        self.committed = time.monotonic()

    def finish(self) -> int:
        """Drop all but the winners and commit as complete; the documents then in the index."""
        resolve(self.writer, None, self.manifest.deletions)
        documents = int(self.writer.getDocStats().numDocs)
        self.commit(self.manifest.completed(documents))
        return documents


def build_index(
    path: str | Path,
    sources: Sequence[str | Path],
    *,
    overwrite: bool = False,
    skip_bad: bool = False,
    workers: int | None = None,
    memory_mb: int | None = None,
    note: Callable[[str], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> BuildReport:
    """Build a Lucene index at ``path`` from corpus files, folders and globs; later sources win over earlier ones.

    A build that was killed goes on where its last commit was when it is called again with the same sources. An index already at
    ``path`` is replaced, in one step at the end, only under ``overwrite``. ``workers`` processes (the cores, unless given) share
    ``memory_mb`` MiB of Java memory (a quarter of the machine's, unless given). Malformed records end the build, or are skipped,
    counted and described to ``note`` under ``skip_bad``.

    Raises:
        SourceError: a source is missing, unreadable or malformed, differs from the one taken in before, or none has an article.
        IndexStateError: there is an index already, or another program is writing it.
        OutputError: the folder cannot be written.
        UsageError: ``workers`` or ``memory_mb`` is too small.
    """
    started = time.monotonic()
    path = Path(path)
    workers, memory_mb = _resources(workers, memory_mb)
    check_target(path)
    note = note or (lambda text: None)
    found = expand_sources(sources)
    for name in gaps([source.path for source in found]):
        note(f"Gap in the files: {name} is missing.")
    fresh = not path.exists()
    limit_memory(memory_mb // (workers + 1))
    manifest = _resume(path, found, overwrite)
    try:
        with open_writer(path, create=not manifest.sources, ram_mb=_ram(memory_mb, workers)) as writer:
            build = _Build(writer, manifest, progress)
            _read(build, found, path, workers, memory_mb, skip_bad=skip_bad, note=note)
            documents = build.finish()
    finally:
        shutil.rmtree(path / SHARDS, ignore_errors=True)
        if fresh and path.is_dir() and not has_commit(path):
            _remove_empty(path)
    entries = build.manifest.sources
    return BuildReport(
        documents=documents,
        articles=sum(entry.articles for entry in entries),
        deletions=sum(entry.deletions for entry in entries),
        skipped=sum(entry.skipped for entry in entries),
        seconds=time.monotonic() - started,
        resumed=len(manifest.sources),
    )


def _resources(workers: int | None, memory_mb: int | None) -> tuple[int, int]:
    workers = workers if workers is not None else (os.cpu_count() or 1)
    if workers < 1:
        raise UsageError(f"The number of workers must be 1 or more, not {workers}.")
    if memory_mb is None:
        memory_mb = max(1024, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 // 4)
    least = 256 * (workers + 1)
    if memory_mb < least:
        raise UsageError(f"{workers} workers need {least} MiB of memory or more, not {memory_mb}. Use fewer workers.")
    return workers, memory_mb


def _ram(memory_mb: int, workers: int) -> float:
    """Lucene's buffer for documents: a third of a process's share, the rest being for merging and the JVM."""
    return memory_mb / (workers + 1) / 3


def _resume(path: Path, sources: Sequence[Source], overwrite: bool) -> Manifest:
    """The manifest to go on from: that of a killed build of the same sources, else an empty one."""
    plan = tuple(str(source.path.resolve()) for source in sources)
    from bioqa import __version__

    empty = Manifest(version=__version__, plan=plan)
    if not path.is_dir() or not has_commit(path):
        return empty
    manifest = latest_manifest(path)
    if manifest is None or manifest.state != "building":
        if overwrite:
            return empty
        raise IndexStateError(f"{path} already holds an index. Build elsewhere, or pass --overwrite to replace it.")
    if manifest.plan == plan:
        _check_unchanged(manifest, sources)
        return manifest
    if overwrite:
        return empty
    raise IndexStateError(
        f"{path} is half built, from other sources than these. Run the command that began it again, or pass --overwrite to begin "
        "anew."
    )


def _check_unchanged(manifest: Manifest, sources: Sequence[Source]) -> None:
    """Raise SourceError where a source is not what it was when it was taken in."""
    for entry in manifest.sources:
        file = sources[entry.order].file
        if checksum(file) != (entry.size, entry.md5):
            raise SourceError(
                f"{file} differs from the file of that name that was taken in before. Put that one back, or pass "
                "--overwrite and begin anew."
            )


def _read(
    build: _Build,
    sources: Sequence[Source],
    path: Path,
    workers: int,
    memory_mb: int,
    *,
    skip_bad: bool,
    note: Callable[[str], None],
) -> None:
    """Take in every source that the manifest does not hold yet."""
    build.sources = list(sources)
    build.sizes = {order: source.file.stat().st_size for order, source in enumerate(sources)}
    done = {entry.order for entry in build.manifest.sources}
    pending = [(order, source) for order, source in enumerate(sources) if order not in done]
    build.tell(0)
    taken: Iterator[Taken]
    small = sum(build.sizes[order] for order, _ in pending) < SMALL_BYTES
    if workers == 1 or len(pending) < 2 or small:
        taken = (take(build.writer, source, order, skip_bad=skip_bad, progress=build.tell) for order, source in pending)
    else:
        taken = _from_workers(build, pending, path / SHARDS, min(workers, len(pending)), memory_mb, skip_bad=skip_bad)
    for one in taken:
        build.add(one)
        for message in one.messages:
            note(f"Skipped: {message}")
        if one.entry.skipped > len(one.messages):
            note(f"Skipped: {one.entry.skipped - len(one.messages):,} more in {one.entry.path}")
        if time.monotonic() - build.committed > COMMIT_SECONDS:
            build.commit()
    if not any(entry.articles for entry in build.manifest.sources):
        names = ", ".join(str(source.path) for source in sources[:5])
        raise SourceError(f"No article was found in {names}: nothing to index.")


def _from_workers(
    build: _Build, pending: Sequence[tuple[int, Source]], folder: Path, workers: int, memory_mb: int, *, skip_bad: bool
) -> Iterator[Taken]:
    """Have worker processes make shards, and add each to the index as it comes; few wait at a time, to bound the disk space."""
    shutil.rmtree(folder, ignore_errors=True)
    folder = folder / str(os.getpid())  # workers of a killed build may live for half a second more
    share = memory_mb // (workers + 1)
    queue = list(reversed(pending))
    running: dict[Future[Taken], Path] = {}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, start_worker, (share, os.getpid())) as pool:
        while queue or running:
            while queue and len(running) < workers + 1:
                order, source = queue.pop()
                shard = folder / str(order)
                running[pool.submit(build_shard, source, order, shard, share / 3, skip_bad)] = shard
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                shard = running.pop(future)
                try:
                    taken = future.result()
                except BrokenProcessPool:
                    raise SetupError(
                        "A worker process was killed, most likely for want of memory. Use fewer --workers; the same command goes "
                        "on where the build was."
                    ) from None
                add_shard(build.writer, shard)
                shutil.rmtree(shard)
                build.articles += taken.entry.articles
                yield taken


def _remove_empty(path: Path) -> None:
    (path / "write.lock").unlink(missing_ok=True)
    if not any(path.iterdir()):
        path.rmdir()
