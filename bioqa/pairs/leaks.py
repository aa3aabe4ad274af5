"""Whether splits of the data share questions or passages."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from bioqa.errors import UsageError
from bioqa.pairs.duplicates import THRESHOLD, NearDuplicates, digest
from bioqa.pairs.pair_file import read_batches, values
from bioqa.pairs.question_groups import read_groups

SHOWN = 3
KINDS = ("question", "near-duplicate question", "passage")


@dataclass(frozen=True, slots=True)
class Leak:
    """What two files have in common: its kind (one of ``KINDS``), how many of the second file, and a few as (first, second)."""

    kind: str
    first: Path
    second: Path
    count: int
    samples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Texts:
    """The different questions of a file by digest, and the digests of its passages."""

    path: Path
    questions: dict[bytes, str]
    passages: set[bytes]


def find_leaks(
    paths: Sequence[str | Path],
    *,
    passages: bool = True,
    first_only: bool = False,
    threshold: float = THRESHOLD,
    progress: Callable[[int], None] = lambda rows: None,
) -> list[Leak]:
    """What any two of the files share: questions and passages equal in normal form, near-duplicate questions (``threshold``).

    Under ``first_only`` the first is compared with each other file, and these not among themselves.
    Files are pairs in any form, or anything else that ``groups.read_groups`` takes. Passages count whatever their label, and not
    at all without ``passages``.

    Raises:
        PairsError, QuestionError: a file cannot be used.
        UsageError: there are fewer than two files, or one is named twice.
    """
    files = [Path(path) for path in paths]
    if len(files) < 2:
        raise UsageError("A leak is between files: name two or more.")
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError("A file is named twice: name different files.")
    texts = [_texts(file, passages, progress) for file in files]
    compared = [(texts[0], other) for other in texts[1:]] if first_only else combinations(texts, 2)
    return [leak for first, second in compared for leak in _between(first, second, threshold) if leak.count]


def _rows(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Questions and passages of a file, piece by piece."""
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".json", ".tar", ".tgz")):
        groups = read_groups([path])
        yield [g.question for g in groups], [p.text for g in groups for p in (*g.gold, *g.negatives)]
        return
    for batch in read_batches(path):
        yield values(batch, "question"), values(batch, "passage")


def _texts(path: Path, wanted: bool, progress: Callable[[int], None]) -> _Texts:
    found = _Texts(path, {}, set())
    for questions, passages in _rows(path):
        for question in dict.fromkeys(questions):
            found.questions.setdefault(digest(question), question)
        if wanted:
            found.passages.update(digest(passage) for passage in dict.fromkeys(passages))
        progress(len(passages))
    return found


def _between(first: _Texts, second: _Texts, threshold: float) -> Iterator[Leak]:
    same = [(first.questions[key], text) for key, text in second.questions.items() if key in first.questions]
    yield Leak(KINDS[0], first.path, second.path, len(same), tuple(same[:SHOWN]))
    known = list(first.questions.values())
    index = NearDuplicates(known, threshold)
    near = []
    for key, text in second.questions.items():
        if key not in first.questions and (found := index.find(text)):
            near.append((known[found[0]], text))
    yield Leak(KINDS[1], first.path, second.path, len(near), tuple(near[:SHOWN]))
    shared = first.passages & second.passages
    yield Leak(KINDS[2], first.path, second.path, len(shared), tuple(_passages(second.path, shared)))


def _passages(path: Path, shared: set[bytes]) -> Iterator[tuple[str, str]]:
    """A few of the passages of a file with these digests."""
    wanted, seen = min(SHOWN, len(shared)), set[bytes]()
    if not wanted:
        return
    for _, passages in _rows(path):
        for passage in passages:
            key = digest(passage)
            if key in shared and key not in seen:
                seen.add(key)
                yield passage, passage
                if len(seen) == wanted:
                    return
