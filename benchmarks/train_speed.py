"""Training speed of bioqa's trainer and of sentence-transformers' with default settings, on the same pairs, model and precision.

    python -m benchmarks.train_speed

The default reranker is trained further with pairs that ``make default-reranker`` builds. Each trainer runs in its own process
on the same pairs, sampled once from ``--train``. On a CPU the two processes take turns of ``--turn`` seconds, one being stopped
while the other runs, so that a temporarily slow machine slows both; on a GPU (``--turn 0``) one runs after the other.
``--repeats`` is the number of repetitions, each with the next seed.

The time is that of a trainer's own turns, from pairs and base model in memory to the trained model: it includes creating the
trainer (where bioqa counts tokens) and training, with the checkpoints that both write every 500 steps. Peak memory is GPU
memory on a GPU, and otherwise the memory of the process up to the end of training; CPU time, of the same span, hardly depends
on the load of the machine. The speeds are comparable only if the median dev average precisions differ by at most 0.005; the
result says whether they do. It is written to ``benchmarks/results/train_speed.json``, after about a quarter of an hour on 2
idle CPU cores.
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchmarks.machine import RESULTS, environment, write_result

SIDES = ("bioqa", "sentence-transformers")
TOLERANCE = 0.005
POLL = 0.005
"""Seconds between checks whether a process has finished."""


def stage(options: argparse.Namespace):
    """What both trainers train, as the only stage of a recipe."""
    from bioqa.train.recipe import parse_recipe

    raw = {
        "model": {"base": options.base, "max_length": options.max_length},
        "data": {"train": options.train, "dev": options.dev},
        "training": {
            "batch_size": options.batch_size,
            "learning_rate": options.learning_rate,
            "warmup": options.warmup,
            "epochs": options.epochs,
            "precision": options.precision,
            "save_steps": 500,
            "logging_steps": 500,
            "seed": options.seed,
        },
    }
    return parse_recipe(raw, "train_speed").stages[0]


def training_pairs(options: argparse.Namespace, settings):
    """The pairs that both trainers train on, independent of the seed."""
    import numpy as np

    from bioqa.train.datasets import read_train

    table = read_train(settings)
    if not 0 < options.rows < len(table):
        return table
    return table.take(np.sort(np.random.default_rng(0).choice(len(table), options.rows, replace=False)))


def library_trainer(training, model, folder: Path, train):
    """The library's trainer; settings that are not passed here have their defaults."""
    import torch
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        warmup_steps=training.warmup,
        num_train_epochs=training.epochs,
        fp16=training.precision == "fp16",
        bf16=training.precision == "bf16",
        seed=training.seed,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",
        disable_tqdm=True,
    )
    return CrossEncoderTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset(train.select(["question", "passage", "label"])),
        loss=BinaryCrossEntropyLoss(model),
    )


def run_side(options: argparse.Namespace) -> None:
    """One training in this process, which stops itself before and after it; prints the measurements as JSON."""
    import torch
    from transformers import TrainerCallback, set_seed

    from bioqa.train.base_model import load_base_model
    from bioqa.train.datasets import read_dev
    from bioqa.train.pair_trainer import dev_evaluator, make_trainer
    from bioqa.train.train_stage import check_precision
    from bioqa.train.training_result import DEV

    class CountSteps(TrainerCallback):
        """Writes the number of steps for the process that gives the turns."""

        def on_step_end(self, args, state, control, **_) -> None:
            options.steps.write_text(str(state.global_step))

    settings = stage(options)
    check_precision(settings.training)
    train, dev = training_pairs(options, settings), read_dev(settings.data)
    set_seed(settings.training.seed)
    model = load_base_model(settings.model)
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        os.kill(os.getpid(), signal.SIGSTOP)
        before = time.process_time()
        if options.side == SIDES[0]:
            trainer = make_trainer(settings, model, Path(folder), (train, None))
        else:
            trainer = library_trainer(settings.training, model, Path(folder), train)
        trainer.add_callback(CountSteps())
        trainer.train()
        if gpu:
            torch.cuda.synchronize()
        processor = time.process_time() - before
        peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        options.steps.write_text("done")
        os.kill(os.getpid(), signal.SIGSTOP)
    precision = dev_evaluator(dev, settings.training.eval_batch_size)(model)[f"{DEV}_average_precision"]
    figures = {"steps": trainer.state.global_step, "peak_mib": peak / 2**20, "average_precision": float(precision)}
    figures |= {"processor_seconds": processor, "pairs": len(train), "dev_pairs": len(dev)}
    print(json.dumps(figures | {"device": torch.cuda.get_device_name() if gpu else "CPU"}))


@dataclass
class Side:
    """A trainer in its own process. ``turns``: (seconds, steps) of each of its turns."""

    name: str
    process: subprocess.Popen
    output: IO[bytes]
    steps_file: Path
    turns: list[tuple[float, int]] = field(default_factory=list)
    steps: int = 0
    done: bool = False

    def wait(self, seconds: float = float("inf")) -> bool:
        """Whether the process stopped itself within ``seconds``; exits if the process fails."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            pid, status = os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)
            if pid and os.WIFSTOPPED(status):
                return True
            if pid:
                self.process.returncode = os.waitstatus_to_exitcode(status)
                self.output.seek(0)
                raise SystemExit(f"{self.name} failed:\n{self.output.read().decode(errors='replace')[-3000:]}")
            time.sleep(POLL)
        return False

    def turn(self, seconds: float) -> None:
        """Let it train for ``seconds``, or until it has finished."""
        started = time.perf_counter()
        self.process.send_signal(signal.SIGCONT)
        if not self.wait(seconds):
            self.process.send_signal(signal.SIGSTOP)
            self.wait()
        took = time.perf_counter() - started
        text = self.steps_file.read_text() or str(self.steps)
        self.done = text == "done"
        if self.done:
            self.turns.append((took, 0))
        else:
            self.turns.append((took, int(text) - self.steps))
            self.steps = int(text)

    def finish(self) -> dict:
        """Let it evaluate and exit; the measurements of the training."""
        self.process.send_signal(signal.SIGCONT)
        code = self.process.wait()
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        if code:
            raise SystemExit(f"{self.name} failed:\n{text[-3000:]}")
        figures = json.loads(text.splitlines()[-1])
        first, *_, last = self.turns if len(self.turns) > 1 else (self.turns[0], self.turns[0])
        whole = [turn for turn in self.turns if turn is not first and turn is not last]
        return figures | {"seconds": sum(seconds for seconds, _ in self.turns), "turns": whole}


def start(side: str, options: argparse.Namespace, folder: Path) -> Side:
    """Start a trainer; it stops once pairs and base model are in memory."""
    steps = folder / side
    steps.write_text("")
    command = [sys.executable, "-m", "benchmarks.train_speed", "--side", side, "--steps", str(steps)]
    for name in SETTINGS:
        command += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    output = (folder / f"{side}.out").open("w+b")
    made = Side(side, subprocess.Popen(command, stdout=output, stderr=output), output, steps)
    made.wait()
    return made


def train_both(options: argparse.Namespace) -> dict[str, dict]:
    """The measurements of one training by each trainer."""
    with tempfile.TemporaryDirectory() as folder:
        sides: list[Side] = []
        try:
            for name in SIDES:
                sides.append(start(name, options, Path(folder)))
            while not all(side.done for side in sides):
                for side in sides:
                    if not side.done:
                        side.turn(options.turn or float("inf"))
            return {side.name: side.finish() for side in sides}
        finally:
            for side in sides:
                if side.process.poll() is None:
                    side.process.kill()
                side.output.close()


def summary(runs: list[dict], batch_size: int) -> dict:
    """Medians over the runs; ``turns`` are the complete turns of all runs."""
    speeds = [run["steps"] * batch_size / run["seconds"] for run in runs]
    turns = [steps * batch_size / seconds for run in runs for seconds, steps in run["turns"]]
    found = {
        "pairs_per_s": round(statistics.median(speeds), 1),
        "pairs_per_s_of_runs": [round(speed, 1) for speed in speeds],
        "seconds_a_run": round(statistics.median(run["seconds"] for run in runs), 1),
        "processor_seconds_a_run": round(statistics.median(run["processor_seconds"] for run in runs), 1),
        "peak_mib": round(statistics.median(run["peak_mib"] for run in runs)),
        "average_precision": round(statistics.median(run["average_precision"] for run in runs), 4),
        "average_precision_of_runs": [round(run["average_precision"], 4) for run in runs],
        "steps": runs[0]["steps"],
    }
    if turns:
        found["turns"] = {
            "count": len(turns),
            "pairs_per_s_median": round(statistics.median(turns), 1),
            "pairs_per_s_min": round(min(turns), 1),
            "pairs_per_s_max": round(max(turns), 1),
        }
    return found


SETTINGS = (
    *("train", "dev", "base", "rows", "max_length", "batch_size"),
    *("learning_rate", "warmup", "epochs", "precision", "seed"),
)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="build/pairs/snippets-train.parquet")
    parser.add_argument("--dev", default="build/pairs/snippets-dev.parquet")
    parser.add_argument("--base", default="default")
    parser.add_argument("--rows", type=int, default=1280, help="number of training pairs; 0: all")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--turn", type=float, default=10.0, help="length of a turn in seconds; 0: one trainer after the other"
    )
    parser.add_argument("--out", type=Path, default=RESULTS / "train_speed.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.side:
        run_side(options)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no stopped process is left behind
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    first_seed = options.seed
    for repeat in range(options.repeats):
        options.seed = first_seed + repeat
        for side, figures in train_both(options).items():
            runs[side].append(figures)
            note = f"{side}: {figures['seconds']:.1f} s, average precision {figures['average_precision']:.4f}"
            print(f"seed {options.seed}, {note}", file=sys.stderr)
    options.seed = first_seed
    sides = {side: summary(of, options.batch_size) for side, of in runs.items()}
    ours, theirs = (sides[side] for side in SIDES)
    apart = ours["average_precision"] - theirs["average_precision"]
    one = runs[SIDES[0]][0]
    result = {
        **sides,
        "times_as_fast": round(theirs["seconds_a_run"] / ours["seconds_a_run"], 2),
        "times_as_fast_by_processor_time": round(
            theirs["processor_seconds_a_run"] / ours["processor_seconds_a_run"], 2
        ),
        "average_precision_apart": round(apart, 4),
        "average_precision_within_0.005": abs(apart) <= TOLERANCE,
        "pairs": {"train": one["pairs"], "dev": one["dev_pairs"]},
        "device": one["device"],
        "settings": {name: getattr(options, name) for name in (*SETTINGS, "repeats", "turn")},
        "environment": environment(),
    }
    write_result(options.out, result)
    if abs(apart) > TOLERANCE:
        raise SystemExit(f"The average precisions differ by {abs(apart):.4f}: the speeds are not comparable.")


if __name__ == "__main__":
    main()
