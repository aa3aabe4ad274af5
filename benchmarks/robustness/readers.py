"""One process updates an index in a loop while others open and search it in a loop; no reader may fail.

    python -m benchmarks.robustness.readers --seconds 60 --readers 4

The result goes to ``benchmarks/results/robustness-readers.json``.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, environment, write_result

REPOSITORY = Path(__file__).resolve().parents[2]
WRITER = """
import json, sys, time
from pathlib import Path
from bioqa.index.update import update_index
index, folder, end = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + float(sys.argv[3])
commits = 0
while time.monotonic() < end:
    file = folder / f"update{commits:06}.jsonl"
    ids = range(commits % 7, 400, 7)
    records = [{"id": str(n), "title": f"Revision {commits}", "text": f"common gene number {n}"} for n in ids]
    file.write_text("".join(json.dumps(one) + "\\n" for one in records))
    update_index(index, [file])
    commits += 1
print(json.dumps({"commits": commits}))
"""
READER = """
import json, sys, time
from bioqa import BM25Retriever, Index
end = time.monotonic() + float(sys.argv[2])
opened, failures, counts = 0, [], set()
while time.monotonic() < end:
    try:
        with Index(sys.argv[1]) as index:
            hits = BM25Retriever(index).search("common gene", 10)
            index.get_many(hits.ids)
            counts.add((len(index), len(hits)))
    except Exception as problem:
        failures.append(f"{type(problem).__name__}: {problem}")
    opened += 1
print(json.dumps({"opened": opened, "failures": len(failures), "first": failures[:1], "counts": sorted(counts)}))
"""


def measure(folder: Path, seconds: float, readers: int) -> dict[str, Any]:
    """Let one writer and ``readers`` readers work on one index for some seconds."""
    from bioqa import build_index

    base = folder / "base.jsonl"
    records = [{"id": str(n), "title": "First", "text": f"common gene number {n}"} for n in range(400)]
    base.write_text("".join(json.dumps(one) + "\n" for one in records))
    build_index(folder / "index", [base])
    commands = [[sys.executable, "-c", WRITER, str(folder / "index"), str(folder), str(seconds)]]
    commands += [[sys.executable, "-c", READER, str(folder / "index"), str(seconds)]] * readers
    processes = [subprocess.Popen(one, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) for one in commands]
    results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]
    opened = sum(one["opened"] for one in results[1:])
    failures = sum(one["failures"] for one in results[1:])
    first = next((one["first"][0] for one in results[1:] if one["first"]), None)
    counts = sorted({tuple(count) for one in results[1:] for count in one["counts"]})
    return {
        "commits": results[0]["commits"],
        "opens": opened,
        "failures": failures,
        "first_failure": first,
        "counts_seen": counts,
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--readers", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.seconds, options.readers)
    what = f"one updater and {options.readers} readers that open the index anew each time, {options.seconds:g} s"
    write_result(RESULTS / "robustness-readers.json", {"what": what, **result, "environment": environment()})


if __name__ == "__main__":
    main()
