"""Cell labels and terms of the Cell Ontology as pairs."""

import pytest

from bioqa.errors import PairsError, UsageError
from bioqa.pairs.cell_ontology import CellOptions, build_cell_pairs, read_crosswalk, read_obo
from bioqa.pairs.leaks import find_leaks
from bioqa.pairs.negatives import NegativeSpec
from bioqa.pairs.read_pairs import read_pairs
from bioqa.pairs.split import parse_splits
from tests.pairs import pair_sources as made


def test_terms_are_read_without_obsolete_ones(tmp_path):
    ontology, _ = made.cells(tmp_path)
    terms = read_obo(ontology)
    assert list(terms) == ["CL:0000000", "CL:0000084", "CL:0000236", "CL:0000542", "CL:0000057"]
    assert terms["CL:0000084"].text == (
        "label: T cell; synonyms: T lymphocyte; definition: A lymphocyte that matures in the thymus."
    )
    assert terms["CL:0000236"].text == "label: B cell; synonyms: B lymphocyte"
    assert terms["CL:0000000"].definition == 'A material entity with a "membrane".'


def test_crosswalk_labels_have_a_tissue_in_words(tmp_path):
    _, crosswalk = made.cells(tmp_path)
    assert [(label.name, label.tissue) for label in read_crosswalk(crosswalk)] == [
        ("CD3+ T", "lung"),
        ("B", ""),
        ("Fibro, dermal", "skin"),
        ("Odd one", "skin"),
    ]


def test_labels_are_paired_with_their_terms_and_with_others(tmp_path):
    ontology, crosswalk = made.cells(tmp_path)
    wanted = CellOptions(share=0.25, synonyms=False, negatives=(NegativeSpec("bm25", 1), NegativeSpec("random", 2)))
    report = build_cell_pairs(ontology, [crosswalk], tmp_path / "pairs", wanted)
    found = read_pairs(tmp_path / "pairs").to_pylist()
    assert report.missing_documents == 1
    gold = {row["question"]: row["document_id"] for row in found if row["label"]}
    assert gold == {
        "cell_type: CD3+ T; tissue: lung; organism: Homo sapiens": "CL:0000084",
        "cell_type: B; organism: Homo sapiens": "CL:0000236",
        "cell_type: Fibro, dermal; tissue: skin; organism: Homo sapiens": "CL:0000057",
    }
    assert len(found) == 12
    assert all(row["document_id"] != gold[row["question"]] for row in found if not row["label"])


def test_siblings_share_a_parent(tmp_path):
    ontology, crosswalk = made.cells(tmp_path)
    wanted = CellOptions(share=0.5, synonyms=False, negatives=(NegativeSpec("sibling", 1),))
    build_cell_pairs(ontology, [crosswalk], tmp_path / "pairs", wanted)
    found = {
        row["question"][11:13]: row["document_id"]
        for row in read_pairs(tmp_path / "pairs").to_pylist()
        if not row["label"]
    }
    assert found == {"CD": "CL:0000236", "B;": "CL:0000084", "Fi": "CL:0000542"}


def test_names_of_terms_are_questions_in_the_tissues_of_the_crosswalks(tmp_path):
    ontology, crosswalk = made.cells(tmp_path)
    build_cell_pairs(ontology, [crosswalk], tmp_path / "pairs", CellOptions(organism="Mus musculus"))
    asked = {row["question"] for row in read_pairs(tmp_path / "pairs").to_pylist()}
    assert "cell_type: T lymphocyte; tissue: lung; organism: Mus musculus" in asked
    assert "cell_type: lymphocyte; organism: Mus musculus" in asked


def test_errors_name_their_place(tmp_path):
    ontology, crosswalk = made.cells(tmp_path)
    for reader, path, message in (
        (read_obo, tmp_path / "missing.obo", "does not exist"),
        (read_obo, crosswalk, "has no terms"),
        (read_crosswalk, ontology, "no line names the columns Organ_Level"),
    ):
        with pytest.raises(PairsError, match=message):
            reader(path)
    bad = tmp_path / "bad.obo"
    bad.write_text("[Term]\nid: X:1\nname: x\ndef: no quotes\n", encoding="utf-8")
    with pytest.raises(PairsError, match=r"term at line 1: 'no quotes' must start with a text in quotes"):
        read_obo(bad)
    with pytest.raises(PairsError, match="There are no questions"):
        build_cell_pairs(ontology, [], tmp_path / "pairs", CellOptions(synonyms=False))
    with pytest.raises(UsageError, match="bm25, sibling and random"):
        CellOptions(negatives=(NegativeSpec("sentence", 1),))


@pytest.mark.shared_data
def test_the_cell_ontology_and_its_crosswalks(shared_data, tmp_path):
    folder = shared_data / "cells"
    wanted = CellOptions(synonyms=False, split=tuple(parse_splits("train=0.9,dev=0.1")))
    report = build_cell_pairs(
        folder / "cl-basic.2022-12-15.obo", sorted((folder / "crosswalks").iterdir()), tmp_path / "p.parquet", wanted
    )
    rows, positives = (sum(getattr(one, name) for one in report.files) for name in ("rows", "positives"))
    assert positives > 1600
    assert positives / rows == pytest.approx(0.07, abs=0.002)
    assert find_leaks([one.path for one in report.files], passages=False) == []
    assert len(read_obo(folder / "cl-basic.2022-12-15.obo")) > 2400
