"""What pairs are made from: a question with its gold passages, read from question files, pairs, PubMedQA or MedQuAD."""

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bioqa.corpus.questions import read_questions
from bioqa.errors import PairsError
from bioqa.io.text_files import read_chunks, read_head, source_errors
from bioqa.pairs.duplicates import Union, normalised
from bioqa.pairs.pair_file import read_batches, values
from bioqa.types import Question


class Passage(NamedTuple):
    """A text; ``begin`` and ``end`` are its offsets in that ``section`` of the document, where these are known."""

    text: str
    document_id: str = ""
    section: str = ""
    begin: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A question, its gold passages, negatives that its source gave, and its gold documents.

    ``kind`` is the kind of the gold pairs ("gold", or "given"). ``related`` are gold passages of near-duplicate questions: no
    positives here, and never negatives.
    """

    id: str
    question: str
    gold: tuple[Passage, ...]
    negatives: tuple[Passage, ...] = ()
    documents: tuple[str, ...] = ()
    related: tuple[Passage, ...] = ()
    kind: str = "gold"


def read_groups(paths: Sequence[str | Path]) -> list[Group]:
    """The questions of all files, with what several files say of one question united.

    A file is a BioASQ question file, PubMedQA's JSON, MedQuAD's tar.gz, or pairs in any form of ``pairs.read_pairs``. Questions are
    one where their ids are equal (BioASQ's alone) or their texts in normal form.

    Raises:
        QuestionError: a question file is malformed.
        PairsError: another file is missing or malformed, or holds no question with a gold passage or document.
    """
    found: list[Group] = []
    for path in map(Path, paths):
        groups = _read(path)
        if not any(group.gold or group.documents for group in groups):
            raise PairsError(f"{path} holds no question with a gold passage: nothing to learn from.")
        found += groups
    return merged(found)


def _read(path: Path) -> list[Group]:
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return list(_medquad(path))
    if name.removesuffix(".gz").endswith(".json"):
        if path.is_file() and path.stat().st_size and b'"QUESTION"' in read_head(path, 1 << 12):
            return list(_pubmedqa(path))
        return [_bioasq_group(question) for question in read_questions(path)]
    return list(_pair_groups(path))


def _bioasq_group(question: Question) -> Group:
    passages = (
        Passage(snippet.text.strip(), snippet.document, snippet.section, snippet.begin, snippet.end)
        for snippet in question.snippets
        if snippet.text.strip()
    )
    return Group(question.id, question.body, _distinct(passages), documents=tuple(dict.fromkeys(question.documents)))


def _distinct(passages: Iterable[Passage]) -> tuple[Passage, ...]:
    """The passages without those of the same place and text."""
    return tuple(dict.fromkeys(passages))


def _pair_groups(path: Path) -> Iterator[Group]:
    """One group a question id of pairs in any form."""
    rows: dict[str, tuple[str, list[Passage], list[Passage], set[str]]] = {}
    for batch in read_batches(path):
        columns = [values(batch, name) for name in batch.schema.names]
        for question, passage, label, id, document, kind, _ in zip(*columns, strict=True):
            _, gold, negatives, kinds = rows.setdefault(id, (question, [], [], set()))
            (gold if label >= 0.5 else negatives).append(Passage(passage, document))
            kinds.add(kind)
    for id, (question, gold, negatives, kinds) in rows.items():
        documents = tuple(dict.fromkeys(passage.document_id for passage in gold if passage.document_id))
        kind = "gold" if "gold" in kinds else "given"
        yield Group(id, question, _distinct(gold), _distinct(negatives), documents, kind=kind)


def _pubmedqa(path: Path) -> Iterator[Group]:
    """PubMedQA's labelled questions: {PMID: {QUESTION, CONTEXTS, …}}, https://pubmedqa.github.io. Gold is the abstract."""
    try:
        records = json.loads(b"".join(read_chunks(path)))
        for pmid, record in records.items():
            gold = Passage(" ".join(record["CONTEXTS"]).strip(), pmid)
            yield Group(pmid, record["QUESTION"].strip(), (gold,), documents=(pmid,))
    except (ValueError, KeyError, TypeError, AttributeError) as problem:
        raise PairsError(f"{path} is not PubMedQA's JSON ({type(problem).__name__}: {problem}).") from None


def _medquad(path: Path) -> Iterator[Group]:
    """MedQuAD's questions with their answers: XML files in a tar.gz, https://github.com/abachaa/MedQuAD. Many have no answer."""
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
                        folder = member.name.rpartition("/")[0]  # ids are unique in their folder only
                        id = f"{folder}/{question.get('qid')}"
                        yield Group(id, " ".join(question.text.split()), (passage,))
    except (tarfile.TarError, etree.XMLSyntaxError, AttributeError) as problem:
        raise PairsError(f"{path} is not MedQuAD's archive of XML files ({problem}).") from None


def merged(groups: Sequence[Group]) -> list[Group]:
    """The groups with those of one question made one, at the place and in the words of the first."""
    union = Union(len(groups))
    first: dict[str, int] = {}
    for number, group in enumerate(groups):
        keys = [f"text {normalised(group.question)}"]
        if group.kind == "gold":
            keys.append(f"id {group.id}")
        for key in keys:
            union.join(number, first.setdefault(key, number))
    return [_united([groups[number] for number in numbers]) for numbers in union.sets()]


def _united(groups: Sequence[Group]) -> Group:
    if len(groups) == 1:
        return groups[0]
    return replace(
        groups[0],
        gold=_distinct(passage for group in groups for passage in group.gold),
        negatives=_distinct(passage for group in groups for passage in group.negatives),
        documents=tuple(dict.fromkeys(document for group in groups for document in group.documents)),
    )
