"""Shared by all benchmarks: the environment of a result, timing of whole processes, writing the result."""

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bioqa.bench.environment import environment

__all__ = ["DATA", "RESULTS", "Timing", "environment", "medians", "shared_data", "time_process", "write_result"]

RESULTS = Path(__file__).parent / "results"
DATA = Path(__file__).resolve().parents[1] / "build" / "benchmarks"
"""Files that benchmarks create and reuse."""


def shared_data() -> Path:
    """The folder with real data: BIOQA_SHARED_DATA, or shared/data next to the checkout."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("BIOQA_SHARED_DATA", default))


class Timing(NamedTuple):
    """Wall and CPU seconds of a process and its children, and its peak resident memory in MiB."""

    wall: float
    cpu: float
    peak_mib: float


def time_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Timing:
    """Run a command to completion and measure it; its output goes to a temporary file.

    Raises:
        RuntimeError: the command failed; the message contains the end of its output.
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
    """The median of each measurement, and the range of wall times."""
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
