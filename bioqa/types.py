"""The data types shared by all rooms, as frozen dataclasses.

Text offsets are BioASQ's: in characters of ``Article.title`` or ``Article.abstract``, end exclusive.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple, overload

from bioqa.arguments import check_fields, check_type

BIOASQ_URL = "http://www.ncbi.nlm.nih.gov/pubmed/"
"""BioASQ's URL of a document, without the PMID."""


@dataclass(frozen=True, slots=True)
class Section:
    """A labelled part of a structured abstract.

    ``begin`` and ``end`` are the offsets of "LABEL: text" in ``Article.abstract``, and ``text_begin`` is that of the text after the
    label. ``category`` is NLM's NlmCategory ("METHODS"), "" if NLM gives none. A part without a label has label "" and
    ``begin == text_begin``.
    """

    label: str
    category: str
    begin: int
    text_begin: int
    end: int

    def __post_init__(self) -> None:
        check_fields(self)


class Author(NamedTuple):
    """An author as PubMed records it: a person, or a group with only a ``collective`` name.

    ``initials`` are those of the fore names, without separators ("JA"); ``suffix`` is "Jr", "3rd" and the like.
    """

    last: str = ""
    fore: str = ""
    initials: str = ""
    suffix: str = ""
    collective: str = ""

    def __str__(self) -> str:
        """The name as PubMed shows it: "Smith JA Jr", or the collective name."""
        return " ".join(filter(None, (self.last, self.initials or self.fore, self.suffix))) or self.collective


class Link(NamedTuple):
    """A link between two citations.

    ``type`` is NLM's RefType, such as "RetractionIn", "ErratumIn" or "CommentOn"; ``id`` is the PMID of the other citation, ""
    if it has none; ``source`` says where it appeared ("BMJ. 2019;365:l1234").
    Source: https://www.nlm.nih.gov/bsd/licensee/elements_descriptions.html#commentscorrections
    """

    type: str
    id: str = ""
    source: str = ""


RETRACTED_TYPE = "Retracted Publication"
"""The publication type of a retracted article."""
RETRACTED, CONCERN, CORRECTED = "retracted", "expression of concern", "corrected"
MARKS = {
    "RetractionIn": RETRACTED,
    "RetractedandRepublishedIn": RETRACTED,
    "ExpressionOfConcernIn": CONCERN,
    "ErratumIn": CORRECTED,
    "CorrectedandRepublishedIn": CORRECTED,
}
"""Type of a link to a notice → what the notice says of the article."""
NOTICES = {
    "RetractionOf": "RetractionIn",
    "RetractedandRepublishedFrom": "RetractedandRepublishedIn",
    "ExpressionOfConcernFor": "ExpressionOfConcernIn",
    "ErratumFor": "ErratumIn",
    "CorrectedandRepublishedFrom": "CorrectedandRepublishedIn",
}
"""Type of a notice's link to an article → type of the link back."""


@dataclass(frozen=True, slots=True)
class Article:
    """One citation of a corpus.

    ``abstract`` is the string of BioASQ's offsets: the labelled parts of a structured abstract ("LABEL: text") joined with no
    separator. ``vernacular_title`` is the title in the article's own language, if that is not English. ``date`` is the publication
    date with its known precision: "2019", "2019-03", "2019-03-04" or "". In PubMed it is the ``print_date``, that of the
    journal's issue, or the ``electronic_date`` if that is more exact. ``entered`` is the day (YYYY-MM-DD) on which the citation
    entered PubMed, ``revised`` that of its last revision, or "". ``mesh`` has the name of each descriptor and
    "Descriptor/qualifier" for each qualifier; ``major_topics`` are those that the article is mainly about, a descriptor also if
    only one of its qualifiers is major. ``languages`` are NLM's three-letter codes ("eng"), ``abstract_languages`` those of
    further abstracts. ``journal_abbreviation`` is NLM's ("N Engl J Med"). ``status`` is the publication status ("ppublish",
    "epublish", "aheadofprint"). ``links`` lead to retractions, corrections and comments.
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
    print_date: str = ""
    electronic_date: str = ""
    entered: str = ""
    authors: tuple[Author, ...] = ()
    journal_abbreviation: str = ""
    volume: str = ""
    issue: str = ""
    pages: str = ""
    pmcid: str = ""
    major_topics: tuple[str, ...] = ()
    abstract_languages: tuple[str, ...] = ()
    status: str = ""
    links: tuple[Link, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def marks(self) -> dict[str, tuple[str, ...]]:
        """Whether the article still stands: "retracted", "expression of concern" and "corrected", each with its notices' PMIDs."""
        found: dict[str, tuple[str, ...]] = {}
        if RETRACTED_TYPE in self.publication_types:
            found[RETRACTED] = ()
        for link in self.links:
            mark = MARKS.get(link.type)
            if mark:
                ids = found.setdefault(mark, ())
                found[mark] = ids if not link.id or link.id in ids else (*ids, link.id)
        return {mark: found[mark] for mark in (RETRACTED, CONCERN, CORRECTED) if mark in found}

    def links_back(self) -> Iterator[tuple[str, str]]:
        """The (id of an article, type of its link to this one) for each article that this notice is about."""
        for link in self.links:
            if link.type in NOTICES and link.id:
                yield link.id, NOTICES[link.type]

    def default_text(self) -> str:
        """Title and abstract as one text to index or score, with each part of a structured abstract on its own line.

        The vernacular title stands in for a missing one. BioASQ joins parts with no separator ("…trials.OBJECTIVES: …"); a
        tokenizer would read "trials.OBJECTIVES" as one word.
        """
        parts = [self.abstract[s.begin : s.end] for s in self.sections] or [self.abstract]
        return "\n".join(part for part in (self.title or self.vernacular_title, *parts) if part)

    def titles(self) -> str:
        """The titles to index: the title and the vernacular title, each on its own line."""
        return "\n".join(filter(None, (self.title, self.vernacular_title)))

    def searchable_text(self) -> str:
        """The text to index: ``default_text``, and the vernacular title if there are two titles."""
        text = self.default_text()
        return f"{text}\n{self.vernacular_title}" if self.title and self.vernacular_title else text

    @property
    def url(self) -> str:
        """The PubMed page of the citation, "" if the id is not a PMID."""
        return f"https://pubmed.ncbi.nlm.nih.gov/{self.id}/" if self.id.isdecimal() else ""

    def to_dict(self) -> dict[str, Any]:
        """The article as a JSON object: its fields, ``url`` and ``marks``; sections, authors and links as objects."""
        record = {one.name: getattr(self, one.name) for one in fields(self)}
        record = {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}
        record["sections"] = [asdict(section) for section in self.sections]
        record["authors"] = [author._asdict() for author in self.authors]
        record["links"] = [link._asdict() for link in self.links]
        record["marks"] = {mark: list(notices) for mark, notices in self.marks.items()}
        return {**record, "url": self.url}


@dataclass(frozen=True, slots=True)
class Deletion:
    """A PMID that an update file deletes (DeleteCitation)."""

    id: str

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass(frozen=True, slots=True)
class Snippet:
    """A passage of an article: ``text`` equals ``article.<section>[begin:end]``; ``section`` is "title" or "abstract".

    In a question file, sections can have other names, and a snippet can lack its place: the section is "", the offsets are 0.
    ``probability`` is the reranker's calibrated one for (question, text), None if no reranker scored it.
    """

    document: str
    section: str
    begin: int
    end: int
    text: str
    probability: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """The snippet in BioASQ's JSON format, with the reranker's probability if there is one."""
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
    """A question with its type (in BioASQ "factoid", "list", "yesno" or "summary"), gold PMIDs and gold snippets, if known."""

    id: str
    body: str
    type: str = ""
    documents: tuple[str, ...] = ()
    snippets: tuple[Snippet, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)


class Candidate(NamedTuple):
    """A first-stage result: the article's id, its first-stage score, and the retriever's internal number for the article."""

    id: str
    score: float
    key: int


class Found(NamedTuple):
    """Where one of several first stages found an article: its rank there, from 1, and its score."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Candidates(Sequence[Candidate]):
    """The candidates for a question, best first, as three columns of equal length; a ``Candidate`` is created on access.

    ``found`` maps the name of each first stage whose results were fused to a ``Found`` for each candidate, None where it did not
    find it; None if nothing was fused. Equal to a list of the same candidates.
    """

    ids: list[str]
    scores: "array[float]"
    keys: "array[int]"
    origin: Any = None
    found: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        return Candidates, (self.ids, self.scores, self.keys, None, self.found)

    def __post_init__(self) -> None:
        check_type("Candidates.ids", self.ids, list)
        check_type("Candidates.scores", self.scores, array)
        check_type("Candidates.keys", self.keys, array)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Candidate]:
        return map(Candidate._make, zip(self.ids, self.scores, self.keys, strict=True))

    @overload
    def __getitem__(self, at: int) -> Candidate: ...
    @overload
    def __getitem__(self, at: slice) -> "Candidates": ...
    def __getitem__(self, at: int | slice) -> "Candidate | Candidates":
        if isinstance(at, slice):
            found = self.found and {name: column[at] for name, column in self.found.items()}
            return Candidates(self.ids[at], self.scores[at], self.keys[at], self.origin, found)
        return Candidate(self.ids[at], self.scores[at], self.keys[at])

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Candidates | list) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(frozen=True, slots=True)
class Hit:
    """A result: its rank from 1, the article, and its scores; those of the reranker are None if it was not reranked.

    ``score``: what the list is sorted by, the reranker's logit plus the weighted first-stage score, or the first-stage score if no
    reranker ran. Hits beyond the rerank depth have no logit; their scores keep them in the first stage's order below the reranked
    ones. ``first_stage_rank``: its rank from 1 by the first-stage score. ``logit``: the reranker's raw output. ``reranker_score``:
    the logit on the model's own scale, as ``Reranker.score`` returns it. ``relevant``: whether ``reranker_score`` is at least the
    model's threshold, None if it has none. ``probability``: the logit calibrated if the model folder says how, else its logistic
    function; the threshold is not on this scale.

    ``first_stage`` maps each first stage whose results were fused to the ``Found`` of this article; empty if nothing was fused.
    ``snippets`` are the article's best sentences for the question, best first. ``explanation`` shows how the first-stage score was
    computed, "" unless requested.
    """

    rank: int
    article: Article
    score: float
    first_stage_score: float
    logit: float | None = None
    probability: float | None = None
    snippets: tuple[Snippet, ...] = field(default=())
    explanation: str = ""
    reranker_score: float | None = None
    relevant: bool | None = None
    first_stage_rank: int | None = None
    first_stage: dict[str, Found] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)

    def to_dict(self) -> dict[str, Any]:
        """The hit as a JSON object: the article's fields, the scores, and the snippets in BioASQ's format."""
        record = {
            "rank": self.rank,
            **self.article.to_dict(),
            "score": self.score,
            "first_stage_score": self.first_stage_score,
            "first_stage_rank": self.first_stage_rank,
            "logit": self.logit,
            "reranker_score": self.reranker_score,
            "relevant": self.relevant,
            "probability": self.probability,
            "snippets": [snippet.to_dict() for snippet in self.snippets],
        }
        if self.first_stage:
            record["first_stage"] = {name: one._asdict() for name, one in self.first_stage.items()}
        return {**record, "explanation": self.explanation} if self.explanation else record
