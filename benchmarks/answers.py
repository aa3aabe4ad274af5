"""Answer sentences: how often the sentence that ``bioqa search`` highlights is one that BioASQ's experts marked.

    python -m benchmarks.answers

Each question of a BioASQ split is paired with those of its gold articles whose abstract is in the shared data (1% of them: from
``pubmed-xml/large``, with the sections in which BioASQ's offsets count, and from ``abstracts``). Their sentences are ranked as in a
``Pipeline``: with the default reranker, and without one, the baseline, by shared words. For comparison: the first sentence, which
experts mark most often, and the expected value of a random sentence. Only abstracts count, because titles are shown anyway; gold
snippets that are not where their offsets say are found by their letters. A highlight is a hit if it shares with a gold snippet at
least half of the shorter of the two; F1 is over its characters and those of all gold snippets. The default reranker was trained on
snippets of the train split, and its settings were chosen on train and dev, with a look at the demo, whose questions and articles
were written for bioqa. Intervals cover 95% of 10,000 bootstrap samples of the questions. The result goes to
``benchmarks/results/answers.json``.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean
from typing import NamedTuple

import numpy as np

from benchmarks.machine import RESULTS, environment, shared_data, write_result
from bioqa import Reranker
from bioqa.bench.run_cache import file_sha256
from bioqa.corpus.questions import read_questions
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sentences import sentences
from bioqa.corpus.sources import expand_sources
from bioqa.pipeline.highlight import best_sentences
from bioqa.types import Article, Question, Snippet

SPLITS = {"dev": "chosen on", "test": "held out", "train": "trained and chosen on"}
DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
HIGHLIGHTED = (1, 2)
"""Numbers of sentences per article that are judged; ``bioqa search`` shows two."""
SAMPLES = 10_000
LABEL = re.compile(r"[A-Z][A-Z /,&-]*: ")
"""The label of a section of an abstract."""

Span = tuple[int, int]


class Gold(NamedTuple):
    """A question, one of its gold articles, and the (begin, end) of its gold snippets in that article's abstract."""

    question: Question
    article: Article
    spans: list[Span]


class Judged(NamedTuple):
    """A highlight compared with the gold snippets: hit (1) or not (0), and F1 of characters, 0 to 1."""

    hit: float
    f1: float


def read_articles(paths: Sequence[Path], wanted: set[str]) -> dict[str, Article]:
    """The wanted articles of the files; the last version of a repeated one."""
    found: dict[str, Article] = {}
    for source in expand_sources(paths):
        for record in read_source(source, on_bad=lambda _: None):
            if isinstance(record, Article) and record.id in wanted:
                found[record.id] = record
            elif not isinstance(record, Article):
                found.pop(record.id, None)
    return found


def locate(snippet: Snippet, abstract: str) -> Span | None:
    """Where a gold snippet is in the abstract: at its offsets, else where its letters and digits are (None: nowhere)."""
    text = snippet.text.strip()
    if text and abstract[snippet.begin : snippet.end].strip() == text:
        begin = abstract.index(text, snippet.begin)
        return begin, begin + len(text)
    letters, places = _letters(abstract)
    wanted, _ = _letters(text.removeprefix(label.group()) if (label := LABEL.match(text)) else text)
    at = letters.find(wanted)
    return (places[at], places[at + len(wanted) - 1] + 1) if wanted and at >= 0 else None


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of a text in lower case, and their positions."""
    places = [place for place, character in enumerate(text) if character.isalnum()]
    return "".join(text[place].lower()[0] for place in places), places


def gold_of(questions: Sequence[Question], articles: dict[str, Article]) -> Iterator[Gold]:
    """The questions with each available gold article; without spans if no gold snippet is in its abstract."""
    for question in questions:
        for id in dict.fromkeys(snippet.document for snippet in question.snippets):
            if id in articles:
                own = [one for one in question.snippets if one.document == id and one.section != "title"]
                spans = [locate(snippet, articles[id].abstract) for snippet in own]
                yield Gold(question, articles[id], [span for span in spans if span])


def judge(highlight: Sequence[Span], gold: Sequence[Span]) -> Judged:
    """Compare a highlight of one or more sentences with the gold spans."""
    marked, right = (set().union(*(range(*span) for span in spans)) for spans in (highlight, gold))
    hit = any(
        min(end, to) - max(begin, start) >= min(end - begin, to - start) / 2
        for begin, end in highlight
        for start, to in gold
    )
    return Judged(float(hit), 2 * len(marked & right) / (len(marked) + len(right)))


def by_search(reranker: Reranker | None, pairs: Sequence[Gold]) -> list[list[Span]]:
    """The sentences that a pipeline with or without the reranker highlights, best first."""
    found = []
    for question, article, _ in pairs:
        (snippets,) = best_sentences(reranker, question.body, [article], per_article=max(HIGHLIGHTED))
        found.append([(snippet.begin, snippet.end) for snippet in snippets])
    return found


def in_order(pairs: Sequence[Gold]) -> list[list[Span]]:
    """All sentences of each abstract, in order."""
    return [
        [(one.begin, one.end) for one in sentences(article) if one.section == "abstract"] for _, article, _ in pairs
    ]


def at_random(found: Sequence[Span], gold: Sequence[Span], shown: int) -> Judged:
    """The expected values of ``shown`` random sentences."""
    drawn = [judge(some, gold) for some in combinations(found, min(shown, len(found)))]
    return Judged(mean(one.hit for one in drawn), mean(one.f1 for one in drawn))


def interval(values: np.ndarray, groups: np.ndarray) -> list[float]:
    """The middle 95% of the means over bootstrap samples of the groups (questions) that the values belong to."""
    _, group = np.unique(groups, return_inverse=True)
    sums, counts = np.bincount(group, weights=values), np.bincount(group)
    drawn = np.random.default_rng(42).integers(len(sums), size=(SAMPLES, len(sums)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return [round(float(edge), 4) for edge in np.percentile(means, (2.5, 97.5))]


def estimate(values: Sequence[float], pairs: Sequence[Gold]) -> dict[str, float | list[float]]:
    """The mean over pairs with its interval."""
    groups = np.array([pair.question.id for pair in pairs])
    return {"mean": round(mean(values), 4), "interval_95": interval(np.array(values), groups)}


def row(found: Sequence[Gold], role: str, reranker: Reranker) -> dict[str, object]:
    """The figures of one set of questions."""
    pairs = [pair for pair in found if pair.spans]
    result: dict[str, object] = {
        "the_default_reranker": role,
        "questions": len({pair.question.id for pair in pairs}),
        "question_article_pairs": len(pairs),
        "pairs_left_out_without_gold_in_the_abstract": len(found) - len(pairs),
    }
    sentence_spans = in_order(pairs)
    systems = {
        "default reranker": by_search(reranker, pairs),
        "most question words": by_search(None, pairs),
        "first in the abstract": sentence_spans,
    }
    for shown in HIGHLIGHTED:
        judged = {
            name: [judge(spans[:shown], pair.spans) for spans, pair in zip(made, pairs, strict=True)]
            for name, made in systems.items()
        }
        judged["at random"] = [
            at_random(spans, pair.spans, shown) for spans, pair in zip(sentence_spans, pairs, strict=True)
        ]
        judged["default reranker above most question words"] = [
            Judged(ours.hit - words.hit, ours.f1 - words.f1)
            for ours, words in zip(judged["default reranker"], judged["most question words"], strict=True)
        ]
        result[f"{shown} sentence{'s' * (shown > 1)}"] = {
            name: {key: estimate([getattr(one, key) for one in of], pairs) for key in Judged._fields}
            for name, of in judged.items()
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "answers.json")
    options = parser.parse_args()
    data = shared_data()
    questions = {split: read_questions(data / "bioasq" / f"{split}.json.gz") for split in SPLITS}
    wanted = {snippet.document for split in questions.values() for one in split for snippet in one.snippets}
    articles = read_articles([data / "abstracts", data / "pubmed-xml" / "large"], wanted)
    reranker = Reranker()
    rows = {split: row(list(gold_of(questions[split], articles)), SPLITS[split], reranker) for split in SPLITS}
    demo = read_questions(DEMO / "questions.json")
    demo_articles = read_articles([DEMO], {snippet.document for one in demo for snippet in one.snippets})
    rows["demo"] = row(list(gold_of(demo, demo_articles)), "looked at when its settings were chosen", reranker)
    result = {
        "what": "highlighted sentences of gold articles against the gold snippets in their abstracts",
        "hit": "shares half of the shorter of sentence and snippet, or more",
        "f1": "of the highlighted characters and those of all gold snippets in the abstract",
        "model": {
            "name": reranker.name,
            "sha256": file_sha256(reranker.folder / "model.safetensors"),
            "engine": reranker.engine,
            "device": reranker.device,
        },
        "splits": rows,
        "environment": environment(),
    }
    write_result(options.out, result)


if __name__ == "__main__":
    main()
