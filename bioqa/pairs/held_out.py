"""What must stay out of training data: the questions, passages and documents of dev and test."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bioqa.pairs.duplicates import THRESHOLD, NearDuplicates, digests
from bioqa.pairs.duplicates import digest as digest_of
from bioqa.pairs.question_groups import Group, Passage, read_groups


class Excluded:
    """The questions (and near-duplicates), gold passages and documents of some groups."""

    def __init__(self, groups: Iterable[Group] = (), threshold: float = THRESHOLD) -> None:
        groups = list(groups)
        self._questions = NearDuplicates([group.question for group in groups], threshold)
        passages = [passage for group in groups for passage in (*group.gold, *group.negatives)]
        self._passages = digests(passage.text for passage in passages)
        self._documents = {document for group in groups for document in group.documents}

    def has_question(self, question: str) -> bool:
        """Whether a question is one of these, or nearly."""
        return bool(self._questions.find(question))

    def has_document(self, id: str) -> bool:
        """Whether this is a gold document of one of the questions."""
        return id in self._documents

    def has_passage(self, passage: Passage) -> bool:
        """Whether a text equals one of the passages, in normal form."""
        return bool(self._passages) and digest_of(passage.text) in self._passages


def read_excluded(paths: Sequence[str | Path], threshold: float = THRESHOLD) -> Excluded:
    """What the files of ``groups.read_groups`` hold, to keep it out; raises as that does."""
    return Excluded(read_groups(paths) if paths else (), threshold)
