"""Time to count five facets of broad questions, over an index of the shared abstracts with synthetic metadata.

    python -m benchmarks.facets --sizes 175166 1000000

The bound: at most 50 ms for the 175,166 abstracts on two cores. Texts are the shared abstracts, again with new ids where more are
needed. Metadata depends only on the seed: years, 5,000 journals, 30 publication types, 28,000 MeSH descriptors with ten to an
article and 500,000 authors with six, all as skewed as Zipf's law (exponent 0.8). Corpus and index stay in ``<data>`` for the next
run. The result goes to ``benchmarks/results/facets.json``.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from functools import partial
from itertools import accumulate, cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.machine import DATA, RESULTS, environment, shared_data, write_result
from benchmarks.scale import percentiles
from bioqa import BM25Retriever, Index, SearchOptions, build_index
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import IndexStateError
from bioqa.types import Article

SIZES = (175_166,)
SEED = 2026
FIELDS = ("year", "journal", "type", "mesh", "author")
QUESTIONS = (
    "patients with disease",
    "treatment study results",
    "cell expression gene protein",
    "cancer risk",
    "asthma",
    "CFTR",
)
REPEATS = 20
YEARS = [str(year) for year in range(1966, 2027)]


def weights(count: int) -> list[float]:
    """Cumulative weights of ``count`` values by Zipf's law."""
    return list(accumulate(1 / (rank + 1) ** 0.8 for rank in range(count)))


def texts(data: Path) -> Iterator[Article]:
    """The shared abstracts, over and over."""
    files = expand_sources([data / "abstracts"])
    yield from cycle([record for file in files for record in read_source(file) if isinstance(record, Article)])


def write_corpus(path: Path, size: int) -> None:
    """JSON lines of ``size`` articles with synthetic metadata."""
    rng = random.Random(SEED)
    pools = {
        name: weights(count)
        for name, count in (("journal", 5_000), ("type", 30), ("mesh", 28_000), ("author", 500_000))
    }

    def some(name: str, most: int) -> list[int]:
        pool = pools[name]
        return sorted(set(rng.choices(range(len(pool)), cum_weights=pool, k=rng.randint(1, most))))

    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for number, article in enumerate(islice(texts(shared_data()), size)):
            record = {
                "id": str(10_000_000 + number),
                "title": article.title,
                "abstract": article.abstract,
                "date": rng.choice(YEARS),
                "journal": f"Journal of Subject {some('journal', 1)[0]}",
                "publication_types": [f"Type {n}" for n in some("type", 3)],
                "mesh": [f"Descriptor {n}" for n in some("mesh", 19)],
                "languages": ["eng"],
                "authors": [
                    {"last": f"Surname{n % 60_000}", "initials": chr(65 + n // 60_000)} for n in some("author", 11)
                ],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    part.rename(path)


def measure(size: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times of the search for ten articles, of all facets together and of each, for every question."""
    corpus, index = options.data / f"facets-{size}.jsonl", options.data / f"facets-{size}"
    options.data.mkdir(parents=True, exist_ok=True)
    if not corpus.exists():
        write_corpus(corpus, size)
    try:
        Index(index).close()
    except IndexStateError:  # there is none, or an unfinished one
        build_index(index, [corpus])
    figures: dict[str, Any] = {"articles": size, "questions": {}}
    with Index(index, threads=options.threads) as opened:
        retriever = BM25Retriever(opened)
        segments = len(opened.commit.reader.leaves().toArray())
        for question in (*QUESTIONS, "*:*"):
            figures["questions"][question] = times(retriever, question, options.repeats)
    return {**figures, "segments": segments, "threads": options.threads}


def times(retriever: BM25Retriever, question: str, repeats: int) -> dict[str, Any]:
    """How many articles match, and the time of each call."""
    search = SearchOptions(syntax="lucene") if question == "*:*" else SearchOptions()
    calls = {
        "search_top_10": lambda: retriever.search(question, 10, search),
        "five_facets": lambda: retriever.facets(question, FIELDS, search),
        **{name: partial(retriever.facets, question, [name], search) for name in FIELDS},
    }
    matches = sum(count for _, count in retriever.facets(question, ["year"], search)["year"])
    return {"matches": matches, **{name: timed(call, repeats) for name, call in calls.items()}}


def timed(call: Any, repeats: int) -> dict[str, float]:
    """Percentiles of the time of a call, after as many calls to warm up."""
    seconds = []
    for _ in range(2 * repeats):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return percentiles(seconds[repeats:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "facets.json")
    options = parser.parse_args()
    write_result(
        options.out, {"environment": environment(), "sizes": [measure(size, options) for size in options.sizes]}
    )


if __name__ == "__main__":
    main()
