"""Sentences of articles, with offsets in BioASQ's text."""

import gzip
import itertools
import json

import pytest

from bioqa.corpus.sentences import sentences, split
from bioqa.types import Article, Section


def texts(abstract):
    return [snippet.text for snippet in sentences(Article("1", "", abstract))]


def test_title_then_abstract_with_their_offsets():
    article = Article("7", " A title? ", "First  é 𝒳 one.  Second\none here. \n\nThird one.  ")
    found = sentences(article)
    assert [(s.document, s.section, s.text) for s in found] == [
        ("7", "title", "A title?"),
        ("7", "abstract", "First  é 𝒳 one."),
        ("7", "abstract", "Second\none here."),
        ("7", "abstract", "Third one."),
    ]
    for snippet in found:
        assert getattr(article, snippet.section)[snippet.begin : snippet.end] == snippet.text
        assert snippet.probability is None
    assert (found[0].begin, found[1].begin, found[2].begin) == (1, 0, 17)


def test_sentences_keep_to_the_parts_of_a_structured_abstract_and_leave_out_labels():
    parts = [("BACKGROUND", "It is known"), ("METHODS: x", "We did. We saw "), ("", "and so on.")]
    abstract, sections = "", []
    for label, text in parts:
        begin = len(abstract)
        abstract += f"{label}: {text}" if label else text
        sections.append(Section(label, "", begin, len(abstract) - len(text), len(abstract)))
    article = Article("1", "", abstract, tuple(sections))
    found = sentences(article)
    assert [s.text for s in found] == ["It is known", "We did.", "We saw", "and so on."]
    assert all(abstract[s.begin : s.end] == s.text for s in found)


@pytest.mark.parametrize(("title", "abstract"), [("", ""), (" ", "\n "), ("", " ")])
def test_nothing_gives_nothing(title, abstract):
    assert sentences(Article("1", title, abstract)) == []


@pytest.mark.parametrize(
    "one",
    [
        "Doses of approx. 5.5 mg i.v. were given (Fig. 2) vs. 3.1 mg p.o. in St. Louis.",
        "It grew E. coli and S. aureus at 37.5 degrees, i.e. slowly, cf. ref. 5 by Smith et al. in 2001.",
        "Larvae of An. gambiae and Ae. aegypti were kept in water.",
        "The blood stage-P. falciparum and the mosquito An. coluzzii were compared.",
        "We isolated Klebsiella spp. (28 of them) and Pseudomonas sp. strain ADP and C. jejuni subsp. jejuni.",
        "Single-dose Ad26.COV2.S vaccination, Ad26.COV2.S Vaccine Janssen, Ad26.COV2.S-elicited cells and Ad26.COV2.S.",
        "We gave Ad26.ZEBOV, Ad26.RSV.preF, Ad26.Mos.HIV and ChAd3.EBO.Z in turn.",
        "The variant H2A.Z marks genes, and so do PfH2A.Z/PfH2B.Z, γH2A.X and B7-H3.CAR-Ts.",
        "The mean daily dose of desipramine was 150 mg. and of methylphenidate 30 mg. daily.",
    ],
)
def test_points_that_do_not_end_a_sentence(one):
    assert texts(f"{one} Then we went on.") == [one, "Then we went on."]


@pytest.mark.parametrize(
    "many",
    [
        ["The drug was safe with <10% toxicity.", "It worked.", "Levels rose to > 3 in all.", "We stopped."],
        ["Rats got (1) saline, (2) 5 mg/kg i.p. DOX, (3) 3 mg/kg i.v. X, (4) DOX+X.", "Then we saw it.", "It worked."],
        ["Groups were: (1) aspirin was given.", "(2) Nothing was given.", "They were followed.", "All lived."],
        ["• It is known to be so.", "• We found it to be so.", "Notch is a gene.", "It is conserved."],
        ["We found it in mice.", "siRNAs against it had no effect.", "p53 was lost.", "miR-122 was not."],
        ["We gave Ad26.COV2.S.", "Antibodies rose."],
        ["It was so (P < 0.05).", "(ABSTRACT TRUNCATED AT 250 WORDS)"],
    ],
)
def test_points_that_do(many):
    assert texts(" ".join(many)) == many


def test_sentences_that_lack_a_space_between_them_are_still_split():
    for first, second in [
        ("It was found in this study.", "A total of two were seen."),
        ("It raised CO2.", "A total of two were seen."),
        ("It grew in strain PAO1.", "IMPORTANCE It is known."),
        ("It raised IL6.", "RESULTS: It is known."),
        ("It raised IL6.", "The rest did not."),
    ]:
        assert texts(first + second) == [first, second]


def test_text_in_lower_case_is_split_too():
    assert texts("we grew e. coli and klebsiella spp. in broth. they grew.") == [
        "we grew e. coli and klebsiella spp. in broth.",
        "they grew.",
    ]


def test_halves_of_surrogate_pairs_do_not_move_offsets():
    assert texts("One \ud800 is. Two \udfff are.") == ["One \ud800 is.", "Two \udfff are."]


def test_odd_text_takes_no_time():
    for odd in (
        "1) " * 5000,
        "(1) aa bb. " * 2000,
        "." * 5000,
        "<" * 5000,
        "a. " * 5000,
        "sp. " * 5000,
        "A1." * 5000,
        "A1" * 5000,
    ):
        spans = split(odd, 0, len(odd))
        assert (spans[0][0], spans[-1][1]) == (0, len(odd))


@pytest.mark.shared_data
def test_spans_of_real_abstracts_cover_the_text(shared_data):
    with gzip.open(shared_data / "abstracts" / "abstracts-1.jsonl.gz", "rt", encoding="utf-8") as file:
        abstracts = [json.loads(line)["text"] for line in itertools.islice(file, 500)]
    count = 0
    for text in abstracts:
        spans = split(text, 0, len(text))
        assert (spans[0][0], spans[-1][1]) == (0, len(text))
        assert all(a[1] == b[0] and a[0] < a[1] for a, b in itertools.pairwise(spans))
        count += len(spans)
    assert 7 < count / len(abstracts) < 13
