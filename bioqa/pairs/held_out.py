"""Held-out data, such as dev and test sets, that must not get into training pairs."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from bioqa.pairs.duplicates import DEFAULT_JACCARD, NearDuplicates, text_digest
from bioqa.pairs.question_groups import Passage, QuestionGroup, read_groups


class HeldOut:
    """The questions, passages and, with ``by_document``, whole gold documents of some groups.

    Raises:
        UsageError: ``jaccard`` is not above 0 and at most 1.
    """

    def __init__(
        self,
        groups: Iterable[QuestionGroup] = (),
        jaccard: float = DEFAULT_JACCARD,
        *,
        by_document: bool = False,
    ) -> None:
        groups = list(groups)
        self._questions = NearDuplicates([group.question for group in groups], jaccard)
        self._texts = {text_digest(passage.text) for group in groups for passage in (*group.gold, *group.negatives)}
        self._documents = {document for group in groups for document in group.documents} if by_document else set()

    def add_passages(self, passages: Iterable[Passage]) -> None:
        """Hold out more passages."""
        self._texts.update(text_digest(passage.text) for passage in passages)

    def has_question(self, question: str) -> bool:
        """Whether a question equals or nearly duplicates a held-out one."""
        return bool(self._questions.find(question))

    def has_passage(self, passage: Passage) -> bool:
        """Whether a passage has the text of a held-out one (in normal form), or is from a held-out document."""
        if passage.document_id in self._documents:
            return True
        return bool(self._texts) and text_digest(passage.text) in self._texts


def read_held_out(
    paths: Sequence[str | Path], jaccard: float = DEFAULT_JACCARD, *, by_document: bool = False
) -> HeldOut:
    """The data of files that ``read_groups`` reads. Raises the same errors."""
    return HeldOut(read_groups(paths) if paths else (), jaccard, by_document=by_document)
