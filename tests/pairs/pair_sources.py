"""Small question files, articles and ontologies to build training pairs from."""

import json
from pathlib import Path

ARTICLES = {
    "1": ("Aspirin", "Aspirin inhibits platelet cyclooxygenase. It lowers fever in children. Doses were small."),
    "2": ("Statins", "Statins inhibit HMG-CoA reductase. They lower cholesterol. Muscle pain was common."),
    "3": ("Metformin", "Metformin lowers blood glucose. It acts on the liver. Lactic acidosis is rare."),
    "4": ("Insulin", "Insulin lowers blood glucose. It acts on muscle and fat. Hypoglycaemia was seen."),
    "5": ("Warfarin", "Warfarin inhibits vitamin K epoxide reductase. It thins blood. Bleeding is the main risk."),
    "6": ("Heparin", "Heparin activates antithrombin. It thins blood at once. Platelets may fall."),
}


def articles(path: Path) -> Path:
    """The articles as a JSON lines corpus."""
    lines = (json.dumps({"id": i, "title": t, "text": a}) for i, (t, a) in ARTICLES.items())
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def snippet(document: str, text: str) -> dict[str, object]:
    """A BioASQ snippet from the abstract of an article."""
    begin = ARTICLES[document][1].index(text)
    return {
        "document": f"http://www.ncbi.nlm.nih.gov/pubmed/{document}",
        "text": text,
        "beginSection": "abstract",
        "endSection": "abstract",
        "offsetInBeginSection": begin,
        "offsetInEndSection": begin + len(text),
    }


def question(id: str, body: str, *snippets: dict[str, object]) -> dict[str, object]:
    """A BioASQ question whose documents are those of its snippets."""
    documents = list(dict.fromkeys(one["document"] for one in snippets))
    return {"id": id, "body": body, "type": "factoid", "documents": documents, "snippets": list(snippets)}


def bioasq(path: Path, *questions: dict[str, object]) -> Path:
    """A BioASQ question file."""
    path.write_text(json.dumps({"questions": list(questions)}), encoding="utf-8")
    return path


QUESTIONS = (
    question("q1", "What does aspirin inhibit?", snippet("1", "Aspirin inhibits platelet cyclooxygenase.")),
    question("q2", "What do statins inhibit?", snippet("2", "Statins inhibit HMG-CoA reductase.")),
    question("q3", "Which drugs lower blood glucose?", snippet("3", "Metformin lowers blood glucose."),
             snippet("4", "Insulin lowers blood glucose.")),
    question("q4", "What does warfarin inhibit?", snippet("5", "Warfarin inhibits vitamin K epoxide reductase.")),
    question("q5", "How does heparin thin blood?", snippet("6", "Heparin activates antithrombin."),
             snippet("6", "It thins blood at once.")),
)  # fmt: skip


def write_questions(path: Path) -> Path:
    """The five questions as a BioASQ file."""
    return bioasq(path, *QUESTIONS)


OBO = """format-version: 1.2

[Term]
id: CL:0000000
name: cell
def: "A material entity with a \\"membrane\\"." [X:1]

[Term]
id: CL:0000084
name: T cell
def: "A lymphocyte that matures in the thymus." [X:2]
synonym: "T lymphocyte" EXACT []
synonym: "thymocyte-like" RELATED []
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000236
name: B cell
synonym: "B lymphocyte" EXACT []
is_a: CL:0000542 ! lymphocyte

[Term]
id: CL:0000542
name: lymphocyte
is_a: CL:0000000 ! cell

[Term]
id: CL:0000057
name: fibroblast
def: "A connective tissue cell." []
is_a: CL:0000000 ! cell

[Term]
id: CL:0000002
name: obsolete immortal cell
is_obsolete: true

[Typedef]
id: part_of
name: part of
"""
CROSSWALK = """Crosswalk of some tool,,,,,,
Date:,"June 15, 2026",,,,,
Organ_Level,Organ_ID,Annotation_Label,Annotation_Label_ID,CL_Label,CL_ID,CL_Match
Lung_v2_L2,UBERON:0002048,CD3+ T,A:1,T cell,CL:0000084,skos:exactMatch
body proper,UBERON:0013702,B,A:2,B cell,CL:0000236,skos:exactMatch
skin,UBERON:0002097,"Fibro, dermal",A:3,fibroblast,CL:0000057,skos:exactMatch
skin,UBERON:0002097,Odd one,A:4,odd,CL:9999999,skos:exactMatch
"""


def cells(folder: Path) -> tuple[Path, Path]:
    """A small ontology and a crosswalk to it."""
    ontology, crosswalk = folder / "cl.obo", folder / "crosswalk.csv"
    ontology.write_text(OBO, encoding="utf-8")
    crosswalk.write_text(CROSSWALK, encoding="utf-8")
    return ontology, crosswalk
