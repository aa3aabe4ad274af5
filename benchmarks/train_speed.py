"""Training speed: bioqa's trainer beside sentence-transformers' with its default settings, on the same pairs, model and precision.

    python -m benchmarks.train_speed

The default reranker is trained on with pairs that ``make default-reranker`` builds. Each side trains in a process of its own on the
same pairs, drawn once from ``--train``. On a CPU both are under way together and take turns of ``--turn`` seconds, the other
standing still meanwhile, so that a machine that is slower for a while is so for both; on a GPU (``--turn 0``) one trains after the
other. ``--repeats`` says how often all this is done, each time with the next seed.

Time runs from the pairs and the base model in memory to the trained model, in a side's own turns: it holds the making of the
trainer (where bioqa counts tokens) and the training itself, with the checkpoints that both write every 500 steps. Peak memory is
that of the GPU where there is one, else of the process up to the end of training; the processor time of the same span hardly
depends on what else the machine does. The speeds compare like with like only where the median dev average precisions lie within
0.005 of each other; the result says whether they do. It goes to ``benchmarks/results/train_speed.json``: about a quarter of an hour
on 2 CPU cores that do nothing else.
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
"""Seconds between looks at whether a side has come to its end."""


def stage(options: argparse.Namespace):
    """What both sides train, as a recipe's only stage."""
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


def training_pairs(options: argparse.Namespace, wanted):
    """The pairs that both sides train on, whatever the seed of the training."""
    import numpy as np

    from bioqa.train.datasets import read_train

    table = read_train(wanted)
    if not 0 < options.rows < len(table):
        return table
    return table.take(np.sort(np.random.default_rng(0).choice(len(table), options.rows, replace=False)))


def library_trainer(wanted, model, folder: Path, train):
    """The library's trainer; what is not set here has its default."""
    import torch
    from datasets import Dataset
    from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
    from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss

    settings = wanted.training
    arguments = CrossEncoderTrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup,
        num_train_epochs=settings.epochs,
        fp16=settings.precision == "fp16",
        bf16=settings.precision == "bf16",
        seed=settings.seed,
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
    """One training in this process, which stands still before it and after it; prints its figures as JSON."""
    import torch
    from transformers import TrainerCallback, set_seed

    from bioqa.train.base import load_base
    from bioqa.train.datasets import read_dev
    from bioqa.train.stage import DEV, check_precision, evaluator, make_trainer

    class CountSteps(TrainerCallback):
        """Tells the process that gives the turns how far this one is."""

        def on_step_end(self, args, state, control, **_) -> None:
            options.steps.write_text(str(state.global_step))

    wanted = stage(options)
    check_precision(wanted.training)
    train, dev = training_pairs(options, wanted), read_dev(wanted.data)
    set_seed(wanted.training.seed)
    model = load_base(wanted.model)
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        os.kill(os.getpid(), signal.SIGSTOP)
        before = time.process_time()
        if options.side == SIDES[0]:
            trainer = make_trainer(wanted, model, Path(folder), (train, None))
        else:
            trainer = library_trainer(wanted, model, Path(folder), train)
        trainer.add_callback(CountSteps())
        trainer.train()
        if gpu:
            torch.cuda.synchronize()
        processor = time.process_time() - before
        peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        options.steps.write_text("done")
        os.kill(os.getpid(), signal.SIGSTOP)
    precision = evaluator(dev, wanted.training.eval_batch_size)(model)[f"{DEV}_average_precision"]
    figures = {"steps": trainer.state.global_step, "peak_mib": peak / 2**20, "average_precision": float(precision)}
    figures |= {"processor_seconds": processor, "pairs": len(train), "dev_pairs": len(dev)}
    print(json.dumps(figures | {"device": torch.cuda.get_device_name() if gpu else "CPU"}))


@dataclass
class Side:
    """A training in a process of its own. ``turns``: (seconds, steps) of each of its turns."""

    name: str
    process: subprocess.Popen
    output: IO[bytes]
    steps_file: Path
    turns: list[tuple[float, int]] = field(default_factory=list)
    steps: int = 0
    done: bool = False

    def wait(self, seconds: float = float("inf")) -> bool:
        """Whether the process came to a stop within so many seconds; an end that is none ends the benchmark."""
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
        """Let it train for so many seconds, or to its end."""
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
        """Let it evaluate and end; the figures of the training."""
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
    """Start one side; it stands still once pairs and base model are in memory."""
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
    """The figures of one training of each side."""
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
    """Medians over the runs; ``turns`` are the whole turns of all of them."""
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
    parser.add_argument("--rows", type=int, default=1280, help="training pairs; 0: all")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--turn", type=float, default=10.0, help="seconds; 0: one training after the other")
    parser.add_argument("--out", type=Path, default=RESULTS / "train_speed.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    if options.side:
        run_side(options)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that no side is left behind, standing still
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
        raise SystemExit(
            f"The average precisions lie {abs(apart):.4f} apart: the speeds do not compare like with like."
        )


if __name__ == "__main__":
    main()
