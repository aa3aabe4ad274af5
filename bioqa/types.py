"""The data that crosses module borders, as frozen dataclasses.

Text offsets are BioASQ's: counted in characters of ``Article.title`` or ``Article.abstract``, end exclusive.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any, NamedTuple, overload

BIOASQ_URL = "http://www.ncbi.nlm.nih.gov/pubmed/"
"""What BioASQ puts before a PMID to name a document."""


@dataclass(frozen=True, slots=True)
class Section:
    """One labelled part of a structured abstract.

    ``begin`` and ``end`` are offsets in ``Article.abstract``; the part there reads "LABEL: text", and ``text_begin`` is where
    the text after the label starts. ``category`` is NLM's NlmCategory ("METHODS"), or "" where NLM gives none. A part without
    a label has label "" and ``begin == text_begin``.
    """

    label: str
    category: str
    begin: int
    text_begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Article:
    """One citation of a corpus.

    ``abstract`` is the string that BioASQ offsets count in: the labelled parts of a structured abstract ("LABEL: text") joined
    with no separator. ``date`` is the publication date with the precision that is known: "2019", "2019-03", "2019-03-04" or "".
    ``revised`` is the day (YYYY-MM-DD) of the record's last revision, or "". ``mesh`` holds descriptor names and
    "Descriptor/qualifier" for each qualifier. ``languages`` are NLM's three-letter codes ("eng").
    """

    id: str
    title: str
    abstract: str
    sections: tuple[Section, ...] = ()
    version: int = 1
    vernacular_title: str = ""
    journal: str = ""
    date: str = ""
    revised: str = ""
    mesh: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    publication_types: tuple[str, ...] = ()
    doi: str = ""
    languages: tuple[str, ...] = ()

    def default_text(self) -> str:
        """Title and abstract as one text to index or to score, the parts of a structured abstract on lines of their own.

        BioASQ joins parts with no separator ("…trials.OBJECTIVES: …"); a tokenizer would take "trials.OBJECTIVES" for one
        word, so they are parted here.
        """
        parts = [self.abstract[s.begin : s.end] for s in self.sections] or [self.abstract]
        return "\n".join(part for part in (self.title, *parts) if part)

    @property
    def url(self) -> str:
        """The PubMed page of the citation, or "" where the id is not a PMID."""
        return f"https://pubmed.ncbi.nlm.nih.gov/{self.id}/" if self.id.isdecimal() else ""


@dataclass(frozen=True, slots=True)
class Deletion:
    """A PMID that an update file says to drop (DeleteCitation)."""

    id: str


@dataclass(frozen=True, slots=True)
class Snippet:
    """A passage of an article: ``text`` equals ``article.<section>[begin:end]``; ``section`` is "title" or "abstract".

    ``probability`` is the reranker's for (question, text), None where no reranker scored it.
    """

    document: str
    section: str
    begin: int
    end: int
    text: str
    probability: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The snippet as BioASQ writes it, with the reranker's probability where there is one."""
        record = {
            "document": BIOASQ_URL + self.document,
            "text": self.text,
            "beginSection": self.section,
            "endSection": self.section,
            "offsetInBeginSection": self.begin,
            "offsetInEndSection": self.end,
        }
        return record if self.probability is None else {**record, "probability": self.probability}


@dataclass(frozen=True, slots=True)
class Question:
    """A question with, where known, its BioASQ type ("factoid", "list", "yesno", "summary"), gold PMIDs and gold snippets."""

    id: str
    body: str
    type: str = ""
    documents: tuple[str, ...] = ()
    snippets: tuple[Snippet, ...] = ()


class Candidate(NamedTuple):
    """A first-stage result: the article's id, its first-stage score, the retriever's own number for the article, and what that
    number belongs to (None where there is only one such thing).
    """

    id: str
    score: float
    key: int
    origin: Any = None


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidates(Sequence[Candidate]):
    """The candidates for a question, best first, as three columns; each ``Candidate`` is made when it is asked for.

    Equal to a list of the same candidates.
    """

    ids: list[str]
    scores: "array[float]"
    keys: "array[int]"
    origin: Any = None

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Candidate]:
        return map(Candidate._make, zip(self.ids, self.scores, self.keys, repeat(self.origin), strict=False))

    @overload
    def __getitem__(self, at: int) -> Candidate: ...
    @overload
    def __getitem__(self, at: slice) -> "Candidates": ...
    def __getitem__(self, at: int | slice) -> "Candidate | Candidates":
        if isinstance(at, slice):
            return Candidates(self.ids[at], self.scores[at], self.keys[at], self.origin)
        return Candidate(self.ids[at], self.scores[at], self.keys[at], self.origin)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Candidates | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True, slots=True)
class Hit:
    """One result: its rank from 1, the article, the first-stage score and, where it was reranked, its logit and probability.

    ``score`` is what the list is ordered by: the reranker's logit plus the first-stage score times its weight, or the first-stage
    score where no reranker ran. Hits behind the rerank depth have no logit; their scores keep the first stage's order below the
    reranked ones. ``probability`` is the reranker's, calibrated where its folder says how, else the logistic function of the logit.
    ``snippets`` are the article's best sentences for the question, best first. ``explanation`` says how the first-stage score is
    computed, "" unless asked for.
    """

    rank: int
    article: Article
    score: float
    first_stage_score: float
    logit: float | None = None
    probability: float | None = None
    snippets: tuple[Snippet, ...] = field(default=())
    explanation: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The hit as JSON holds it; its snippets in BioASQ's form, with their probabilities."""
        article = self.article
        record = {
            "rank": self.rank,
            "id": article.id,
            "title": article.title,
            "journal": article.journal,
            "date": article.date,
            "url": article.url,
            "score": self.score,
            "first_stage_score": self.first_stage_score,
            "logit": self.logit,
            "probability": self.probability,
            "abstract": article.abstract,
            "snippets": [snippet.to_dict() for snippet in self.snippets],
        }
        return {**record, "explanation": self.explanation} if self.explanation else record
