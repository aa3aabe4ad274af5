"""What each benchmark needs: the machine and versions a result was made with, timing of whole processes, writing the result."""

import datetime
import json
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
"""What benchmarks make and can use again."""
PACKAGES = ("bioqa", "torch", "transformers", "sentence-transformers", "pyserini", "ranx")


def shared_data() -> Path:
    """The folder of real data: BIOQA_SHARED_DATA, else ../shared/data beside the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("BIOQA_SHARED_DATA", default))


def environment() -> dict[str, Any]:
    """Date, processor, cores, memory in GiB, Python and package versions."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        processor = names[0] if names else processor
    return {
        "date": datetime.date.today().isoformat(),
        "processor": processor,
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
    }


class Timing(NamedTuple):
    """Wall and processor seconds of a process with its children, and its peak resident memory in MiB."""

    wall: float
    cpu: float
    peak_mib: float


def time_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Timing:
    """Run a command to its end, its output to a file, and account for it.

    Raises:
        RuntimeError: it exits with another code than 0; the message holds its output.
    """
    with tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(
                f"{command} exited with {process.returncode}: {output.read().decode(errors='replace')[-2000:]}"
            )
    return Timing(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def medians(timings: Sequence[Timing]) -> dict[str, float]:
    """Median of each figure, with the range of the wall time."""
    wall = [timing.wall for timing in timings]
    return {
        "wall_s": round(statistics.median(wall), 3),
        "wall_min_s": round(min(wall), 3),
        "wall_max_s": round(max(wall), 3),
        "cpu_s": round(statistics.median(timing.cpu for timing in timings), 3),
        "peak_mib": round(statistics.median(timing.peak_mib for timing in timings)),
    }


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write the result as JSON and print it."""
    text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    print(text)
