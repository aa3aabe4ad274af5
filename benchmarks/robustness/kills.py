"""Kill builds and updates at random moments; the index must end equal to an undisturbed one.

    python -m benchmarks.robustness.kills --kills 60

Builds run on two worker processes over PubMed XML made from the demo collection; updates take in its update file and re-issued
citations. Each is killed with SIGKILL, with its workers, after a random time, and started again until it ends. Then every stored
article and the scores of all demo questions are compared with those of an index that was built and updated in peace. The result
goes to ``benchmarks/results/robustness-kills.json``.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import RESULTS, environment, write_result

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "data" / "demo"
# Workers for a small corpus, and a commit after every source, so that there is much to be killed in.
BUILD = """
import sys
from bioqa.index import build
build.SMALL_BYTES, build.COMMIT_SECONDS = 0, 0.0
build.build_index(sys.argv[1], sys.argv[2:], workers=2, memory_mb=1500)
"""
UPDATE = """
import sys
from bioqa.index.update import update_index
update_index(sys.argv[1], sys.argv[2:])
"""
CONTENTS = """
import json, sys
from bioqa import BM25Retriever, Index, read_questions
with Index(sys.argv[1]) as index:
    retriever = BM25Retriever(index)
    found = retriever.search_many([one.body for one in read_questions(sys.argv[2])], 1000)
    ids = sorted({id for hits in found for id in hits.ids})
    articles = {article.id: repr(article) for article in index.get_many(ids)}
    scores = [sorted(zip(hits.ids, hits.scores)) for hits in found]
    print(json.dumps({"count": len(index), "articles": articles, "scores": scores}))
"""


def corpus_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """The demo baseline in twelve files, and four update files with re-issued citations and the demo's own update."""
    citations = re.findall(r"<PubmedArticle>.*?</PubmedArticle>", (DEMO / "demo26n0001.xml").read_text(), re.DOTALL)
    base, updates = [], []
    for number in range(12):
        part = citations[number * 27 : number * 27 + 27]
        if number:
            again = f"<ArticleTitle>Again in {number}: "
            part += [one.replace("<ArticleTitle>", again) for one in citations[number : number + 3]]
        base.append(_write(folder / f"pubmed26n{number + 1:04}.xml", part))
    updates.append(folder / "pubmed26n0013.xml")
    shutil.copy(DEMO / "demo26n0002.xml", updates[0])
    for number in range(14, 17):
        again = f"<ArticleTitle>Revised in {number}: "
        part = [one.replace("<ArticleTitle>", again) for one in citations[number * 5 : number * 5 + 40]]
        updates.append(_write(folder / f"pubmed26n{number:04}.xml", part))
    return base, updates


def _write(path: Path, citations: list[str]) -> Path:
    path.write_text(f"<PubmedArticleSet>{''.join(citations)}</PubmedArticleSet>")
    return path


def command(code: str, *arguments: object) -> list[str]:
    """Python code run in a process of its own."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(arguments: list[str]) -> str:
    """Run a process to its end and give what it prints."""
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return done.stdout


def contents(index: Path) -> str:
    """All articles and scores of an index, as comparable text."""
    return run(command(CONTENTS, index, DEMO / "questions.json")).splitlines()[-1]


def until_done(arguments: list[str], latest: float, rng: random.Random) -> int:
    """Start a process again and again, killing it after a random time, until it ends by itself; the number of kills."""
    kills = 0
    while True:
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        try:
            _, err = process.communicate(timeout=rng.uniform(0.2, latest))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
            latest *= 1.03  # a busy machine may need more than the undisturbed time
            continue
        if process.returncode and not (kills and "already contains an index" in err):  # killed after its last commit
            raise RuntimeError(err[-2000:])
        return kills


def seconds(arguments: list[str]) -> float:
    """How long a process takes."""
    started = time.perf_counter()
    run(arguments)
    return time.perf_counter() - started


def measure(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill builds and updates ``kills`` times each, or a few more."""
    rng = random.Random(seed)
    base, updates = corpus_files(folder)
    peaceful = folder / "peaceful"
    build_seconds = seconds(command(BUILD, peaceful, *base))
    built = contents(peaceful)
    update_seconds = seconds(command(UPDATE, peaceful, *updates))
    updated = contents(peaceful)
    counts = {"build": 0, "update": 0}
    differing = rounds = 0
    while min(counts.values()) < kills:
        index = folder / f"index{rounds}"
        counts["build"] += until_done(command(BUILD, index, *base), build_seconds, rng)
        differing += contents(index) != built
        counts["update"] += until_done(command(UPDATE, index, *updates), update_seconds, rng)
        differing += contents(index) != updated
        rounds += 1
        print(f"{counts['build']} builds and {counts['update']} updates killed, {differing} indexes differ", flush=True)
        shutil.rmtree(index)
    return {
        "kills_of_builds": counts["build"],
        "kills_of_updates": counts["update"],
        "indexes": 2 * rounds,
        "differing": differing,
    }


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="of builds, and as many of updates")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.kills, options.seed)
    what = "builds and updates killed at random moments; articles and scores compared with an undisturbed index"
    write_result(RESULTS / "robustness-kills.json", {"what": what, **result, "environment": environment()})


if __name__ == "__main__":
    main()
