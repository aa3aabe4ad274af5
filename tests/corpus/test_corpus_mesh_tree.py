"""NLM's tree of MeSH headings."""

import gzip

import pytest

from bioqa.corpus.mesh_tree import read_mesh_tree
from bioqa.errors import SourceError, UsageError


def descriptor(name, *numbers, terms=()):
    tree = "".join(f"<TreeNumber>{number}</TreeNumber>" for number in numbers)
    listed = f"<TreeNumberList>{tree}</TreeNumberList>" if numbers else ""
    strings = "".join(f"<Term><String>{term}</String></Term>" for term in (name, *terms))
    return (
        f"<DescriptorRecord><DescriptorUI>D1</DescriptorUI><DescriptorName><String>{name}</String></DescriptorName>"
        "<AllowableQualifiersList><AllowableQualifier><QualifierReferredTo><QualifierName><String>drug therapy</String>"
        f"</QualifierName></QualifierReferredTo></AllowableQualifier></AllowableQualifiersList>{listed}<ConceptList><Concept>"
        f"<ConceptName><String>{name}</String></ConceptName><TermList>{strings}</TermList></Concept></ConceptList></DescriptorRecord>"
    )


HEAD = (
    '<?xml version="1.0"?><!DOCTYPE DescriptorRecordSet SYSTEM '
    '"https://www.nlm.nih.gov/databases/dtd/nlmdescriptorrecordset_20260101.dtd">'
)
XML = (
    f'{HEAD}<DescriptorRecordSet LanguageCode="eng">'
    + descriptor("Lung Diseases", "C08.381")
    + descriptor("Lung Diseases, Obstructive", "C08.381.495")
    + descriptor(
        "Asthma", "C08.127.108", "C08.381.495.108", "C20.543.480.680.095", terms=["Bronchial Asthma", "Asthmas"]
    )
    + descriptor("Asthma, Occupational", "C08.127.108.110", "C08.381.495.108.110", "C24.080")
    + descriptor("Lung &amp; Sea", "C08.3815")
    + descriptor("Female")
    + "</DescriptorRecordSet>"
)


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "desc2026.xml").write_text(XML)
    return read_mesh_tree(tmp_path / "desc2026.xml")


@pytest.mark.parametrize(
    ("heading", "found"),
    [
        ("Lung Diseases", ("Lung Diseases", "Asthma", "Asthma, Occupational", "Lung Diseases, Obstructive")),
        (" asthma ", ("Asthma", "Asthma, Occupational")),
        ("ASTHMA/drug therapy", ("Asthma", "Asthma, Occupational")),
        ("Asthma, Occupational", ("Asthma, Occupational",)),
        ("lung & sea", ("Lung & Sea",)),
        ("Female", ("Female",)),
    ],
)
def test_a_heading_has_those_below_any_of_its_numbers(tree, heading, found):
    assert tree.narrower([heading]) == (found,)
    assert len(tree) == 6


def test_headings_of_one_descriptor_are_listed_once(tree):
    assert tree.narrower(["asthma", "Asthma/drug therapy", "Female"]) == (
        ("Asthma", "Asthma, Occupational"),
        ("Female",),
    )


def test_a_gzipped_file_is_the_same(tmp_path, tree):
    (tmp_path / "desc2026.gz").write_bytes(gzip.compress(XML.encode()))
    assert read_mesh_tree(tmp_path / "desc2026.gz").narrower(["Asthma"]) == tree.narrower(["Asthma"])


@pytest.mark.parametrize(
    ("heading", "message"),
    [
        ("bronchial asthma", r"desc2026.xml has no MeSH heading 'bronchial asthma'. It stands for 'Asthma'"),
        ("Astma", "no MeSH heading 'Astma'. The nearest is 'Asthma'"),
        ("qqqqqq", "no MeSH heading 'qqqqqq'. Check its spelling"),
        ("", "no MeSH heading ''"),
    ],
)
def test_an_unknown_heading_gets_a_sentence(tree, heading, message):
    with pytest.raises(UsageError, match=message):
        tree.narrower([heading])


ENTITY = '<!DOCTYPE DescriptorRecordSet [<!ENTITY a "b">]><DescriptorRecordSet>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("<PubmedArticleSet/>", "its root element is PubmedArticleSet, not DescriptorRecordSet"),
        (f"{HEAD}<DescriptorRecordSet/>", "has no MeSH descriptors"),
        (XML[:-40], "invalid XML"),
        (XML + XML, "invalid XML"),
        (XML.replace("<String>Asthma</String>", "<String/>"), "line 1: a descriptor has no name"),
        (XML.replace(HEAD + '<DescriptorRecordSet LanguageCode="eng">', ENTITY), "declares XML entities"),
        (XML.replace("<String>Asthma</String>", "<String>&nbsp;</String>"), "line 1: the entity &nbsp; is not defined"),
    ],
)
def test_another_or_a_damaged_file_is_refused(tmp_path, text, message):
    (tmp_path / "desc.xml").write_text(text)
    with pytest.raises(SourceError, match=message):
        read_mesh_tree(tmp_path / "desc.xml")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"none.xml"):
        read_mesh_tree(tmp_path / "none.xml")
