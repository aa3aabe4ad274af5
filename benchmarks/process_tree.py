"""Time and peak memory of a whole tree of processes: a command with all the workers that it starts."""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil

from benchmarks.machine import time_process

PAUSE = 0.1
MEMORY_NOTE = (
    "peak_rss_mib is the highest sum of resident memory over the process and all its children, sampled every 0.1 s: pages that "
    "processes share count once for each. peak_private_mib is the same without file-backed and shared pages (mapped index files)"
)


class TreeTiming(NamedTuple):
    """Wall and processor seconds, and the highest sums over the tree's processes of resident memory and of private memory, MiB."""

    wall: float
    cpu: float
    peak_rss_mib: float
    peak_private_mib: float


class _Sampler(threading.Thread):
    """Watches the children of this process until it is stopped."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.resident = self.private = 0
        self.ended = threading.Event()

    def run(self) -> None:
        here = psutil.Process()
        while not self.ended.wait(PAUSE):
            resident = private = 0
            for process in here.children(recursive=True):
                try:
                    memory = process.memory_info()
                except psutil.Error:  # it has ended meanwhile
                    continue
                resident += memory.rss
                private += memory.rss - getattr(memory, "shared", 0)
            self.resident = max(self.resident, resident)
            self.private = max(self.private, private)


def time_tree(command: Sequence[str], env: Mapping[str, str] | None = None) -> TreeTiming:
    """Run a command to its end, as ``time_process`` does, and account for it with all processes below it.

    Raises:
        RuntimeError: it exits with another code than 0; the message holds its output.
    """
    sampler = _Sampler()
    sampler.start()
    try:
        timing = time_process(command, env)
    finally:
        sampler.ended.set()
        sampler.join()
    return TreeTiming(timing.wall, timing.cpu, sampler.resident / 2**20, sampler.private / 2**20)
