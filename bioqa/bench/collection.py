"""Kinds of test collections: their passages, their questions, and which passages are relevant.

articles          ``corpus`` (files, folders, globs) or an ``index``; ``questions`` of any known format. Passages are articles,
                  title and abstract. Relevant: as in ``qrels`` (TREC or BEIR), else the gold documents of BioASQ questions.
beir              ``folder`` with corpus.jsonl, queries.jsonl and qrels/``split``.tsv.
bioasq-snippets   ``passages``: BioASQ files; the passages are all their distinct snippet texts (stripped). ``questions``: one of
                  them. Relevant to a question: its own snippets.
pubmedqa          ``questions``: PubMedQA's JSON, {PMID: {"QUESTION": …}}; ``corpus`` has the abstracts. Passages are abstracts
                  without titles, as PubMedQA's questions are titles. Relevant to a question: the abstract it was made from.

Only questions with a relevant passage count, as in trec_eval.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bioqa.bench.suite import CollectionSpec
from bioqa.corpus.qrels import read_qrels
from bioqa.corpus.questions import check_question, read_questions
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import QuestionError, UsageError
from bioqa.io.json_text import parse_json
from bioqa.io.trec import Qrels
from bioqa.types import Article, Question


@dataclass(frozen=True, slots=True)
class TestCollection:
    """A test collection, ready to be indexed and searched.

    ``definition`` says in a sentence what a passage is and which are relevant. ``questions`` are those with a relevant passage;
    ``qrels`` has only these, {question id: {passage id: grade}}. The passages come from corpus files to index as they are
    (``sources``), from ``passages``, or from an ``index``. ``inputs`` are the files that the passages come from.
    """

    name: str
    definition: str
    questions: tuple[Question, ...]
    qrels: Qrels
    inputs: tuple[Path, ...] = ()
    sources: tuple[Path, ...] = ()
    passages: Callable[[], Iterator[Article]] | None = None
    index: Path | None = None

    @property
    def relevant(self) -> dict[str, set[str]]:
        """Question id → ids of its relevant passages (grade 1 or more)."""
        return {id: {name for name, grade in grades.items() if grade > 0} for id, grades in self.qrels.items()}

    def first(self, count: int) -> "TestCollection":
        """The collection with its first ``count`` questions only."""
        questions = self.questions[:count]
        return replace(self, questions=questions, qrels={one.id: self.qrels[one.id] for one in questions})


def read_collection(spec: CollectionSpec) -> TestCollection:
    """Read the questions and relevance judgements of a collection, and find its corpus.

    Raises:
        UsageError: the kind is unknown, or a key that it needs is missing.
        QuestionError: a question file cannot be used, or no question has a relevant passage.
        SourceError: a corpus or judgement file cannot be used.
    """
    if spec.kind not in _KINDS:
        raise UsageError(f"Collection {spec.name}: unknown kind {spec.kind!r}. Kinds: {', '.join(_KINDS)}.")
    collection = _KINDS[spec.kind](spec)
    if not collection.questions:
        raise QuestionError(f"Collection {spec.name}: no question has a relevant passage.")
    return collection


def _with_relevant(questions: Iterable[Question], qrels: Qrels) -> tuple[tuple[Question, ...], Qrels]:
    """The questions with a relevant passage (grade 1 or more), and their relevance judgements."""
    kept = tuple(one for one in questions if any(grade > 0 for grade in qrels.get(one.id, {}).values()))
    return kept, {one.id: qrels[one.id] for one in kept}


def _articles(spec: CollectionSpec) -> TestCollection:
    _need(spec, "questions")
    if bool(spec.corpus) == bool(spec.index):
        raise UsageError(f"Collection {spec.name}: a collection of articles needs a corpus or an index, not both.")
    asked = read_questions(spec.questions)
    questions, qrels = _with_relevant(asked, read_qrels(spec.qrels or spec.questions))
    relevant = f"as in {Path(spec.qrels).name}" if spec.qrels else "the gold documents of the questions"
    definition = f"Passages are articles, title and abstract. Relevant: {relevant}."
    if spec.index:
        return TestCollection(spec.name, definition, questions, qrels, index=Path(spec.index))
    sources = expand_sources(spec.corpus)
    files = tuple(source.file for source in sources)
    return TestCollection(spec.name, definition, questions, qrels, files, tuple(source.path for source in sources))


def _beir(spec: CollectionSpec) -> TestCollection:
    _need(spec, "folder")
    folder = Path(spec.folder)
    qrels_file = folder / "qrels" / f"{spec.split}.tsv"
    questions, qrels = _with_relevant(read_questions(folder), read_qrels(qrels_file))
    definition = f"The BEIR folder {folder.name}, {spec.split} split. Relevant: as in qrels/{qrels_file.name}."
    return TestCollection(
        spec.name, definition, questions, qrels, tuple(source.file for source in expand_sources([folder])), (folder,)
    )


def _bioasq_snippets(spec: CollectionSpec) -> TestCollection:
    _need(spec, "passages")
    _need(spec, "questions")
    ids: dict[str, str] = {}
    for file in spec.passages:
        for question in read_questions(file):
            for text in _snippet_texts(question):
                ids.setdefault(text, f"s{len(ids)}")
    asked = read_questions(spec.questions)
    unknown = [one.id for one in asked if any(text not in ids for text in _snippet_texts(one))]
    if unknown:
        raise QuestionError(
            f"Collection {spec.name}: question {unknown[0]} of {spec.questions} has a snippet that is not a passage. Add its file "
            "to the passages."
        )
    qrels = {one.id: {ids[text]: 1 for text in _snippet_texts(one)} for one in asked}
    questions, qrels = _with_relevant(asked, qrels)
    definition = (
        f"Passages are all distinct snippet texts of {_names(spec.passages)}. Relevant to a question of "
        f"{Path(spec.questions).name}: its own snippets."
    )

    def passages() -> Iterator[Article]:
        return (Article(id, "", text) for text, id in ids.items())

    return TestCollection(
        spec.name, definition, questions, qrels, tuple(Path(file) for file in spec.passages), passages=passages
    )


def _snippet_texts(question: Question) -> list[str]:
    texts = (snippet.text.strip() for snippet in question.snippets)
    return [text for text in dict.fromkeys(texts) if text]


def _pubmedqa(spec: CollectionSpec) -> TestCollection:
    _need(spec, "questions")
    _need(spec, "corpus")
    asked = _pubmedqa_questions(Path(spec.questions))
    questions, qrels = _with_relevant(asked, {one.id: {one.id: 1} for one in asked})
    sources = expand_sources(spec.corpus)

    def passages() -> Iterator[Article]:
        for source in sources:
            for record in read_source(source):
                if isinstance(record, Article) and record.abstract.strip():
                    yield Article(record.id, "", record.abstract, record.sections, record.version)

    definition = (
        "Passages are abstracts without titles (PubMedQA's questions are titles). Relevant to a question: the abstract that "
        "it was made from."
    )
    files = tuple(source.file for source in sources)
    return TestCollection(spec.name, definition, questions, qrels, files, passages=passages)


def _pubmedqa_questions(path: Path) -> list[Question]:
    try:
        data = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise QuestionError(f"There is no question file {path}.") from None
    except (OSError, ValueError) as problem:
        raise QuestionError(f"{path} cannot be read as JSON: {problem}.") from problem
    if not isinstance(data, dict):
        raise QuestionError(f'{path} is not PubMedQA\'s JSON, {{PMID: {{"QUESTION": …}}}}.')
    return [Question(id, _pubmedqa_question(path, id, record)) for id, record in data.items()]


def _pubmedqa_question(path: Path, id: str, record: Any) -> str:
    text = record.get("QUESTION") if isinstance(record, dict) else None
    if not isinstance(text, str):
        raise QuestionError(f"{path}, {id}: QUESTION is missing or not text.")
    try:
        return check_question(text)
    except QuestionError as problem:
        raise QuestionError(f"{path}, {id}: {problem}") from None


def _need(spec: CollectionSpec, key: str) -> None:
    if not getattr(spec, key):
        raise UsageError(f"Collection {spec.name}: kind {spec.kind} needs {key}.")


def _names(paths: Sequence[str]) -> str:
    return ", ".join(Path(path).name for path in paths)


_KINDS: dict[str, Callable[[CollectionSpec], TestCollection]] = {
    "articles": _articles,
    "beir": _beir,
    "bioasq-snippets": _bioasq_snippets,
    "pubmedqa": _pubmedqa,
}
