"""Corpus files → Lucene index, one file at a time on every core; an interrupted build resumes from its last commit.

Each worker process builds a shard from one source; this process adds it to the index and commits, with the list of indexed sources,
at most once every ``COMMIT_SECONDS``. Commits are marked "building" until the last, which keeps only the latest record of each PMID
and is marked "complete". Readers open the last complete commit, so they see the index as it was before the build, or none.
"""

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.corpus.sources import Source, expand_sources, gaps, split_source
from bioqa.errors import BioqaError, IndexStateError, SourceError, UsageError
from bioqa.index.jvm import limit_memory
from bioqa.index.manifest import Manifest
from bioqa.index.shard import ShardReport, build_shard, checksum, index_source
from bioqa.index.vector_store import EMBEDDING
from bioqa.index.worker_pool import WorkerPool
from bioqa.index.writer import (
    OWN_FILES,
    add_shard,
    close_writer,
    commit,
    document_count,
    has_commit,
    is_readable,
    keep_latest_records,
    latest_manifest,
    open_writer,
    remove_damaged,
    write_lock,
)

COMMIT_SECONDS = 60.0
SMALL_BYTES = 32_000_000
"""Sources of fewer bytes in total are read in this process: workers take a second to start."""
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux keeps the limit of memory in bytes, in its control groups' second and first version."""
SHARDS = "shards"
"""The folder inside an index that contains the shards of a running build."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """The result of a build: articles in the index, articles and deletions read, malformed records skipped, wall seconds.

    ``resumed`` counts the sources that an earlier, interrupted run of the same build had indexed.
    """

    documents: int
    articles: int
    deletions: int
    skipped: int
    seconds: float
    resumed: int = 0


@dataclass(frozen=True, slots=True)
class BuildProgress:
    """Progress of a build: sources done and in total, articles read, bytes of sources done and in total."""

    sources_done: int
    sources: int
    articles: int
    bytes_done: int
    bytes: int


def check_target(path: Path) -> None:
    """Raise IndexStateError if ``path`` contains anything but an index, finished or not."""
    if path.exists() and not path.is_dir():
        raise IndexStateError(f"{path} is a file, but an index is a folder. Choose another path.")
    if not path.is_dir():
        return
    others = [
        p.name
        for p in path.iterdir()
        if not p.name.startswith(OWN_FILES) and p.name not in ("write.lock", SHARDS, EMBEDDING)
    ]
    if others:
        raise IndexStateError(
            f"{path} contains files that are not part of an index ({others[0]}). Choose an empty or a new folder."
        )


class _Build:
    """The state of a build: the writer, the manifest for the next commit, and progress."""

    def __init__(self, writer: Any, manifest: Manifest, progress: Callable[[BuildProgress], None] | None) -> None:
        self.writer = writer
        self.manifest = manifest
        self.progress = progress
        self.sources: list[Source] = []
        self.sizes: dict[int, int] = {}
        self.articles = sum(entry.articles for entry in manifest.sources)
        self.committed = time.monotonic()

    def add(self, report: ShardReport) -> None:
        """Record a source whose documents are in the writer."""
        self.manifest = self.manifest.with_source(report.entry, report.snapshot, list(report.deletions))
        self.report_progress(0)

    def report_progress(self, articles: int) -> None:
        """Report progress, with ``articles`` more articles read from the current source."""
        self.articles += articles
        if self.progress:
            done = [entry.order for entry in self.manifest.sources]
            read = sum(self.sizes[order] for order in done)
            self.progress(BuildProgress(len(done), len(self.sources), self.articles, read, sum(self.sizes.values())))

    def commit(self, manifest: Manifest | None = None) -> None:
        """Commit the documents in the writer together with the manifest."""
        commit(self.writer, manifest or self.manifest)
        self.committed = time.monotonic()

    def finish(self) -> int:
        """Keep only the latest records, commit as complete, and return the number of documents."""
        keep_latest_records(self.writer, None, self.manifest.deletions)
        documents = document_count(self.writer)
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

    An interrupted build resumes from its last commit when called again with the same sources. An existing index at ``path`` is
    replaced, in one step at the end, only with ``overwrite``. ``workers`` processes (one per core by default) share ``memory_mb``
    MiB of Java memory (a quarter of the machine's by default). A malformed record aborts the build; with ``skip_bad`` it is
    skipped, counted and reported to ``note``, which is also called with a message for each gap in PubMed's file sequence.

    Raises:
        SourceError: a source is missing, unreadable or malformed, has changed since it was indexed, or no source has an article.
        IndexStateError: there already is an index, or another program is writing it.
        OutputError: the folder cannot be written.
        UsageError: ``workers`` or ``memory_mb`` is too small.
    """
    started = time.monotonic()
    path = Path(path)
    workers, memory_mb = _resources(workers, memory_mb)
    check_target(path)
    note = note or (lambda text: None)
    found = [part for source in expand_sources(sources) for part in split_source(source)]
    for name in gaps([source.path for source in found]):
        note(f"Gap in the files: {name} is missing.")
    fresh = not path.exists()
    limit_memory(memory_mb // (workers + 1))
    if overwrite and path.is_dir() and has_commit(path) and not is_readable(path):
        remove_damaged(path)
    manifest = _resume(path, found, overwrite)
    with open_writer(path, create=not manifest.sources, ram_mb=_ram(memory_mb, workers)) as writer:
        try:
            build = _Build(writer, manifest, progress)
            _index_sources(build, found, path, workers, memory_mb, skip_bad=skip_bad, note=note)
            documents = build.finish()
        finally:  # while the lock is held: what another process builds here must not be touched
            shutil.rmtree(path / SHARDS, ignore_errors=True)
            failed = fresh and not has_commit(path)
            if failed:
                close_writer(writer)
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
        raise UsageError(f"The number of workers must be at least 1, not {workers}.")
    if memory_mb is None:
        memory_mb = max(1024, available_memory() // 2**20 // 4)
    least = 256 * (workers + 1)
    if memory_mb < least:
        raise UsageError(f"{workers} workers need at least {least} MiB of memory, not {memory_mb}. Use fewer workers.")
    return workers, memory_mb


def available_memory() -> int:
    """The bytes of memory that this process may use: the machine's, or its control group's where that is less."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # "max", or no such file
            memory = min(memory, int(limit.read_text()))
    return memory


def _ram(memory_mb: int, workers: int) -> float:
    """Lucene's document buffer in MiB: a third of a process's share; the rest is for merging and the JVM."""
    return memory_mb / (workers + 1) / 3


def _resume(path: Path, sources: Sequence[Source], overwrite: bool) -> Manifest:
    """The manifest to start from: that of an interrupted build of the same sources, or an empty one."""
    plan = tuple(f"{source.path.resolve()}{f'#{source.part.number}' if source.part else ''}" for source in sources)
    from bioqa import __version__

    empty = Manifest(version=__version__, plan=plan)
    if not path.is_dir() or not has_commit(path):
        return empty
    manifest = latest_manifest(path)
    if manifest is None or manifest.state != "building":
        if overwrite:
            return empty
        raise IndexStateError(
            f"{path} already contains an index. Choose another path, or pass --overwrite to replace it."
        )
    if manifest.plan == plan:
        _check_unchanged(manifest, sources)
        return manifest
    if overwrite:
        return empty
    raise IndexStateError(
        f"{path} contains an unfinished build from other sources. Run the command that started it again, or pass --overwrite to "
        "start over."
    )


def _check_unchanged(manifest: Manifest, sources: Sequence[Source]) -> None:
    """Raise SourceError if a source has changed since it was indexed."""
    for entry in manifest.sources:
        file = sources[entry.order].file
        if checksum(file) != (entry.size, entry.md5):
            raise SourceError(
                f"{file} has changed since this build indexed it. Restore it, or pass --overwrite to start over."
            )


def _index_sources(
    build: _Build,
    sources: Sequence[Source],
    path: Path,
    workers: int,
    memory_mb: int,
    *,
    skip_bad: bool,
    note: Callable[[str], None],
) -> None:
    """Index every source that is not in the manifest yet."""
    build.sources = list(sources)
    build.sizes = {
        order: source.part.bytes if source.part else source.file.stat().st_size for order, source in enumerate(sources)
    }
    done = {entry.order for entry in build.manifest.sources}
    pending = [(order, source) for order, source in enumerate(sources) if order not in done]
    build.report_progress(0)
    reports: Iterator[ShardReport]
    small = sum(build.sizes[order] for order, _ in pending) < SMALL_BYTES
    if workers == 1 or len(pending) < 2 or small:
        reports = (
            index_source(build.writer, source, order, skip_bad=skip_bad, progress=build.report_progress)
            for order, source in pending
        )
    else:
        reports = _from_workers(build, pending, path / SHARDS, min(workers, len(pending)), memory_mb, skip_bad=skip_bad)
    for report in reports:
        build.add(report)
        for message in report.messages:
            note(f"Skipped: {message}")
        if report.entry.skipped > len(report.messages):
            note(f"Skipped: {report.entry.skipped - len(report.messages):,} more in {report.entry.path}")
        if time.monotonic() - build.committed > COMMIT_SECONDS:
            build.commit()
    if not any(entry.articles for entry in build.manifest.sources):
        names = ", ".join(str(source.path) for source in sources[:5])
        raise SourceError(f"No articles found in {names}.")


def _from_workers(
    build: _Build, pending: Sequence[tuple[int, Source]], folder: Path, workers: int, memory_mb: int, *, skip_bad: bool
) -> Iterator[ShardReport]:
    """Have worker processes build shards, and add each to the index when it is done; few wait at a time, to limit disk use."""
    shutil.rmtree(folder, ignore_errors=True)
    folder = folder / str(os.getpid())  # workers of a killed build may live for another half second
    share = memory_mb // (workers + 1)
    queue = list(reversed(pending))
    running: dict[Future[ShardReport], Path] = {}
    with WorkerPool(workers, share) as pool:
        while queue or running:
            while queue and len(running) < workers + 1:
                order, source = queue.pop()
                shard = folder / str(order)
                running[pool.submit(build_shard, source, order, shard, share / 3, skip_bad)] = shard
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                shard = running.pop(future)
                report = future.result()
                add_shard(build.writer, shard)
                shutil.rmtree(shard)
                build.articles += report.entry.articles
                yield report


def _remove_empty(path: Path) -> None:
    """Remove a folder that a failed build left empty, unless another process has begun to build there."""
    with suppress(BioqaError, OSError), write_lock(path):
        (path / "write.lock").unlink()
        if not any(path.iterdir()):
            path.rmdir()
