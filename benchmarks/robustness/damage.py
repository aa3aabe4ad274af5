"""Damage the files of an index one at a time: ``verify`` must report it, and ``build --overwrite`` must repair it.

    python -m benchmarks.robustness.damage

Each file is flipped at several places, truncated, emptied and deleted, one damage at a time. The result goes to
``benchmarks/results/robustness-damage.json``.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, environment, write_result
from bioqa.errors import BioqaError
from bioqa.index.build import build_index
from bioqa.index.verify import verify_index

DEMO = Path(__file__).resolve().parents[2] / "data" / "demo"
SOURCES = [DEMO / "demo26n0001.xml", DEMO / "demo26n0002.xml"]
PLACES = (0.0, 0.3, 0.6, 0.999)
"""Where bytes are flipped, as shares of the file."""


def _flip(share: float) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * len(data))] ^= 0x5A
        path.write_bytes(data)

    return flip


def damages() -> Iterator[tuple[str, Callable[[Path], None]]]:
    """The ways to damage a file."""
    for share in PLACES:
        yield f"flip at {share:.0%}", _flip(share)
    yield "truncate", lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    yield "empty", lambda path: path.write_bytes(b"")
    yield "delete", Path.unlink


def found(index: Path) -> str:
    """Outcome of a check: "found", "sound", or the exception that is not one of bioqa's."""
    try:
        return "found" if verify_index(index).errors else "sound"
    except BioqaError:
        return "found"
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"


def measure(folder: Path) -> dict[str, Any]:
    """Try every damage to every file."""
    sound = folder / "sound"
    build_index(sound, SOURCES)
    files = sorted(path.name for path in sound.iterdir() if path.name != "write.lock")
    missed, unmended, tried = [], [], 0
    for name in files:
        for what, damage in damages():
            index = folder / "index"
            shutil.copytree(sound, index)
            damage(index / name)
            tried += 1
            outcome = found(index)
            if outcome != "found":
                missed.append(f"{name}, {what}: {outcome}")
            try:
                build_index(index, SOURCES, overwrite=True)
                strangers = {path.name for path in index.iterdir()} - {"write.lock"}
                if found(index) != "sound":
                    unmended.append(f"{name}, {what}: still damaged")
                elif not all(one.startswith(("_", "segments_")) for one in strangers):
                    unmended.append(f"{name}, {what}: leaves {sorted(strangers)}")
            except Exception as problem:
                unmended.append(f"{name}, {what}: {type(problem).__name__}: {problem}")
            shutil.rmtree(index)
    return {"files": len(files), "damages": tried, "not_found": missed, "not_mended": unmended}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder))
    what = "each file of an index damaged in turn: verify reports it, build --overwrite repairs it"
    write_result(RESULTS / "robustness-damage.json", {"what": what, **result, "environment": environment()})


if __name__ == "__main__":
    main()
