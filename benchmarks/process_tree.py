"""Time and peak memory of a process tree: a command and all the workers that it starts."""

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import psutil

from benchmarks.machine import time_process

PAUSE = 0.1
MEMORY_NOTE = (
    "peak_rss_mib is the highest sum of resident memory over the process and all its children, sampled every 0.1 s; shared "
    "pages count once per process. peak_private_mib is the same without file-backed and shared pages (mapped index files)"
)


class TreeTiming(NamedTuple):
    """Wall and CPU seconds, and the highest sums over all processes of resident and of private memory, in MiB."""

    wall: float
    cpu: float
    peak_rss_mib: float
    peak_private_mib: float


class _Sampler(threading.Thread):
    """Samples the memory of this process's children until it is stopped."""

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
                except psutil.Error:  # it has ended in the meantime
                    continue
                resident += memory.rss
                private += memory.rss - getattr(memory, "shared", 0)
            self.resident = max(self.resident, resident)
            self.private = max(self.private, private)


def time_tree(command: Sequence[str], env: Mapping[str, str] | None = None) -> TreeTiming:
    """Run a command as ``time_process`` does, and measure it together with all its descendants.

    Raises:
        RuntimeError: the exit code is not 0; the message contains the output.
    """
    sampler = _Sampler()
    sampler.start()
    try:
        timing = time_process(command, env)
    finally:
        sampler.ended.set()
        sampler.join()
    return TreeTiming(timing.wall, timing.cpu, sampler.resident / 2**20, sampler.private / 2**20)
