"""Questions with their gold passages, read from question files, pairs, PubMedQA or MedQuAD."""

import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

from bioqa.corpus.questions import read_questions
from bioqa.errors import PairsError
from bioqa.io.json_text import parse_json
from bioqa.io.text_files import read_head, read_whole, source_errors
from bioqa.pairs.contradictions import check_labels
from bioqa.pairs.duplicates import connected_sets, normalize
from bioqa.pairs.read_pairs import column_values, read_pairs
from bioqa.types import Question

_T = TypeVar("_T")


class Passage(NamedTuple):
    """A text; ``begin`` and ``end`` are its character offsets in that ``section`` of the document, 0 if unknown."""

    text: str
    document_id: str = ""
    section: str = ""
    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """A question with its gold passages, the negatives that its source gives, and its gold documents.

    ``kind`` is that of the gold pairs ("gold" or "given"). ``related`` are further gold passages that are not positives here and
    never negatives: those of near-duplicate questions, and those beyond a maximum.
    """

    id: str
    question: str
    gold: tuple[Passage, ...]
    negatives: tuple[Passage, ...] = ()
    documents: tuple[str, ...] = ()
    related: tuple[Passage, ...] = ()
    kind: str = "gold"


def read_groups(paths: Sequence[str | Path]) -> list[QuestionGroup]:
    """The questions of all files; the passages and documents of a question that is in several files are merged.

    A file is a BioASQ question file, PubMedQA's JSON, MedQuAD's tar.gz, or pairs in any format of ``read_pairs``. Two questions are
    the same if their ids are equal (BioASQ only) or their texts have the same normal form.

    Raises:
        QuestionError: a question file is malformed.
        PairsError: another file is missing or malformed, labels a pair both relevant and not, or has no question with a gold
            passage or document.
    """
    found: list[QuestionGroup] = []
    for path in map(Path, paths):
        groups = _read(path)
        if not any(group.gold or group.documents for group in groups):
            raise PairsError(f"{path} has no question with a gold passage: nothing to learn from.")
        found += groups
    return merge_groups(found)


def _read(path: Path) -> list[QuestionGroup]:
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return list(_read_medquad(path))
    if name.removesuffix(".gz").endswith(".json"):
        known = os.path.isfile(path) and path.stat().st_size  # noqa: PTH113 - False for impossible names
        if known and b'"QUESTION"' in read_head(path, 1 << 12):
            return list(_read_pubmedqa(path))
        return [_bioasq_group(question) for question in read_questions(path)]
    return list(_read_pair_groups(path))


def _bioasq_group(question: Question) -> QuestionGroup:
    passages = (
        Passage(snippet.text.strip(), snippet.document, snippet.section, snippet.begin, snippet.end)
        for snippet in question.snippets
        if snippet.text.strip()
    )
    return QuestionGroup(question.id, question.body, _distinct(passages), documents=_distinct(question.documents))


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    """The values without repetitions, in order."""
    return tuple(dict.fromkeys(values))


def _read_pair_groups(path: Path) -> Iterator[QuestionGroup]:
    """A group for each question id."""
    rows: dict[str, tuple[str, list[Passage], list[Passage], set[str]]] = {}
    table = read_pairs(path)
    check_labels([table], [path])
    for batch in table.to_batches():
        columns = [column_values(batch, name) for name in batch.schema.names]
        for question, passage, label, id, document, kind, _ in zip(*columns, strict=True):
            _, gold, negatives, kinds = rows.setdefault(id, (question, [], [], set()))
            (gold if label >= 0.5 else negatives).append(Passage(passage, document))
            kinds.add(kind)
    for id, (question, gold, negatives, kinds) in rows.items():
        documents = _distinct(passage.document_id for passage in gold if passage.document_id)
        kind = "gold" if "gold" in kinds else "given"
        yield QuestionGroup(id, question, _distinct(gold), _distinct(negatives), documents, kind=kind)


def _read_pubmedqa(path: Path) -> Iterator[QuestionGroup]:
    """PubMedQA's labeled questions: {PMID: {QUESTION, CONTEXTS, …}}, https://pubmedqa.github.io. The abstract is gold."""
    try:
        records = parse_json(read_whole(path).decode())
        for pmid, record in records.items():
            question, text = record["QUESTION"].strip(), " ".join(record["CONTEXTS"]).strip()
            (pmid + question + text).encode()  # fails for half a character, which JSON can write
            yield QuestionGroup(pmid, question, (Passage(text, pmid),), documents=(pmid,))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise PairsError(f"{path} is not PubMedQA's JSON ({type(problem).__name__}: {problem}).") from None


def _read_medquad(path: Path) -> Iterator[QuestionGroup]:
    """MedQuAD's answered questions: XML files in a tar.gz, https://github.com/abachaa/MedQuAD."""
    from lxml import etree

    try:
        with source_errors(path), tarfile.open(path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name.endswith(".xml") else None
                if file is None:
                    continue
                document = etree.fromstring(file.read())
                for pair in document.iter("QAPair"):
                    question = pair.find("Question")
                    answer = " ".join("".join(pair.find("Answer").itertext()).split())
                    if answer and question is not None and (question.text or "").strip():
                        passage = Passage(answer, document.get("id") or "")
                        folder = member.name.rpartition("/")[0]  # ids are unique only within their folder
                        id = f"{folder}/{question.get('qid')}"
                        yield QuestionGroup(id, " ".join(question.text.split()), (passage,))
    except (tarfile.TarError, etree.XMLSyntaxError, AttributeError) as problem:
        raise PairsError(f"{path} is not MedQuAD's archive of XML files ({problem}).") from None


def merge_groups(groups: Sequence[QuestionGroup]) -> list[QuestionGroup]:
    """The groups with those of the same question merged; each keeps the position and wording of its first."""
    first: dict[str, int] = {}
    edges = []
    for number, group in enumerate(groups):
        keys = [f"text {normalize(group.question)}"]
        if group.kind == "gold":
            keys.append(f"id {group.id}")
        edges += [(first.setdefault(key, number), number) for key in keys]
    return [_merge([groups[number] for number in numbers]) for numbers in connected_sets(len(groups), edges)]


def _merge(groups: Sequence[QuestionGroup]) -> QuestionGroup:
    if len(groups) == 1:
        return groups[0]
    return replace(
        groups[0],
        gold=_distinct(passage for group in groups for passage in group.gold),
        negatives=_distinct(passage for group in groups for passage in group.negatives),
        documents=_distinct(document for group in groups for document in group.documents),
    )
