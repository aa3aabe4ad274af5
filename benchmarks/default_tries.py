"""Alternatives tried for the default reranker: small training runs from its weights, evaluated on dev.

    python -m benchmarks.default_tries

Each run trains for one epoch (two with a curriculum) on the pairs of 400 train questions, on 1,600 pairs of MedQuAD or on the
titles of 300 articles, with different negatives, another loss, or labels averaged with the probabilities of a larger model (see
``grown_bert_base.py``); one model is the average of two models' weights. Each is evaluated on 150 dev questions of
``bioasq-snippets`` and, since PubMedQA's questions are titles, on 60 titles that are questions and not in any training pair,
over the 175,166 abstracts without titles: nDCG@10 of the reranker alone, and combined with BM25 at the weight that is best on
the dev questions, over BM25's first 50 and 30 candidates.

`make default-reranker` builds the index build/indexes/abstracts that the title pairs need. A run takes 2 to 17 minutes on 2 CPU
cores; finished work is reused. The result is written to ``benchmarks/results/default_tries.json``.
"""

import argparse
import gzip
import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.default_decision import MEASURE, ndcg, weights
from benchmarks.machine import DATA, RESULTS, environment, shared_data, write_result
from bioqa.bench.collection import read_collection
from bioqa.bench.run_collection import BenchOptions, RerankRun, run_collection
from bioqa.bench.suite import read_suite
from bioqa.cli.main import main as bioqa
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.evaluate.ranking import evaluate_run
from bioqa.evaluate.significance import paired_test
from bioqa.io.output import replacing
from bioqa.io.trec import Qrels
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER

FOLDER = DATA / "tries"
SUITES = Path(__file__).parent / "suites"
BIOASQ = shared_data() / "bioasq"
QUESTIONS, ARTICLES, TITLES = 400, 300, 60


@dataclass(frozen=True)
class Try:
    """``pairs``: arguments of ``bioqa pairs``. ``settings``: changes to the recipe. ``source``: what the pairs are built from.
    ``distilled``: labels are averaged with the probabilities of a larger model.
    """

    pairs: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = "bioasq"
    distilled: bool = False


SAMPLED = ("--max-positives", "2", "--negatives", "bm25:2", "--negatives", "random:0.25")
MINED = ("--max-positives", "2", "--negatives", "bm25:2:1-30", "--mine-with", "default", "--skip-above", "0.5")
MANY = ("--max-positives", "1", "--negatives", "bm25:6")
ABSTRACTS = ("--limit", str(ARTICLES), "--negatives", "bm25:3:1-40")
WHOLE = {"model": {"max_length": 384}, "export": {"max_length": 384}}
TRIES = {
    "BCE, BM25 and random negatives (as shipped)": Try(SAMPLED),
    "BCE, model-mined negatives": Try(MINED),
    "BCE, six negatives per question": Try(MANY),
    "BCE, six negatives, curriculum of the hardest": Try(
        MANY, {"data": {"curriculum": 0.34}, "training": {"epochs": 2}}
    ),
    "ListNet, lists of 7": Try(MANY, {"loss": {"name": "listnet", "list_size": 7}, "training": {"batch_size": 5}}),
    "RankNet, lists of 7": Try(MANY, {"loss": {"name": "ranknet", "list_size": 7}, "training": {"batch_size": 5}}),
    "LambdaLoss, lists of 7": Try(MANY, {"loss": {"name": "lambda", "list_size": 7}, "training": {"batch_size": 5}}),
    "BCE, labels averaged with a larger model's probabilities": Try(SAMPLED, distilled=True),
    "BCE, MedQuAD question-answer pairs": Try(
        ("--max-positives", "1", "--negatives", "bm25:3"), {"data": {"max_rows": 1600}}, "medquad"
    ),
    "BCE, titles with whole abstracts": Try(ABSTRACTS, WHOLE, "titles"),
}
DEV = "dev questions"
AVERAGE = "average of the shipped weights and BCE with model-mined negatives"
SHIPPED = "shipped"


def run(*arguments: object) -> None:
    """Run a bioqa command; exit if it fails."""
    code = bioqa([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


def train_questions() -> Path:
    """A file with a sample of BioASQ's train questions."""
    path = FOLDER / "train.json"
    if not path.exists():
        with gzip.open(BIOASQ / "train.json.gz", "rt", encoding="utf-8") as file:
            questions = json.load(file)["questions"]
        path.write_text(json.dumps({"questions": random.Random(0).sample(questions, QUESTIONS)}), encoding="utf-8")
    return path


def title_questions() -> Path:
    """Titles that are questions, in PubMedQA's format: from abstracts-2 and -3, not trained on, without PubMedQA's own."""
    path = FOLDER / "titles.json"
    if not path.exists():
        known = json.loads((shared_data() / "pubmedqa" / "pubmedqa.json").read_text(encoding="utf-8"))
        files = [str(shared_data() / "abstracts" / f"abstracts-{number}.jsonl.gz") for number in (2, 3)]
        questions = {
            article.id: {"QUESTION": article.title, "CONTEXTS": [article.abstract]}
            for source in expand_sources(files)
            for article in read_source(source)
            if article.title.endswith("?") and article.abstract and article.id not in known
        }
        chosen = random.Random(0).sample(sorted(questions), TITLES)
        path.write_text(json.dumps({id: questions[id] for id in chosen}), encoding="utf-8")
    return path


def pairs_file(one: Try) -> Path:
    """The training pairs of a run, shared by runs with the same arguments."""
    path = FOLDER / "pairs" / f"{'-'.join((one.source, *one.pairs)).replace('--', '').replace(':', '')}.parquet"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    data = shared_data()
    held_out = (BIOASQ / "dev.json.gz", BIOASQ / "test.json.gz", data / "pubmedqa" / "pubmedqa.json")
    exclude = [part for file in (*held_out, title_questions()) for part in ("--exclude", file)]
    if one.source == "titles":
        source = data / "abstracts" / "abstracts-1.jsonl.gz"
        run("pairs", "titles", source, *one.pairs, "--index", "build/indexes/abstracts", *exclude, "--out", path)
    else:
        source = data / "medquad" / "medquad.tar.gz" if one.source == "medquad" else train_questions()
        run("pairs", "build", source, *one.pairs, *exclude, "--out", path)
    return path


def distilled(path: Path) -> Path:
    """The pairs of a file, with labels averaged with the larger model's probabilities."""
    import pyarrow as pa
    from pyarrow import parquet

    from benchmarks.grown_bert_base import TUNED, tuned
    from bioqa.rerank.reranker import Reranker

    out = path.with_stem(f"{path.stem}-distilled")
    if not out.exists():
        table = parquet.read_table(path)
        question, passage, label = (table.column(name).to_pylist() for name in ("question", "passage", "label"))
        larger = TUNED if (TUNED / "model.safetensors").is_file() else tuned()
        teacher = Reranker(larger).score_pairs(list(zip(question, passage, strict=True))).probabilities
        labels = [(own + float(other)) / 2 for own, other in zip(label, teacher, strict=True)]
        with replacing(out) as part:
            column = table.schema.get_field_index("label")
            parquet.write_table(table.set_column(column, "label", pa.array(labels)), part)
    return out


SETS: Mapping[str, tuple[str, Callable[[], Path], int, int]] = {
    DEV: ("bioasq-snippets", lambda: BIOASQ / "dev.json.gz", 150, 50),
    "titles": ("pubmedqa", title_questions, TITLES, 30),
}
"""Suite, question file, number of questions, rerank depth."""


def train_try(name: str, one: Try) -> tuple[Path, dict[str, Any]]:
    """Train a model; its folder, and the size of the training run."""
    from bioqa.train.recipe import parse_recipe
    from bioqa.train.train_recipe import train_recipe

    training = {"batch_size": 32, "learning_rate": 3e-5, "warmup": 0.1, "precision": "bf16"}
    pairs = pairs_file(one)
    recipe: dict[str, Any] = {
        "name": "try",
        "model": {"base": "default", "max_length": 160, "freeze": ["embeddings.word_embeddings"]},
        "data": {"train": str(distilled(pairs) if one.distilled else pairs), "leak_check": "none"},
        "training": training,
        "export": {"max_length": 192, "precision": "fp16"},
    }
    for section, values in one.settings.items():
        recipe[section] = recipe.get(section, {}) | values
    out = FOLDER / "models" / "".join(letter if letter.isalnum() else "-" for letter in name)
    folder = train_recipe(parse_recipe(recipe, name), out, progress=True).folder
    (stage,) = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return folder, {"pairs": stage["train_pairs"], "steps": stage["steps"], "seconds": round(stage["seconds"])}


def averaged(folder: Path) -> Path:
    """A model with the mean of the weights in ``folder`` and the shipped ones."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    out = FOLDER / "models" / "average"
    shutil.copytree(DEFAULT_FOLDER, out, dirs_exist_ok=True)
    one, other = (load_file(path / "model.safetensors") for path in (DEFAULT_FOLDER, folder))
    mean = {name: ((one[name].float() + other[name].float()) / 2).to(torch.float16) for name in one}
    save_file(mean, out / "model.safetensors", metadata={"format": "pt"})
    return out


def evaluate_model(model: str | Path) -> tuple[float, dict[str, dict[str, dict[str, float]]]]:
    """The first-stage weight that is best on the dev questions, and nDCG@10 of each question of both sets."""
    runs = {}
    for name, (suite, question_file, questions, depth) in SETS.items():
        settings = {"collection.questions": question_file(), "reranker.model": model, "reranker.rerank-depth": depth}
        made = read_suite(SUITES / f"{suite}.toml", [f"{key}={value}" for key, value in settings.items()])
        found = run_collection(made, read_collection(made.collections[0]), BenchOptions(FOLDER / "cache", questions))
        runs[name] = next(iter(found.reranked.values())), found.collection.qrels
    by_weight = weights(*runs[DEV])
    best = max(by_weight, key=lambda weight: by_weight[weight])
    return best, {name: _ways(run, qrels, best) for name, (run, qrels) in runs.items()}


def _ways(run: RerankRun, qrels: Qrels, weight: float) -> dict[str, dict[str, float]]:
    """nDCG@10 of each question of BM25, of the reranker alone, and of both."""
    bm25 = {id: {passage: score for passage, score, _ in one.passages} for id, one in run.records.items()}
    return {
        "BM25": evaluate_run(qrels, bm25, [MEASURE])[MEASURE],
        "alone": ndcg(run, qrels, 0.0),
        "with BM25": ndcg(run, qrels, weight),
    }


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    shipped = evaluate_model("default")
    tries: dict[str, Any] = {}

    def report(name: str, model: str | Path, training: dict[str, Any] | None = None) -> None:
        weight, found = evaluate_model(model) if tries else shipped
        tries[name] = {"first_stage_weight": weight, "training": training}
        for questions, ways in found.items():
            tries[name][questions] = {
                way: {"ndcg@10": round(mean(values.values()), 4), "p": paired_test(shipped[1][questions][way], values)}
                for way, values in ways.items()
            }
        result = {"what": "nDCG@10 after a small training run from the shipped weights; p against these, paired t-test"}
        write_result(RESULTS / "default_tries.json", result | {"tries": tries, "environment": environment()})

    report(SHIPPED, "default")
    for name, one in TRIES.items():
        folder, training = train_try(name, one)
        report(name, folder, training)
        if one.pairs == MINED:
            report(AVERAGE, averaged(folder))


if __name__ == "__main__":
    main()
