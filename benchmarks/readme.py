"""Generate the sections of README.md and of the default reranker's model card that quote the code or committed results.

    python -m benchmarks.readme

A section lies between ``<!-- NAME -->`` and ``<!-- /NAME -->``; the function NAME generates it.
"""

import argparse
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
CARD = REPOSITORY / "bioqa" / "rerank" / "default" / "README.md"
RESULTS = REPOSITORY / "benchmarks" / "results"


def commands() -> str:
    """The output of ``bioqa --help``."""
    from bioqa.cli.main import cli

    settings = {"max_content_width": 100, "terminal_width": 100, "help_option_names": ["-h", "--help"]}
    with click.Context(cli, info_name="bioqa", **settings) as context:
        return f"```text\n{cli.get_help(context).rstrip()}\n```"


SUITES = ("bioasq-snippets", "scifact", "pubmedqa", "demo")


def results() -> str:
    """BM25, the default reranker, and both together, on the suites' collections."""
    measures = {"nDCG@10": "ndcg@10", "MAP@10": "bioasq-map@10", "MRR@10": "mrr@10", "R@100": "recall@100"}
    rows, machines = [], []
    for suite in SUITES:
        for engine in ("", "-exact"):
            if not (RESULTS / "suites" / f"{suite}{engine}.json").is_file():
                continue
            found = _read(f"suites/{suite}{engine}")
            (collection,) = found["collections"]
            for system in collection["systems"][-1:] if engine else collection["systems"]:
                cost = system["rerank"] or {"latency": {"p50_ms": 0.0}}
                seconds = (system["first_stage"]["p50_ms"] + cost["latency"]["p50_ms"]) / 1000
                compared = system["comparisons"].get("ndcg@10")
                mark = "" if compared is None or compared["corrected"] >= 0.001 else "*"
                found_values = [system["measures"].get(measure) for measure in measures.values()]
                values = ["" if value is None else f"{value:.4f}" for value in found_values]
                values[0] += mark
                name = _system(system) + ", exact engine" * bool(engine)
                rows.append([f"{suite}, {collection['questions']} questions", name, *values, _time(seconds)])
            machines.append(_machine(found))
    return (
        _table(["collection", "system", *measures, "time per question"], rows)
        + "\n\n\\* nDCG@10 differs from BM25's with p < 0.001 (paired t-test, corrected). MAP@10 follows BioASQ's definition. "
        f"BM25's top 100 are reranked. Times are medians ({', '.join(dict.fromkeys(machines))}). "
        "Reproduce with `bioqa bench run benchmarks/suites/….toml`."
    )


def _system(system: dict[str, Any]) -> str:
    """BM25, the default reranker, or both together."""
    if not system["rerank"]:
        return "BM25"
    return "default reranker" + " and BM25" * bool(system["first_stage_weight"])


def _time(seconds: float) -> str:
    """Seconds, or milliseconds below a tenth of a second."""
    return f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def startup() -> str:
    """Start-up times, and the ratio to Pyserini's."""
    found = json.loads((RESULTS / "startup.json").read_text(encoding="utf-8"))
    rows = ["| command | wall time | peak memory |", "|---|---|---|"]
    for name, figures in found["commands"].items():
        rows.append(f"| `{name}` | {figures['wall_s']:.2f} s | {figures['peak_mib']:.0f} MiB |")
    machine = found["environment"]
    return "\n".join(rows) + (
        f"\n\nBM25 search starts and answers {found['pyserini_over_bioqa_bm25']:.1f} times as "
        f"fast as Pyserini's command line "
        f"({machine['cores']} cores, {machine['processor']}, {machine['date']})."
    )


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def _machine(found: dict[str, Any]) -> str:
    machine = found["environment"]
    return f"{machine['cores']} cores, {machine['processor']}, {machine['date']}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


BUILDERS = {
    "bioqa": "`bioqa index build`",
    "pyserini": "pubmed_parser and Pyserini's LuceneIndexer",
    "pyserini, parsing in parallel": "the same, parsing on all cores",
    "pyserini, parsing in parallel, text and positions kept": "the same, storing text and positions as bioqa does",
    "floor, lxml": "gunzip and lxml only",
    "floor, expat": "gunzip and expat only",
    "lucene": "Lucene only, documents in memory",
}


def building() -> str:
    """Building an index."""
    found = _read("index_build")
    runs, ratios = found["contenders"], found["ratios"]
    rows = [
        [
            name,
            f"{runs[key]['seconds']:.1f} s",
            f"{runs[key]['citations_per_s']:,}",
            f"{runs[key]['peak_rss_mib']:,} MiB",
        ]
        for key, name in BUILDERS.items()
    ]
    ours = runs["bioqa"]["seconds"]
    over = {one: ours / (runs[f"floor, {one}"]["seconds"] + runs["lucene"]["seconds"]) for one in ("lxml", "expat")}
    return (
        _table([f"{found['citations']:,} citations", "time", "citations/s", "peak memory"], rows)
        + f"\n\nbioqa is {ratios['pyserini / bioqa']:.1f} times as fast as the loop in Pyserini's documentation and "
        f"{ratios['pyserini, parsing in parallel, text and positions kept / bioqa']:.1f} times as fast as the best version of that "
        f"loop with the same index content. It takes {over['lxml']:.2f} times (with expat {over['expat']:.2f} times) as long as "
        f"decompression, parsing and Lucene by themselves ({_machine(found)}; `benchmarks/index_build.py`)."
    )


def searching() -> str:
    """Latency of BM25 search at each depth."""
    found = _read("search_latency")
    depths = list(found["latency"])
    rows = [
        [name, *(f"{found['latency'][depth][name][key]:.2f} ms" for key in ("mean_ms", "batch_ms") for depth in depths)]
        for name in found["latency"][depths[0]]
    ]
    first = found["first_query_of_a_process"]["wall_s"]
    same = found["share_of_questions_ranked_as_pyserini"]["top 10"]
    return (
        _table(["time per question", *depths, *(f"{depth}, batch" for depth in depths)], rows)
        + f"\n\nThe {found['questions']} questions of the BioASQ test split against {found['documents']:,} abstracts, including "
        f"the ids of the results; batches use {found['batch_threads']} threads. Pyserini searches the same index and returns the "
        f"same top ten for {same:.1%} of the questions. A new process gives its first answer after {first:.2f} s "
        f"({_machine(found)}; `benchmarks/search_latency.py`)."
    )


def scaling() -> str:
    """Building and searching as the index grows."""
    found = _read("scale")
    rows = [
        [
            f"{one['citations']:,}",
            f"{one['citations_per_s']:,}",
            f"{one['index_bytes_per_citation']:,}",
            f"{one['build_peak_private_mib']:,} MiB",
            *(
                f"{one['latency'][depth][key]:.1f} ms"
                for depth in ("top 10", "top 100")
                for key in ("p50_ms", "p95_ms")
            ),
        ]
        for one in found["sizes"]
    ]
    columns = [
        "citations",
        "citations/s",
        "index bytes per citation",
        "peak memory",
        "top 10 p50",
        "p95",
        "top 100 p50",
        "p95",
    ]
    far = found["projection"]
    return (
        _table(columns, rows)
        + f"\n\nExtrapolated, not measured, to {far['citations']:,} citations on this machine: {far['build_hours']:.1f} hours "
        f"and {far['index_gib']:.0f} GiB ({_machine(found)}; `benchmarks/scale.py`)."
    )


QUALITY_MODELS = {"default": "the default reranker", "bert-base": "a fine-tuned model the size of BERT-base"}


def reranking() -> str:
    """Reranking on a CPU."""
    found, other = _read("rerank_cpu"), _read("rerank_cpu-amx")
    rows = [
        [f"{model}, 100 {kind}", *(f"{seconds:.2f} s" for seconds in one["seconds_per_question"].values())]
        for model, kinds in found["results"].items()
        for kind, one in kinds.items()
    ]
    names = list(found["results"]["minilm"]["abstracts"]["seconds_per_question"])
    quality = _read("engine_quality")["models"]
    rounding = "; ".join(_rounding(name, found) for name, found in quality.items())
    return (
        _table(["time per question", *names], rows)
        + f"\n\n({_machine(found)}; `benchmarks/rerank_cpu.py`.) On this processor, which has AVX512-VNNI and bf16 instructions, "
        f"cpu-int8 is {_times(found)}. On {other['environment']['processor']} with AMX, it is {_times(other)}.\n\n"
        f"The cost of quantization (`benchmarks/engine_quality.py`): {rounding}."
    )


def _times(found: dict[str, Any]) -> str:
    """The speed of cpu-int8 on one machine."""
    cases = [one for kinds in found["results"].values() for one in kinds.values()]
    base = found["results"]["bert-base"].values()
    times = [one["times_sentence_transformers"]["bioqa, cpu-int8"] for one in cases]
    best = [one["times_its_best"] for one in cases]
    share = [one["share_of_int8_floor"] for one in base]
    return (
        f"{min(times):.1f} to {max(times):.1f} times as fast as sentence-transformers' default and {min(best):.1f} to "
        f"{max(best):.1f} times as fast as its bf16 mode; with bert-base it reaches {min(share):.0%} to {max(share):.0%} of the "
        "speed that the 8-bit matrix products alone would allow"
    )


def _rounding(name: str, found: dict[str, Any]) -> str:
    """The effect of 8-bit quantization on a model's rankings."""
    ranking = found["rankings"]["with BM25"]
    exact, rounded = (ranking["measures"][engine]["ndcg@10"] for engine in ("exact", "cpu-int8"))
    return (
        f"nDCG@10 of {QUALITY_MODELS[name]} on {found['questions']} questions of `bioasq-snippets` changes from {exact:.4f} to "
        f"{rounded:.4f}, and {ranking['overlap_of_first_10']:.1%} of its top ten results stay the same"
    )


def training_speed() -> str:
    """Training speed, compared with sentence-transformers' trainer."""
    found = _read("train_speed")
    ours, theirs, settings = found["bioqa"], found["sentence-transformers"], found["settings"]
    speeds = [
        f"{one['pairs_per_s']:.1f} pairs per second with a peak of {one['peak_mib']:,} MiB" for one in (ours, theirs)
    ]
    times, by_processor = found["times_as_fast"], found["times_as_fast_by_processor_time"]
    precisions = [f"{one['average_precision']:.3f}" for one in (ours, theirs)]
    return (
        f"`bioqa train` processes {speeds[0]} in {settings['precision']}; sentence-transformers' trainer with default settings "
        f"processes {speeds[1]}. bioqa is {times:.2f} times as fast ({by_processor:.2f} times by CPU time), and dev average "
        f"precision is {precisions[0]} against {precisions[1]}. (The default reranker, trained further on "
        f"{found['pairs']['train']:,} of its own pairs; medians of {settings['repeats']} runs; {_machine(found)}; "
        "`benchmarks/train_speed.py`.)"
    )


def classification() -> str:
    """The default reranker as a classifier: gold passages of the test questions against hard negatives."""
    rows = []
    for suite, engine in ((suite, engine) for suite in SUITES[:3] for engine in ("", "-exact")):
        if not (RESULTS / "suites" / f"{suite}{engine}.json").is_file():
            continue
        one = _read(f"suites/{suite}{engine}")["collections"][0]["systems"][1]["classification"]
        frozen = one["frozen"]
        measures = ("average_precision", "roc_auc", "f1", "precision", "recall", "mcc")
        rows.append(
            [
                f"{suite}{', exact engine' * bool(engine)}",
                *(f"{one[key]:,}" for key in ("positives", "negatives")),
                *(f"{frozen[key]:.3f}" for key in measures),
                f"{frozen['calibration_error']:.4f}",
            ]
        )
    columns = [
        "collection",
        "gold",
        "negatives",
        "AP",
        "ROC AUC",
        "F1",
        "precision",
        "recall",
        "MCC",
        "calibration error",
    ]
    return (
        _table(columns, rows)
        + "\n\nNegatives are BM25's top-ranked passages that are not gold, up to four per gold passage. The threshold was "
        "chosen on dev and frozen."
    )


HIGHLIGHTERS = ("default reranker", "most question words", "first in the abstract")


def highlighting() -> str:
    """How often highlighted sentences match those that experts marked."""
    found = _read("answers")
    rows = [
        [
            f"{split}, {one['question_article_pairs']} articles",
            "bioqa" if name == "default reranker" else name,
            *(f"{one[shown][name]['hit']['mean']:.0%}" for shown in ("1 sentence", "2 sentences")),
            "{:.0%} to {:.0%}".format(*one["1 sentence"][name]["hit"]["interval_95"]),
            f"{one['1 sentence'][name]['f1']['mean']:.2f}",
        ]
        for split, one in found["splits"].items()
        if split != "train"
        for name in HIGHLIGHTERS
    ]
    chance = found["splits"]["dev"]["1 sentence"]["at random"]["hit"]["mean"]
    columns = [
        "articles",
        "highlighted by",
        "hits, one sentence",
        "hits, two sentences",
        "95% bootstrap interval, one sentence",
        "character F1, one sentence",
    ]
    return (
        _table(columns, rows)
        + f"\n\nA random sentence hits {chance:.0%} of the time on dev. The settings were chosen on train and dev, with a look at "
        f"the demo, whose questions were written for its articles ({found['environment']['date']}; `benchmarks/answers.py`)."
    )


def training() -> str:
    """The stages in which the default reranker was trained."""
    stages = json.loads((RESULTS / "default_reranker-training.json").read_text(encoding="utf-8"))
    rows = [
        [
            stage["stage"],
            f"{stage['train_pairs']:,}",
            f"{stage['steps']:,}",
            f"{stage['hyperparameters']['learning_rate']:g}",
            f"{stage['seconds'] / 60:.0f} minutes",
            f"{max(one.get('eval_dev_average_precision', 0) for one in stage['log']):.3f}",
        ]
        for stage in stages
    ]
    return _table(
        ["stage", "pairs", "steps", "learning rate", "time on 2 busy CPU cores", "best dev average precision"], rows
    )


def tries() -> str:
    """Small training runs that started from the default reranker."""
    found = _read("default_tries")["tries"]
    start = next(iter(found.values()))

    def ndcg(one: dict[str, Any]) -> str:
        return f"{one['ndcg@10']:.4f}" + "*" * (one["p"] < 0.05)

    rows = [
        [
            name,
            f"{one['training']['pairs']:,}" if one["training"] else "",
            *(ndcg(one["dev questions"][way]) for way in ("alone", "with BM25")),
            f"{one['first_stage_weight']:g}",
            *(ndcg(one["titles"][way]) for way in ("alone", "with BM25")),
        ]
        for name, one in found.items()
    ]
    columns = ["training", "pairs", "dev alone", "with BM25", "weight", "titles alone", "with BM25"]
    bm25 = [start[questions]["BM25"]["ndcg@10"] for questions in ("dev questions", "titles")]
    return (
        _table(columns, rows)
        + "\n\n\\* differs from the shipped weights with p < 0.05 (paired t-test, uncorrected). BM25 alone scores "
        f"{bm25[0]:.4f} on the dev questions and {bm25[1]:.4f} on the titles."
    )


def overlap() -> str:
    """Whether the gain over BM25 depends on text shared by training pairs and held-out passages."""
    rows = [
        [f"{suite}, {kind}", str(one["questions"]), f"{one['BM25']:.4f}", f"{one['with BM25']:.4f}", f"{one['p']:.1g}"]
        for suite, kinds in _read("default_overlap")["collections"].items()
        for kind, one in (("overlap", kinds["touched"]), ("no overlap", kinds["not touched"]))
        if one["questions"]
    ]
    return _table(["collection", "questions", "BM25", "default reranker and BM25", "p"], rows)


SECTIONS = (
    commands,
    results,
    startup,
    building,
    searching,
    scaling,
    reranking,
    training_speed,
    classification,
    highlighting,
    training,
    tries,
    overlap,
)


def regenerate(text: str) -> str:
    """The text with every generated section up to date."""
    for make in SECTIONS:
        name = make.__name__
        mark = f"<!-- {name} -->"
        if mark not in text:
            continue
        block = f"{mark}\n\n{make()}\n\n<!-- /{name} -->"
        text = re.sub(rf"{mark}(?:.*?<!-- /{name} -->)?", lambda _, block=block: block, text, count=1, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for page in (README, CARD):
        page.write_text(regenerate(page.read_text(encoding="utf-8")), encoding="utf-8")
