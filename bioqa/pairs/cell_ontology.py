"""Annotators' cell labels → terms of the Cell Ontology: "cell_type: …; tissue: …; organism: …" and the term's own text.

Sources: an ontology in OBO format (https://owlcollab.github.io/oboformat/doc/obo-syntax.html) and crosswalks in the CSV layout of
the Human Reference Atlas: some lines about the table, a line that starts with Organ_Level, then one annotation label a line.
"""

import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bioqa.errors import PairsError, SourceError, UsageError
from bioqa.io.text_files import read_lines
from bioqa.pairs.build_pairs import SEED, BuildReport, Written, write_group
from bioqa.pairs.duplicates import THRESHOLD, normalised
from bioqa.pairs.import_pairs import text_id
from bioqa.pairs.negatives import Drawer, Negatives, with_share
from bioqa.pairs.pair_file import open_pairs
from bioqa.pairs.passage_pools import Collection
from bioqa.pairs.question_groups import Group, Passage, merged
from bioqa.pairs.split import Split, assign, split_path

SHARE = 0.07
"""The share of positives in the published data of this task."""
NEGATIVES = (Negatives("bm25", 2), Negatives("sibling", 1), Negatives("random", 3))
COLUMNS = ("Organ_Level", "Organ_ID", "Annotation_Label", "CL_ID")
BODY = "UBERON:0013702"
"""The organ "body proper", which says nothing of the tissue."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(\w*)')
_LEVEL = re.compile(r"(_v\d+)?(_L\d+|_finest_level)?$")


@dataclass(frozen=True, slots=True)
class Term:
    """A term of the ontology; ``synonyms`` are its exact ones, ``parents`` the ids of its is_a."""

    id: str
    label: str
    synonyms: tuple[str, ...] = ()
    definition: str = ""
    parents: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The term as a passage: "label: …; synonyms: …; definition: …", parts that it lacks left out."""
        parts = (("label", self.label), ("synonyms", ", ".join(self.synonyms)), ("definition", self.definition))
        return "; ".join(f"{name}: {value}" for name, value in parts if value)


@dataclass(frozen=True, slots=True)
class Label:
    """An annotators' label, its tissue ("" for the whole body) and the id of its term."""

    name: str
    tissue: str
    term: str


@dataclass(frozen=True, slots=True)
class CellOptions:
    """What pairs to build; ``synonyms``: ask for labels and exact synonyms of the terms too, in the tissues that crosswalks name.

    ``share`` is the share of positives; random negatives make up for the others where a term has too few.
    """

    negatives: tuple[Negatives, ...] = NEGATIVES
    share: float = SHARE
    synonyms: bool = True
    organism: str = "Homo sapiens"
    split: tuple[Split, ...] = ()
    threshold: float = THRESHOLD
    seed: int = SEED

    def __post_init__(self) -> None:
        if any(one.kind == "sentence" for one in self.negatives):
            raise UsageError("Negatives of terms are of the kinds bm25, sibling and random.")


def read_obo(path: str | Path) -> dict[str, Term]:
    """The terms of an ontology that are not obsolete, by id.

    Raises:
        PairsError: the file is missing, no OBO file, or a line of it is malformed.
    """
    terms: dict[str, Term] = {}
    for number, stanza in _stanzas(Path(path)):
        id, name = _one(stanza, "id"), _one(stanza, "name")
        if not id or "true" in stanza["is_obsolete"] or not name:
            continue
        terms[id] = Term(
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
        raise PairsError(f"{path} holds no term. Name an ontology in OBO format.")
    return terms


def _stanzas(path: Path) -> Iterator[tuple[int, dict[str, list[str]]]]:
    """The [Term] stanzas as tag → values, each with the number of its first line."""
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
    """The quoted text that a value starts with, and the word after it."""
    match = _QUOTED.match(value)
    if match is None:
        raise PairsError(f"{path}, the term at line {number}: {value[:60]!r} should start with a text in quotes.")
    return re.sub(r"\\(.)", lambda m: " " if m[1] == "n" else m[1], match[1]).strip(), match[2]


def read_crosswalk(path: str | Path) -> list[Label]:
    """The labels of a crosswalk that have a term.

    Raises:
        PairsError: the file is missing, or has no line that names the columns.
    """
    path = Path(path)
    rows = csv.reader(line + "\n" for _, line in _lines(path))
    try:
        header = next((row for row in rows if row and row[0] == COLUMNS[0]), [])
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise PairsError(f"{path} is no crosswalk: no line names the columns {', '.join(missing)}.")
        records = [dict(zip(header, row, strict=False)) for row in rows]
    except csv.Error as problem:
        raise PairsError(f"{path}, line {rows.line_num}: not sound CSV ({problem}).") from None
    return [
        Label(record["Annotation_Label"].strip(), _tissue(record), record["CL_ID"].strip())
        for record in records
        if record.get("Annotation_Label", "").strip() and record.get("CL_ID", "").strip()
    ]


def _tissue(record: Mapping[str, str]) -> str:
    """The organ in words, without the level of annotation ("Heart_L2" → "heart")."""
    if record["Organ_ID"].strip() == BODY:
        return ""
    return _LEVEL.sub("", record["Organ_Level"].strip()).replace("_", " ").lower()


def cell_groups(terms: Mapping[str, Term], labels: Sequence[Label], options: CellOptions) -> list[Group]:
    """A group for each cell type and tissue: those of the crosswalks, and the names of terms where ``options`` want them."""
    wanted = [label for label in labels if label.term in terms]
    if options.synonyms:
        tissues: dict[str, dict[str, None]] = defaultdict(dict)
        for label in wanted:
            tissues[label.term][label.tissue] = None
        for term in terms.values():
            names = (term.label, *term.synonyms)
            wanted += [Label(name, tissue, term.id) for tissue in tissues.get(term.id, {"": None}) for name in names]
    named: dict[str, list[Passage]] = defaultdict(list)
    for term in terms.values():
        for name in (term.label, *term.synonyms):
            named[normalised(name)].append(Passage(term.text, term.id))
    groups = []
    for label in dict.fromkeys(wanted):
        parts = (("cell_type", label.name), ("tissue", label.tissue), ("organism", options.organism))
        question = "; ".join(f"{name}: {value}" for name, value in parts if value)
        gold = (Passage(terms[label.term].text, label.term),)
        # A term of the same name is no mistake, so no negative.
        related = tuple(passage for passage in named[normalised(label.name)] if passage.document_id != label.term)
        groups.append(Group(text_id(question), question, gold, documents=(label.term,), related=related))
    return merged(groups)


def build_cells(
    ontology: str | Path,
    crosswalks: Sequence[str | Path],
    out: str | Path,
    options: CellOptions | None = None,
    *,
    made: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BuildReport:
    """Write the pairs of all labels and terms, to ``out`` or one file a split: negatives are other terms, of the whole ontology.

    Splits differ in questions (all tissues of a cell type are in one), not in terms.

    Raises:
        PairsError: a file cannot be used, or no label has a term of the ontology.
        OutputError: a file cannot be written.
    """
    options = options or CellOptions()
    terms = read_obo(ontology)
    labels = [label for path in crosswalks for label in read_crosswalk(path)]
    report = BuildReport(missing_documents=sum(label.term not in terms for label in labels))
    if labels and report.missing_documents == len(labels):
        raise PairsError(
            f"No label of the crosswalks has a term that is in {ontology}. Take the ontology they were made for."
        )
    groups = cell_groups(terms, labels, options)
    if not groups:
        raise PairsError("There is nothing to ask: name crosswalks, or let the names of the terms be asked.")
    parts = [groups]
    if options.split:
        parts = assign(groups, options.split, threshold=options.threshold, seed=options.seed)
    paths = [split_path(Path(out), split) for split in options.split] or [Path(out)]
    report.files = [Written(path) for path in paths]
    negatives = with_share(options.negatives, options.share)
    siblings = _siblings(terms)
    collection = Collection(Passage(term.text, term.id) for term in terms.values())
    done = 0
    with open_pairs(paths, made, [ontology, *crosswalks]) as writers, ExitStack() as stack:
        if any(one.kind == "bm25" for one in negatives):
            stack.enter_context(collection.indexed())
        for part, writer, written in zip(parts, writers, report.files, strict=True):
            drawer = Drawer(
                collection,
                negatives,
                seed=options.seed,
                neighbours=lambda kind, group: [p for term in group.documents for p in siblings[term]],
                fill=True,
            )
            for group, drawn in drawer.draw(part):
                write_group(writer, written, group, drawn)
                done += 1
                progress(done, len(groups))
    return report


def _siblings(terms: Mapping[str, Term]) -> dict[str, list[Passage]]:
    """For each term the terms that share a parent with it."""
    children: dict[str, list[Term]] = defaultdict(list)
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
