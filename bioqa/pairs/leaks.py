"""Find questions and passages that splits of the data share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from bioqa.errors import UsageError
from bioqa.pairs.duplicates import DEFAULT_JACCARD, NearDuplicates, text_digest
from bioqa.pairs.question_groups import read_groups
from bioqa.pairs.read_pairs import column_values, read_batches

SAMPLES = 3
"""Examples reported with a leak."""
KINDS = ("question", "near-duplicate question", "passage")


@dataclass(frozen=True, slots=True)
class Leak:
    """What two files share: its kind (one of ``KINDS``), their number in the second file, and a few examples as (first, second)."""

    kind: str
    first: Path
    second: Path
    count: int
    samples: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class _Texts:
    """The distinct questions of a file by digest, and the digests of its passages."""

    path: Path
    questions: dict[bytes, str]
    passages: set[bytes]


def find_leaks(
    paths: Sequence[str | Path],
    *,
    passages: bool = True,
    first_only: bool = False,
    jaccard: float = DEFAULT_JACCARD,
    progress: Callable[[int], object] = lambda rows: None,
) -> list[Leak]:
    """What any two files share: questions and passages that are equal in normal form, and near-duplicate questions.

    Files are pairs in any format, or anything else that ``read_groups`` reads. Passages are compared whatever their label, unless
    ``passages`` is false. With ``first_only`` the first file is compared with each other file, but not these with each other.
    ``jaccard`` is the similarity from which two questions are near-duplicates; ``progress`` gets the number of rows just read.

    Raises:
        PairsError, QuestionError: a file cannot be used.
        UsageError: there are fewer than two files, or a file is repeated.
    """
    files = [Path(path) for path in paths]
    if len(files) < 2:
        raise UsageError("A leak check compares files: name two or more.")
    if len({file.resolve() for file in files}) < len(files):
        raise UsageError("A file is repeated: name different files.")
    texts = [_texts(file, passages, progress) for file in files]
    compared = [(texts[0], other) for other in texts[1:]] if first_only else combinations(texts, 2)
    return [leak for first, second in compared for leak in _compare(first, second, jaccard) if leak.count]


def _rows(path: Path) -> Iterator[tuple[list[str], list[str]]]:
    """The questions and passages of a file, in batches."""
    name = path.name.lower()
    if name.removesuffix(".gz").endswith((".json", ".tar", ".tgz")):
        groups = read_groups([path])
        yield [g.question for g in groups], [p.text for g in groups for p in (*g.gold, *g.negatives)]
        return
    for batch in read_batches(path):
        yield column_values(batch, "question"), column_values(batch, "passage")


def _texts(path: Path, with_passages: bool, progress: Callable[[int], object]) -> _Texts:
    found = _Texts(path, {}, set())
    for questions, passages in _rows(path):
        for question in dict.fromkeys(questions):
            found.questions.setdefault(text_digest(question), question)
        if with_passages:
            found.passages.update(text_digest(passage) for passage in dict.fromkeys(passages))
        progress(len(passages))
    return found


def _compare(first: _Texts, second: _Texts, jaccard: float) -> Iterator[Leak]:
    same = [(first.questions[key], text) for key, text in second.questions.items() if key in first.questions]
    yield Leak(KINDS[0], first.path, second.path, len(same), tuple(same[:SAMPLES]))
    known = list(first.questions.values())
    index = NearDuplicates(known, jaccard)
    near = []
    for key, text in second.questions.items():
        if key not in first.questions and (found := index.find(text)):
            near.append((known[found[0]], text))
    yield Leak(KINDS[1], first.path, second.path, len(near), tuple(near[:SAMPLES]))
    shared = first.passages & second.passages
    yield Leak(KINDS[2], first.path, second.path, len(shared), tuple(_passages(second.path, shared)))


def _passages(path: Path, shared: set[bytes]) -> Iterator[tuple[str, str]]:
    """Some passages of a file with these digests."""
    wanted, seen = min(SAMPLES, len(shared)), set[bytes]()
    if not wanted:
        return
    for _, passages in _rows(path):
        for passage in passages:
            key = text_digest(passage)
            if key in shared and key not in seen:
                seen.add(key)
                yield passage, passage
                if len(seen) == wanted:
                    return
