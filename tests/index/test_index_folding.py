"""Folding: words with accents, Greek letters, ligatures and compatibility forms are found by their plain spelling and back."""

import itertools
import unicodedata

import pytest

from bioqa import Article, BM25Retriever, Index, MemoryRetriever, SearchOptions, build_index
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.index.document import author_terms, index_analyzer, query_analyzer
from bioqa.index.folding import LETTERS, fold, forms
from bioqa.index.jvm import java
from bioqa.retrieve.analyze import analyzer
from bioqa.types import Author
from tests.support import DEMO, assert_same_results, pyserini_results, write_jsonl

TEXTS = {
    "sjögren": "Sjögren syndrome is common.",
    "sjogren": "Sjogren disease is rare.",
    "apart": "TNF-α was measured.",
    "spelled": "TNF-alpha fell.",
    "inside": "TNFα inhibitors work.",
    "joined": "TNFalpha rose.",
    "micro": "A dose of 5 \xb5g.",  # the micro sign
    "mu": "A dose of 9 \u03bcg.",  # the Greek letter
    "ligature": "The speci\ufb01c assay",
    "full-width": "The \uff29\uff27\uff26 receptor",  # IGF
    "ø": "Born in København, at Straße 7.",
    "plain": "Cystic fibrosis is caused by CFTR.",
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("folding")
    corpus = write_jsonl(folder / "c.jsonl", [{"id": id, "title": "", "text": text} for id, text in TEXTS.items()])
    build_index(folder / "index", [corpus])
    return folder / "index"


@pytest.mark.parametrize(
    ("question", "ids"),
    [
        ("Sjögren", {"sjögren", "sjogren"}),
        ("SJOGREN's", {"sjögren", "sjogren"}),
        ("Sjo\u0308gren", {"sjögren", "sjogren"}),  # o and a combining diaeresis
        ("TNF-alpha", {"apart", "spelled", "inside"}),
        ("TNF-α", {"apart", "spelled", "inside"}),
        ("TNFα", {"apart", "spelled", "inside", "joined"}),
        ("TNFalpha", {"joined", "inside"}),
        ("mug", {"micro", "mu"}),
        ("\xb5g", {"micro", "mu"}),
        ("specific", {"ligature"}),
        ("IGF", {"full-width"}),
        ("kobenhavn", {"ø"}),
        ("strasse", {"ø"}),
        ("à", set()),  # folded it is a stop word
    ],
)
def test_a_plain_word_finds_the_other_spelling_and_back(path, question, ids):
    memory = MemoryRetriever([Article(id, "", text) for id, text in TEXTS.items()])
    with Index(path) as index:
        found = BM25Retriever(index).search(question, 20)
    assert set(found.ids) == ids
    in_memory = memory.search(question, 20)
    assert [one.id for one in in_memory] == found.ids
    assert [one.score for one in in_memory] == pytest.approx(list(found.scores), rel=1e-6)


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("sjogr*", {"sjögren", "sjogren"}),
        ("Sjögr*", {"sjögren", "sjogren"}),
        ("sjögrem~1", {"sjögren", "sjogren"}),
        ('"Sjögren syndrome"', {"sjögren"}),
        ('"TNF α"', {"apart", "spelled"}),
        ('"TNFα inhibitors"', {"inside"}),
    ],
)
def test_lucenes_syntax_folds_words_prefixes_and_phrases(path, query, ids):
    with Index(path) as index:
        assert set(BM25Retriever(index).search(query, 20, SearchOptions(syntax="lucene")).ids) == ids


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", ["plain"]),
        ("naïve", ["naive"]),
        ("α", ["alpha"]),
        ("ά", ["alpha"]),
        ("nfκb", ["nfkappab", "nf", "kappab"]),
        ("β1", ["beta1"]),
        ("α4β7", ["alpha4beta7", "alpha4", "beta7"]),
        ("γδ", ["gammadelta", "gamma", "delta"]),
        ("λόγος", ["λογος"]),
        ("ﬁn", ["fin"]),
        ("１．５", ["1.5"]),
        ("o’brien", ["o'brien"]),
        ("in\u00adflamed", ["inflamed"]),
        ("한국", ["한국"]),
        ("が", ["が"]),
        ("हिन्दी", ["हिन्दी"]),
    ],
)
def test_the_folded_forms_of_a_word(word, expected):
    assert forms(word) == expected


def java_tokens(made, texts):
    """The tokens of each text, each with its position increment, with a Java analyzer."""
    lines = java("bioqa.FoldingAnalyzer").tokens(made, list(texts))
    return [
        [(token, int(step)) for token, _, step in (line.rpartition(" ") for line in text.split("\n")[:-1])]
        for text in lines
    ]


def assert_python_agrees(texts):
    analyze = analyzer()
    texts = list(texts)
    for text, indexed, asked in zip(
        texts, java_tokens(index_analyzer(), texts), java_tokens(query_analyzer(), texts), strict=True
    ):
        found = analyze(text, True)
        assert found.tokens == [token for token, _ in indexed], text
        assert found.length == sum(step > 0 for _, step in indexed), text
        assert analyze(text, False).tokens == [token for token, _ in asked], text


def test_folded_forms_stand_at_the_position_of_the_word():
    [indexed] = java_tokens(index_analyzer(), ["The naïve TNFα of Sjögren's"])
    expected = [
        ("naïv", 2),
        ("naiv", 0),
        ("tnfα", 1),
        ("tnfalpha", 0),
        ("tnf", 0),
        ("alpha", 0),
        ("sjögren", 2),
        ("sjogren", 0),
    ]
    assert indexed == expected
    [asked] = java_tokens(query_analyzer(), ["The naïve TNFα of Sjögren's"])
    assert asked == [("naiv", 2), ("tnfalpha", 1), ("tnf", 0), ("alpha", 0), ("sjogren", 2)]


def test_letters_are_folded_as_lucenes_filter_folds_them():
    lucene = java("org.apache.lucene.analysis.miscellaneous.ASCIIFoldingFilter")
    for letter, name in LETTERS.items():
        buffer = [" "] * 4
        length = lucene.foldToASCII([letter], 0, buffer, 0, 1)
        if letter.isalpha() and letter != "ʼ":
            assert "".join(buffer[:length]) == name


def test_java_and_python_fold_every_letter_alike():
    ranges = ((0xA0, 0x0870), (0x1E00, 0x2000), (0xA640, 0xD7A4), (0xF900, 0xFFF0))
    letters = [
        letter
        for letter in map(chr, itertools.chain(*(range(*one) for one in ranges)))
        if unicodedata.category(letter)[0] in "LN" and unicodedata.normalize("NFKD", letter)[0] != " "
    ]
    assert len(letters) > 15_000
    analyze = analyzer()
    for letter, [*tokens] in zip(letters, java_tokens(query_analyzer(), [f"q{x}z" for x in letters]), strict=True):
        if len(tokens) == 1:  # a letter of a word in the Unicode version of Lucene's tokenizer
            assert [token for token, _ in tokens] == analyze(f"q{letter}z", False).tokens, hex(ord(letter))


def test_python_splits_text_as_lucene_does():
    assert_python_agrees(
        [
            "foo_bar.baz a:b 1,2.3 1'000 l'ho O’Brien’s don't '' x' 's 3-4 IL-6's _x_ __ a__b 5%",
            "👩‍⚕️ 🇩🇪🇫🇷🇩 #️⃣ 1️⃣ 👍🏽a © 2020 ®x ™",
            'ไทยภาษา 안녕 하세요 שב"כ א\'ב א" カタカナ_タ ｶﾀ 漢字かな',
            "İstanbul ΣΊΣΥΦΟΣ ẞ ǅ Ⅳ ⓐ H₂O 10⁻³ CO₂ µ Å Ω 𝛼𝐀 e\u0301te\u0301 a\u200db \u00adx",
            "relational possibly bubbly apology biology analogy technologie is as us ms ies sky skies agreed controlled",
            "x" * 300 + " é" * 2 + "é" * 300 + "a.b" * 200,
            "",
        ]
    )


@pytest.mark.shared_data
def test_real_abstracts_have_anserinis_tokens_if_ascii_and_the_same_in_python(shared_data):
    """The shared abstracts of one file: those in ASCII are Anserini's, token by token."""
    records = read_source(expand_sources([shared_data / "abstracts" / "abstracts-2.jsonl.gz"])[0])
    texts = [article.searchable_text() for article in itertools.islice(records, 4000)]
    assert_python_agrees(texts)
    ascii_only = [text for text in texts if text.isascii()]
    assert len(ascii_only) > 2000
    anserini = java_tokens(
        java("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter"), ascii_only
    )
    assert java_tokens(index_analyzer(), ascii_only) == anserini
    assert java_tokens(query_analyzer(), ascii_only) == anserini


@pytest.mark.slow
def test_pyserini_opens_the_index_and_scores_ascii_questions_alike(path):
    questions = ["Sjogren syndrome", "TNF-alpha inhibitors", "a dose of 9 mug", "cystic fibrosis"]
    with Index(path) as index:
        for question, theirs in zip(questions, pyserini_results(path, questions), strict=True):
            assert_same_results([(one.id, one.score) for one in BM25Retriever(index).search(question)], theirs)


def test_plain_articles_have_the_scores_of_an_index_without_folding(tmp_path):
    """Folded forms do not count in an article's length, and an index of ASCII text has none."""
    records = [r for r in read_source(expand_sources([DEMO / "demo26n0001.xml"])[0]) if r.searchable_text().isascii()]
    anserini = java("io.anserini.analysis.DefaultEnglishAnalyzer").newStemmingInstance("porter")
    texts = [record.searchable_text() for record in records]
    assert len(texts) > 100
    assert java_tokens(index_analyzer(), texts) == java_tokens(anserini, texts)


def test_authors_are_found_by_folded_names():
    assert fold("Łukasz Müller-Strauß") == "lukasz muller-strauss"
    names = author_terms([Author("Gødel", "Kurt", "K"), Author(collective="β-Cell Group")])
    assert {"gødel", "godel", "gødel k", "godel kurt", "β-cell group", "beta-cell group"} <= set(names)
