"""What else was tried for the default reranker: small trainings of equal size that go on from its weights, judged on dev.

    python -m benchmarks.default_tries

Each try trains for an epoch (two where negatives are narrowed) on the pairs of 400 train questions, on 1,600 of MedQuAD's or on
those of 300 articles' titles, with other negatives, another loss or labels half of which are a larger model's (that of
``grown_bert_base.py``); one averages two models' weights. Judged are ``bioasq-snippets`` on 150 dev questions and, as PubMedQA's
questions are titles, 60 titles that are questions and train nothing, over the 175,166 abstracts without titles: nDCG@10 of the
reranker alone and with BM25 at the weight that is best on the dev questions, over the first 50 and 30 candidates.

`make default-reranker` makes the index build/indexes/abstracts that the titles' pairs need. A try takes 2 to 17 minutes on 2 CPU
cores; what is done is not done again. The result goes to ``benchmarks/results/default_tries.json``.
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

from benchmarks.default_decision import ndcg, weights
from benchmarks.machine import DATA, RESULTS, environment, shared_data, write_result
from bioqa.bench.collection import read_collection
from bioqa.bench.run_cache import Work, run_collection
from bioqa.bench.suite import read_suite
from bioqa.cli import main as bioqa
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.evaluate.significance import compare
from bioqa.rerank.model_folder.resolve import DEFAULT_FOLDER

FOLDER = DATA / "tries"
SUITES = Path(__file__).parent / "suites"
BIOASQ = shared_data() / "bioasq"
QUESTIONS, ARTICLES, TITLES = 400, 300, 60


@dataclass(frozen=True)
class Try:
    """``pairs``: arguments of ``bioqa pairs``; ``settings``: of the recipe's stage; ``source``: what the pairs are made of;
    ``distilled``: whether labels are the mean of the pairs' own and a larger model's probabilities.
    """

    pairs: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: str = "bioasq"
    distilled: bool = False


DRAWN = ("--max-positives", "2", "--negatives", "bm25:2", "--negatives", "random:0.25")
MINED = ("--max-positives", "2", "--negatives", "bm25:2:1-30", "--mine-with", "default", "--skip-above", "0.5")
MANY = ("--max-positives", "1", "--negatives", "bm25:6")
ABSTRACTS = ("--limit", str(ARTICLES), "--negatives", "bm25:3:1-40")
WHOLE = {"model": {"max_length": 384}, "export": {"max_length": 384}}
TRIES = {
    "BCE, BM25 and random negatives (as shipped)": Try(DRAWN),
    "BCE, model-mined negatives": Try(MINED),
    "BCE, six negatives per question": Try(MANY),
    "BCE, six negatives, curriculum of the hardest": Try(
        MANY, {"data": {"curriculum": 0.34}, "training": {"epochs": 2}}
    ),
    "ListNet, lists of 7": Try(MANY, {"loss": {"name": "listnet", "list_size": 7}, "training": {"batch_size": 5}}),
    "RankNet, lists of 7": Try(MANY, {"loss": {"name": "ranknet", "list_size": 7}, "training": {"batch_size": 5}}),
    "LambdaLoss, lists of 7": Try(MANY, {"loss": {"name": "lambda", "list_size": 7}, "training": {"batch_size": 5}}),
    "BCE, labels averaged with a larger model's probabilities": Try(DRAWN, distilled=True),
    "BCE, MedQuAD question-answer pairs": Try(
        ("--max-positives", "1", "--negatives", "bm25:3"), {"data": {"max_rows": 1600}}, "medquad"
    ),
    "BCE, titles with whole abstracts": Try(ABSTRACTS, WHOLE, "titles"),
}
DEV = "dev questions"
AVERAGE = "average of the shipped weights and BCE with model-mined negatives"
SHIPPED = "shipped"


def run(*arguments: object) -> None:
    """A command of bioqa, which must succeed."""
    code = bioqa([str(one) for one in arguments])
    if code:
        raise SystemExit(code)


def train_questions() -> Path:
    """Some of BioASQ's train questions, in a file of their own."""
    path = FOLDER / "train.json"
    if not path.exists():
        with gzip.open(BIOASQ / "train.json.gz", "rt", encoding="utf-8") as file:
            asked = json.load(file)["questions"]
        path.write_text(json.dumps({"questions": random.Random(0).sample(asked, QUESTIONS)}), encoding="utf-8")
    return path


def title_questions() -> Path:
    """Titles that are questions, as PubMedQA's JSON: of abstracts-2 and -3, whose titles train nothing, and none of PubMedQA's."""
    path = FOLDER / "titles.json"
    if not path.exists():
        known = json.loads((shared_data() / "pubmedqa" / "pubmedqa.json").read_text(encoding="utf-8"))
        files = [str(shared_data() / "abstracts" / f"abstracts-{number}.jsonl.gz") for number in (2, 3)]
        asked = {
            article.id: {"QUESTION": article.title, "CONTEXTS": [article.abstract]}
            for source in expand_sources(files)
            for article in read_source(source)
            if article.title.endswith("?") and article.abstract and article.id not in known
        }
        chosen = random.Random(0).sample(sorted(asked), TITLES)
        path.write_text(json.dumps({id: asked[id] for id in chosen}), encoding="utf-8")
    return path


def pairs_file(one: Try) -> Path:
    """The training pairs of a try, shared with others of the same."""
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
    """The pairs of a file with labels half of which are the larger model's probabilities."""
    import pyarrow as pa
    from pyarrow import parquet

    from benchmarks.grown_bert_base import TUNED, tuned
    from bioqa.rerank.reranker import Reranker

    out = path.with_stem(f"{path.stem}-distilled")
    if not out.exists():
        table = parquet.read_table(path)
        question, passage, label = (table.column(name).to_pylist() for name in ("question", "passage", "label"))
        larger = TUNED if (TUNED / "model.safetensors").is_file() else tuned()
        taught = Reranker(larger).score_pairs(list(zip(question, passage, strict=True))).probabilities
        labels = [(own + float(other)) / 2 for own, other in zip(label, taught, strict=True)]
        part = out.with_suffix(".part")
        parquet.write_table(table.set_column(table.schema.get_field_index("label"), "label", pa.array(labels)), part)
        part.replace(out)
    return out


SETS: Mapping[str, tuple[str, Callable[[], Path], int, int]] = {
    DEV: ("bioasq-snippets", lambda: BIOASQ / "dev.json.gz", 150, 50),
    "titles": ("pubmedqa", title_questions, TITLES, 30),
}
"""Suite, questions, how many of them, and how many candidates of each are reranked."""


def train_try(name: str, one: Try) -> tuple[Path, dict[str, Any]]:
    """The folder of the model that a try makes, and what the training was."""
    from bioqa.train.recipe import parse_recipe
    from bioqa.train.trainer import train

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
    folder = train(parse_recipe(recipe, name), out, progress=True).folder
    (facts,) = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return folder, {"pairs": facts["train_pairs"], "steps": facts["steps"], "seconds": round(facts["seconds"])}


def averaged(folder: Path) -> Path:
    """The mean of a model's weights and the shipped ones."""
    import shutil

    import torch
    from safetensors.torch import load_file, save_file

    out = FOLDER / "models" / "average"
    shutil.copytree(DEFAULT_FOLDER, out, dirs_exist_ok=True)
    one, other = (load_file(path / "model.safetensors") for path in (DEFAULT_FOLDER, folder))
    mean = {name: ((one[name].float() + other[name].float()) / 2).to(torch.float16) for name in one}
    save_file(mean, out / "model.safetensors", metadata={"format": "pt"})
    return out


def judged(model: str | Path) -> tuple[float, dict[str, dict[str, dict[str, float]]]]:
    """The weight of BM25 that is best on the dev questions, and each question's nDCG@10 on both sets."""
    runs = {}
    for name, (suite, asked, questions, depth) in SETS.items():
        settings = {"collection.questions": asked(), "reranker.model": model, "reranker.depth": depth}
        made = read_suite(SUITES / f"{suite}.toml", [f"{key}={value}" for key, value in settings.items()])
        found = run_collection(made, read_collection(made.collections[0]), Work(FOLDER / "cache", questions))
        runs[name] = next(iter(found.reranked.values())), found.collection.qrels
    by_weight = weights(*runs[DEV])
    best = max(by_weight, key=lambda weight: by_weight[weight])
    ways = {"BM25": (0.0, 1.0), "alone": (1.0, 0.0), "with BM25": (1.0, best)}
    return best, {name: {way: ndcg(*run, *parts) for way, parts in ways.items()} for name, run in runs.items()}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    shipped = judged("default")
    tries: dict[str, Any] = {}

    def tell(name: str, model: str | Path, training: dict[str, Any] | None = None) -> None:
        weight, found = judged(model) if tries else shipped
        tries[name] = {"first_stage_weight": weight, "training": training}
        for questions, ways in found.items():
            tries[name][questions] = {
                way: {"ndcg@10": round(mean(values.values()), 4), "p": compare(shipped[1][questions][way], values)}
                for way, values in ways.items()
            }
        result = {
            "what": "nDCG@10 after a small training more from the shipped weights; p against these, paired t-test"
        }
        write_result(RESULTS / "default_tries.json", result | {"tries": tries, "environment": environment()})

    tell(SHIPPED, "default")
    for name, one in TRIES.items():
        folder, facts = train_try(name, one)
        tell(name, folder, facts)
        if one.pairs == MINED:
            tell(AVERAGE, averaged(folder))


if __name__ == "__main__":
    main()
