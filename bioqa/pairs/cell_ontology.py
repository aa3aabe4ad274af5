"""Build pairs of cell labels and terms of the Cell Ontology: "cell_type: …; tissue: …; organism: …" → the text of the term.

Sources: an ontology in OBO format (https://owlcollab.github.io/oboformat/doc/obo-syntax.html) and crosswalks in the CSV layout of
the Human Reference Atlas: some lines about the table, a header that starts with Organ_Level, then one annotation label per line.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import PairsError, SourceError, UsageError
from bioqa.io.text_files import read_lines
from bioqa.pairs.build_pairs import SEED, PairCounts, PairsReport, write_group
from bioqa.pairs.duplicates import DEFAULT_JACCARD, normalize
from bioqa.pairs.import_pairs import text_id
from bioqa.pairs.negatives import NegativeSampler, NegativeSpec, SiblingNegatives, scale_to_share
from bioqa.pairs.pair_file import open_pairs
from bioqa.pairs.passage_pools import PassagePool
from bioqa.pairs.question_groups import Passage, QuestionGroup, merge_groups
from bioqa.pairs.split import Split, assign_splits, split_path

SHARE = 0.07
"""The share of positives in the published data of this task."""
NEGATIVES = (NegativeSpec("bm25", 2), NegativeSpec("sibling", 1), NegativeSpec("random", 3))
COLUMNS = ("Organ_Level", "Organ_ID", "Annotation_Label", "CL_ID")
BODY = "UBERON:0013702"
"""The organ "body proper", which does not name a tissue."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(\w*)')
_LEVEL = re.compile(r"(_v\d+)?(_L\d+|_finest_level)?$")


@dataclass(frozen=True, slots=True)
class CellTerm:
    """A term of the ontology; ``synonyms`` are the exact ones, ``parents`` the ids of its is_a relations."""

    id: str
    label: str
    synonyms: tuple[str, ...] = ()
    definition: str = ""
    parents: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The term as a passage: "label: …; synonyms: …; definition: …", without missing parts."""
        parts = (("label", self.label), ("synonyms", ", ".join(self.synonyms)), ("definition", self.definition))
        return "; ".join(f"{name}: {value}" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class CellLabel:
    """A label that annotators use, its tissue ("" for the whole body) and the id of its term."""

    name: str
    tissue: str
    term: str


@dataclass(frozen=True, slots=True)
class CellOptions:
    """Which pairs to build.

    With ``synonyms`` the names and exact synonyms of terms are questions too, in the tissues that crosswalks give. ``share`` is the
    share of positives; random negatives make up for a lack of other kinds. ``jaccard`` is the similarity from which two labels are
    near-duplicates.

    Raises:
        UsageError: a kind of negatives does not exist for terms.
    """

    negatives: tuple[NegativeSpec, ...] = NEGATIVES
    share: float = SHARE
    synonyms: bool = True
    organism: str = "Homo sapiens"
    split: tuple[Split, ...] = ()
    jaccard: float = DEFAULT_JACCARD
    seed: int = SEED

    def __post_init__(self) -> None:
        if any(spec.kind not in ("bm25", "sibling", "random") for spec in self.negatives):
            raise UsageError("Negatives of terms are of the kinds bm25, sibling and random.")


def read_obo(path: str | Path) -> dict[str, CellTerm]:
    """The terms of an ontology that are not obsolete, by id.

    Raises:
        PairsError: the file is missing or not an OBO file, or a line is malformed.
    """
    terms: dict[str, CellTerm] = {}
    for number, stanza in _stanzas(Path(path)):
        id, name = _one(stanza, "id"), _one(stanza, "name")
        if not id or "true" in stanza["is_obsolete"] or not name:
            continue
        terms[id] = CellTerm(
            id=id,
            label=name,
            synonyms=tuple(
                dict.fromkeys(
                    t for t, scope in (_quoted(path, number, v) for v in stanza["synonym"]) if scope == "EXACT"
                )
            ),
            definition=_quoted(path, number, stanza["def"][0])[0] if stanza["def"] else "",
            parents=tuple(value.split()[0] for value in stanza["is_a"] if value),
        )
    if not terms:
        raise PairsError(f"{path} has no terms. Name an ontology in OBO format.")
    return terms


def _stanzas(path: Path) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """The [Term] stanzas as {tag: values}, each with the number of its first line."""
    stanza: dict[str, list[str]] | None = None
    start = 0
    for number, line in _lines(path):
        if line.startswith("["):
            if stanza is not None:
                yield start, stanza
            stanza, start = (defaultdict(list) if line.strip() == "[Term]" else None), number
        elif stanza is not None and ": " in line:
            tag, _, value = line.partition(": ")
            stanza[tag].append(value.strip())
    if stanza is not None:
        yield start, stanza


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        for number, line in read_lines(path):
            yield number, line.decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise PairsError(f"{path} is not UTF-8 ({problem.reason}). Save the file as UTF-8.") from None
    except SourceError as problem:
        raise PairsError(str(problem)) from None


def _one(stanza: Mapping[str, list[str]], tag: str) -> str:
    values = stanza.get(tag) or [""]
    return values[0]


def _quoted(path: str | Path, number: int, value: str) -> tuple[str, str]:
    """The quoted text at the beginning of a value, and the word after it."""
    match = _QUOTED.match(value)
    if match is None:
        raise PairsError(f"{path}, the term at line {number}: {value[:60]!r} must start with a text in quotes.")
    return re.sub(r"\\(.)", lambda m: " " if m[1] == "n" else m[1], match[1]).strip(), match[2]


def read_crosswalk(path: str | Path) -> list[CellLabel]:
    """The labels of a crosswalk that have a term.

    Raises:
        PairsError: the file is missing or not valid CSV, or has no header with the columns.
    """
    path = Path(path)
    rows = csv.reader(line + "\n" for _, line in _lines(path))
    try:
        header = next((row for row in rows if row and row[0] == COLUMNS[0]), [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise PairsError(f"{path} is not a crosswalk: no line names the columns {', '.join(missing)}.")
        records = [dict(zip(header, row, strict=False)) for row in rows]
    except csv.Error as problem:
        raise PairsError(f"{path}, line {rows.line_num}: not valid CSV ({problem}).") from None
    return [
        CellLabel(record["Annotation_Label"].strip(), _tissue(record), record["CL_ID"].strip())
        for record in records
        if record.get("Annotation_Label", "").strip() and record.get("CL_ID", "").strip()
    ]


def _tissue(record: Mapping[str, str]) -> str:
    """The organ in words, without the level of annotation ("Heart_L2" → "heart")."""
    if record["Organ_ID"].strip() == BODY:
        return ""
    return _LEVEL.sub("", record["Organ_Level"].strip()).replace("_", " ").lower()


def cell_groups(
    terms: Mapping[str, CellTerm], labels: Sequence[CellLabel], options: CellOptions
) -> list[QuestionGroup]:
    """A group for each cell type and tissue of the crosswalks, and for each name of a term if ``options`` ask for synonyms."""
    known = [label for label in labels if label.term in terms]
    if options.synonyms:
        tissues: dict[str, dict[str, None]] = defaultdict(dict)
        for label in known:
            tissues[label.term][label.tissue] = None
        for term in terms.values():
            names = (term.label, *term.synonyms)
            known += [CellLabel(name, tissue, term.id) for tissue in tissues.get(term.id, {"": None}) for name in names]
    named: dict[str, list[Passage]] = defaultdict(list)
    for term in terms.values():
        for name in (term.label, *term.synonyms):
            named[normalize(name)].append(Passage(term.text, term.id))
    groups = []
    for label in dict.fromkeys(known):
        parts = (("cell_type", label.name), ("tissue", label.tissue), ("organism", options.organism))
        question = "; ".join(f"{name}: {value}" for name, value in parts if value)
        gold = (Passage(terms[label.term].text, label.term),)
        # Another term with the same name would not be wrong, so it cannot be a negative.
        related = tuple(passage for passage in named[normalize(label.name)] if passage.document_id != label.term)
        groups.append(QuestionGroup(text_id(question), question, gold, documents=(label.term,), related=related))
    return merge_groups(groups)


def build_cell_pairs(
    ontology: str | Path,
    crosswalks: Sequence[str | Path],
    out: str | Path,
    options: CellOptions | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PairsReport:
    """Write the pairs of all labels and terms to ``out``, or to one file per split; negatives are other terms of the ontology.

    All tissues of a cell type are in one split; splits share terms, but not questions.

    Raises:
        PairsError: a file cannot be used, or no label has a term of the ontology.
        OutputError: a file cannot be written.
    """
    options = options or CellOptions()
    terms = read_obo(ontology)
    labels = [label for path in crosswalks for label in read_crosswalk(path)]
    report = PairsReport(missing_documents=sum(label.term not in terms for label in labels))
    if labels and report.missing_documents == len(labels):
        raise PairsError(f"No label of the crosswalks has a term of {ontology}. Name the ontology they were made for.")
    groups = cell_groups(terms, labels, options)
    if not groups:
        raise PairsError("There are no questions: name crosswalks, or include the names of the terms.")
    parts = [groups]
    if options.split:
        parts = assign_splits(groups, options.split, jaccard=options.jaccard, seed=options.seed)
    paths = [split_path(Path(out), split) for split in options.split] or [Path(out)]
    report.files = [PairCounts(path) for path in paths]
    negatives = scale_to_share(options.negatives, options.share)
    siblings = SiblingNegatives(_siblings(terms))
    done = 0
    with (
        open_pairs(paths, provenance, [ontology, *crosswalks]) as writers,
        PassagePool(Passage(term.text, term.id) for term in terms.values()) as pool,
    ):
        for part, writer, counts in zip(parts, writers, report.files, strict=True):
            sampler = NegativeSampler(pool, negatives, seed=options.seed, kinds={"sibling": siblings}, fill=True)
            for group, sampled in sampler.sample(part):
                write_group(writer, counts, group, sampled)
                done += 1
                progress(done, len(groups))
    return report


def _siblings(terms: Mapping[str, CellTerm]) -> dict[str, list[Passage]]:
    """The terms that share a parent with each term."""
    children: dict[str, list[CellTerm]] = defaultdict(list)
    for term in terms.values():
        for parent in term.parents:
            children[parent].append(term)
    return {
        term.id: [
            Passage(sibling.text, sibling.id)
            for sibling in {s.id: s for parent in term.parents for s in children[parent] if s.id != term.id}.values()
        ]
        for term in terms.values()
    }
