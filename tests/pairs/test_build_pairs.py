"""Pairs from questions: gold passages, negatives that are not gold, disjoint splits, the same pairs for the same seed."""

import random
import tarfile
from collections import Counter, defaultdict

import pytest

from bioqa.errors import PairsError, QuestionError, UsageError
from bioqa.index.build import build_index
from bioqa.index.reader import Index
from bioqa.pairs.build_pairs import BuildOptions, build_pairs
from bioqa.pairs.duplicates import NearDuplicates, near_duplicate_sets, normalize
from bioqa.pairs.held_out import HeldOut
from bioqa.pairs.leaks import find_leaks
from bioqa.pairs.negatives import GoldFilter, Mining, NegativeSpec, parse_negatives, scale_to_share
from bioqa.pairs.pair_file import Pair
from bioqa.pairs.passage_pools import PassagePool
from bioqa.pairs.question_groups import Passage, QuestionGroup, read_groups
from bioqa.pairs.read_pairs import read_pairs
from bioqa.pairs.split import parse_splits
from bioqa.pairs.title_pairs import TitleOptions, build_title_pairs
from tests.pairs import pair_sources as made
from tests.support import write_jsonl


def options(*negatives, **more):
    return BuildOptions(negatives=tuple(map(parse_negatives, negatives)), **more)


def rows(path):
    return [Pair(**row) for row in read_pairs(path).to_pylist()]


@pytest.fixture
def questions(tmp_path):
    return made.write_questions(tmp_path / "questions.json")


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    build_index(folder / "index", [made.articles(folder / "articles.jsonl")])
    with Index(folder / "index") as opened:
        yield opened


def test_gold_snippets_with_bm25_and_random_negatives(tmp_path, questions):
    report = build_pairs([questions], tmp_path / "pairs.parquet", options("bm25:2", "random:1"))
    found = rows(tmp_path / "pairs.parquet")
    assert report.files[0].rows == len(found)
    assert report.files[0].kinds == Counter(pair.kind for pair in found)
    gold = {
        pair.question_id: {p.passage for p in found if p.question_id == pair.question_id and p.label} for pair in found
    }
    assert {id: len(texts) for id, texts in gold.items()} == {"q1": 1, "q2": 1, "q3": 2, "q4": 1, "q5": 2}
    for pair in found:
        assert pair.label == (pair.kind == "gold")
        assert (pair.rank > 0) == (pair.kind == "bm25")
        if not pair.label:
            assert pair.passage not in gold[pair.question_id]
    aspirin = {pair.passage for pair in found if pair.question_id == "q1" and pair.kind == "bm25"}
    assert aspirin == {"Warfarin inhibits vitamin K epoxide reductase.", "Statins inhibit HMG-CoA reductase."}


def test_the_same_seed_gives_the_same_pairs(tmp_path, questions):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        build_pairs([questions], tmp_path / name, options("random:2", seed=seed))
    a, b, c = (rows(tmp_path / name) for name in "abc")
    assert a == b
    assert a != c


def test_rank_ranges_and_shares_are_kept(tmp_path, questions):
    build_pairs([questions], tmp_path / "ranks", options("bm25:1:2-2"))
    assert {pair.rank for pair in rows(tmp_path / "ranks") if pair.kind == "bm25"} == {2}
    build_pairs([questions], tmp_path / "share", options("random:1", share=0.25, max_positives=1))
    found = rows(tmp_path / "share")
    assert sum(pair.label for pair in found) == 5
    assert len(found) == 20


def test_questions_of_several_files_are_merged(tmp_path, questions):
    again = made.bioasq(
        tmp_path / "again.json",
        made.question("other-id", "what does ASPIRIN inhibit", made.snippet("1", "It lowers fever in children.")),
        made.question("q2", "What do statins do?", made.snippet("2", "Statins inhibit HMG-CoA reductase.")),
    )
    groups = {group.id: group for group in read_groups([questions, again])}
    assert set(groups) == {"q1", "q2", "q3", "q4", "q5"}
    assert [p.text for p in groups["q1"].gold] == [
        "Aspirin inhibits platelet cyclooxygenase.",
        "It lowers fever in children.",
    ]
    assert len(groups["q2"].gold) == 1


def test_sentences_of_the_same_document_do_not_overlap_gold(tmp_path, index):
    questions = made.bioasq(
        tmp_path / "questions.json",
        made.question("q", "What does aspirin do?", made.snippet("1", "platelet cyclooxygenase. It lowers")),
    )
    build_pairs([questions], tmp_path / "pairs", options("sentence:9"), index=index)
    drawn = [pair for pair in rows(tmp_path / "pairs") if pair.kind == "sentence"]
    assert {pair.passage for pair in drawn} == {"Aspirin", "Doses were small."}
    assert {pair.document_id for pair in drawn} == {"1"}


@pytest.mark.parametrize(
    ("text", "place", "allowed"),
    [
        ("GOLD text, here!", (0, 0), False),
        ("the gold text here and more", (0, 0), False),
        ("text here", (0, 0), False),
        ("gold texts", (0, 0), True),
        ("something else", (15, 30), False),
        ("something else", (20, 30), True),
        ("answer of a near-duplicate", (0, 0), False),
        ("held-out text!", (0, 0), False),
        ("text elsewhere", (0, 0), False),
        ("  ", (0, 0), False),
    ],
)
def test_gold_is_not_allowed_as_a_negative(text, place, allowed):
    gold = Passage("Gold text here", "1", "abstract", 10, 20)
    group = QuestionGroup("q", "what?", (gold,), related=(Passage("the answer of a near-duplicate"),))
    pool = PassagePool([gold, Passage("text elsewhere", "1", "abstract", 12, 14)])
    held_out = HeldOut([QuestionGroup("d", "why?", (Passage("Held-out text"),))])
    gold_filter = GoldFilter(group, pool, [held_out])
    passage = Passage(text, "1", "abstract", *place)
    assert gold_filter.allowed(passage) is allowed
    gold_filter.use(passage)
    assert not gold_filter.allowed(passage)


@pytest.mark.parametrize("passages", ["abstracts", "articles"])
def test_gold_documents_of_an_index(tmp_path, questions, index, passages):
    report = build_pairs([questions], tmp_path / "pairs", options("bm25:1", "random:1", passages=passages), index=index)
    found = rows(tmp_path / "pairs")
    title = "Aspirin\n" if passages == "articles" else ""
    assert found[0].passage == title + made.ARTICLES["1"][1]
    assert report.missing_documents == 0
    gold = defaultdict(set)
    for pair in found:
        if pair.label:
            gold[pair.question_id].add(pair.document_id)
    assert not any(pair.document_id in gold[pair.question_id] for pair in found if not pair.label)
    assert {"bm25", "random"} <= {pair.kind for pair in found}


def test_documents_missing_from_the_index_are_counted(tmp_path, index):
    record = made.question("q", "What?", made.snippet("1", "Doses were small."))
    record["documents"] = [*record["documents"], "http://www.ncbi.nlm.nih.gov/pubmed/77"]
    questions = made.bioasq(tmp_path / "questions.json", record)
    report = build_pairs([questions], tmp_path / "pairs", BuildOptions(passages="abstracts"), index=index)
    assert (report.missing_documents, report.files[0].rows) == (1, 1)


def many_questions(path, count=60):
    """Questions on one drug each; every third is repeated in other words, and some adjacent ones share a snippet."""
    records = []
    for number in range(count):
        body = f"What enzyme does drug{number} block in liver tissue?"
        snippets = [made.snippet("1", "Doses were small.") | {"text": f"Drug{number} blocks enzyme{number}."}]
        if number % 7 == 1:
            snippets.append(
                made.snippet("1", "Doses were small.") | {"text": f"Drug{number - 1} blocks enzyme{number - 1}."}
            )
        records.append(made.question(f"q{number}", body, *snippets))
        if number % 3 == 0:
            text = f"In liver, enzyme{number} is blocked by drug{number}."
            asked = f"Which enzyme of liver tissue does drug{number} block?"
            records.append(made.question(f"r{number}", asked, made.snippet("1", "Doses were small.") | {"text": text}))
    return made.bioasq(path, *records)


def test_splits_share_neither_questions_nor_passages(tmp_path):
    questions = many_questions(tmp_path / "questions.json")
    splits = tuple(parse_splits("train=0.8,dev=0.1 test=0.1"))
    report = build_pairs([questions], tmp_path / "p.parquet", options("bm25:3", "random:1", split=splits))
    files = [tmp_path / f"p-{name}.parquet" for name in ("train", "dev", "test")]
    assert [one.path for one in report.files] == files
    assert [one.questions for one in report.files] == [64, 8, 8]
    assert find_leaks(files) == []
    twins = {
        id: name for name, file in zip("abc", files, strict=True) for id in read_pairs(file)["question_id"].to_pylist()
    }
    assert all(twins[f"q{n}"] == twins[f"r{n}"] for n in range(0, 60, 3))


def test_splits_of_articles_do_not_share_documents(tmp_path, questions, index):
    splits = tuple(parse_splits("train=0.6,dev=0.4"))
    wanted = options("bm25:2", "random:1", passages="abstracts", split=splits)
    build_pairs([questions], tmp_path / "p.parquet", wanted, index=index)
    assert find_leaks([tmp_path / "p-train.parquet", tmp_path / "p-dev.parquet"]) == []


def test_a_split_without_questions_is_refused_and_nothing_is_written(tmp_path, questions):
    with pytest.raises(PairsError, match="The split dev would be empty"):
        build_pairs([questions], tmp_path / "p.parquet", options(split=tuple(parse_splits("train=0.99,dev=0.01"))))
    assert [path.name for path in tmp_path.iterdir()] == ["questions.json"]


def test_excluded_questions_and_passages_are_not_used(tmp_path, questions):
    dev = made.bioasq(
        tmp_path / "dev.json",
        made.question("d1", "What is it that warfarin inhibits?", made.snippet("3", "Metformin lowers blood glucose.")),
    )
    report = build_pairs([questions], tmp_path / "pairs", options("random:5", exclude=(dev,)))
    assert (report.excluded_questions, report.excluded_passages) == (1, 1)
    assert find_leaks([tmp_path / "pairs", dev]) == []
    everything = made.write_questions(tmp_path / "everything.json")
    with pytest.raises(PairsError, match="No question with a gold passage remains"):
        build_pairs([questions], tmp_path / "pairs", options(exclude=(everything,)))


class LongestFirst:
    """A reranker that scores a passage by its length."""

    def score_pairs(self, pairs):
        import numpy as np

        return type("Scores", (), {"logits": np.array([float(len(passage)) for _, passage in pairs])})


def test_a_model_mines_the_hardest_negatives(tmp_path, questions):
    build_pairs([questions], tmp_path / "pairs", options("bm25:1"), mining=Mining(LongestFirst()))
    mined = {pair.question_id: pair for pair in rows(tmp_path / "pairs") if pair.kind == "mined"}
    assert mined["q1"].passage == "Warfarin inhibits vitamin K epoxide reductase."
    assert mined["q1"].rank == 1
    build_pairs([questions], tmp_path / "pairs", options("bm25:1"), mining=Mining(LongestFirst(), skip_above=1.0))
    mined = {pair.question_id: pair for pair in rows(tmp_path / "pairs") if pair.kind == "mined"}
    assert mined["q1"].passage == "Statins inhibit HMG-CoA reductase."
    with pytest.raises(UsageError, match="requires negatives bm25"):
        build_pairs([questions], tmp_path / "pairs", options("random:1"), mining=Mining(LongestFirst()))
    with pytest.raises(UsageError, match="between 0 and 1"):
        Mining(LongestFirst(), skip_above=2)


def test_given_pairs_keep_their_negatives_and_get_more(tmp_path):
    path = write_jsonl(
        tmp_path / "given.jsonl",
        [
            {
                "query": "What lowers fever?",
                "pos": "Aspirin lowers fever.",
                "neg": ["Aspirin lowers fever!", "Ice is cold."],
            },
            {"query": "What thins blood?", "pos": ["Heparin thins blood."], "neg": []},
        ],
    )
    report = build_pairs([path], tmp_path / "pairs", options("random:1"))
    assert report.dropped_negatives == 1
    found = [(pair.passage, pair.label, pair.kind) for pair in rows(tmp_path / "pairs")]
    assert found[:2] == [("Aspirin lowers fever.", 1.0, "given"), ("Ice is cold.", 0.0, "given")]
    assert ("Aspirin lowers fever!", 0.0, "given") not in found
    assert Counter(kind for _, _, kind in found)["random"] == 2


def test_pubmedqa_and_medquad_are_sources(tmp_path):
    pubmedqa = tmp_path / "pubmedqa.json"
    pubmedqa.write_text('{"9": {"QUESTION": "Does it?", "CONTEXTS": ["It does.", "Often."]}}', encoding="utf-8")
    assert read_groups([pubmedqa])[0].gold == (Passage("It does. Often.", "9"),)
    xml = tmp_path / "1.xml"
    xml.write_text(
        '<Document id="1"><QAPairs><QAPair><Question qid="1-1">What is  X?</Question><Answer>X is\n a thing.</Answer></QAPair>'
        '<QAPair><Question qid="1-2">Why?</Question><Answer></Answer></QAPair></QAPairs></Document>',
        encoding="utf-8",
    )
    with tarfile.open(tmp_path / "medquad.tar.gz", "w:gz") as archive:
        archive.add(xml, "A_QA/1.xml")
    [group] = read_groups([tmp_path / "medquad.tar.gz"])
    assert (group.id, group.question, group.gold[0].text) == ("A_QA/1-1", "What is X?", "X is a thing.")
    (tmp_path / "bad.tar.gz").write_bytes(b"no archive")
    with pytest.raises(PairsError, match="not MedQuAD's archive"):
        read_groups([tmp_path / "bad.tar.gz"])


def test_questions_without_gold_are_refused(tmp_path):
    path = made.bioasq(tmp_path / "questions.json", made.question("q", "What?"))
    with pytest.raises(PairsError, match="no question with a gold passage"):
        read_groups([path])
    with pytest.raises(QuestionError, match="no question file"):
        read_groups([tmp_path / "missing.json"])


def test_titles_and_sentences_are_paired_with_their_abstracts(tmp_path):
    text = " ".join(f"Sentence number {n} describes the liver enzyme {n}." for n in range(8))
    records = [
        {"id": str(i), "title": f"The liver enzyme of patient {i}", "text": f"Case {i}. {text}"} for i in range(6)
    ]
    corpus = write_jsonl(
        tmp_path / "corpus.jsonl", [*records, {"id": "7", "title": "A title without much", "text": "Short."}]
    )
    dev = write_jsonl(
        tmp_path / "dev.jsonl",
        [{"question": "Of patient 5 the liver enzyme", "passage": f"Case 4. {text}", "label": 1}],
    )
    build_index(tmp_path / "index", [corpus])
    wanted = TitleOptions(negatives=(NegativeSpec("bm25", 2), NegativeSpec("random", 1)), exclude=(dev,))
    with Index(tmp_path / "index") as index:
        report = build_title_pairs([corpus], index, tmp_path / "pairs", wanted)
    found = rows(tmp_path / "pairs")
    assert (report.excluded_questions, report.excluded_passages) == (1, 1)
    assert {pair.question_id for pair in found} == {f"{i}-{what}" for i in range(4) for what in ("title", "sentence")}
    for pair in found:
        own = pair.question_id.partition("-")[0]
        assert (pair.document_id == own) == (pair.label == 1)
        assert pair.document_id != "4"
        if pair.label and pair.question_id.endswith("sentence"):
            assert pair.question in records[int(own)]["text"]
            assert pair.question not in pair.passage
    with pytest.raises(UsageError, match="title or sentence"):
        TitleOptions(asked=("author",))


class TestNearDuplicates:
    def test_similar_questions_are_found_and_others_not(self):
        known = ["What is the function of circular RNA?", "What is Bartter syndrome?", "What is Noonan syndrome?"]
        index = NearDuplicates(known)
        assert index.find("What are the functions of the Circular RNAs") == [0]
        assert index.find("What is the Bartter syndrome?") == [1]
        assert index.find("What causes Bartter syndrome?") == []
        with pytest.raises(UsageError, match="Jaccard similarity of near-duplicates"):
            NearDuplicates(known, 0)

    def test_finds_the_same_as_comparing_all_pairs(self):
        rng = random.Random(5)
        texts = [" ".join(rng.choices([f"w{n}" for n in range(12)], k=rng.randint(1, 9))) for _ in range(150)]

        def similar(a, b):
            a, b = set(a.split()), set(b.split())
            return len(a & b) / len(a | b) >= 0.6

        index = NearDuplicates(texts, 0.6)
        for text in texts:
            assert index.find(text) == [n for n, other in enumerate(texts) if similar(text, other)]

    def test_sets_contain_near_duplicates_of_near_duplicates(self):
        texts = ["a1 b1 c1 d1", "a1 b1 c1 d1 e1", "b1 c1 d1 e1 a1 f1", "x1 y1"]
        assert near_duplicate_sets(texts, 0.8) == [[0, 1, 2], [3]]

    def test_the_normal_form_has_words_only(self):
        assert normalize("  TNF-α,\nNaïve ﬁt! ") == "tnf α naïve fit"
        assert normalize(" ? ") == "?"


@pytest.mark.parametrize("text", ["bm25", "bm25:x", "cosine:1", "random:1:1-5", "bm25:1:5-2", "bm25:1:0-2"])
def test_invalid_negatives_are_refused(text):
    with pytest.raises(UsageError, match=r"Write bm25|ranks count"):
        parse_negatives(text)


def test_a_share_scales_the_numbers():
    assert scale_to_share([NegativeSpec("bm25", 1), NegativeSpec("random", 3)], 0.2) == [
        NegativeSpec("bm25", 1.0),
        NegativeSpec("random", 3.0),
    ]
    assert parse_negatives("bm25:.5:10-50") == NegativeSpec("bm25", 0.5, 10, 50)
    for share, negatives in ((0.5, []), (1.5, [NegativeSpec("random", 1)])):
        with pytest.raises(UsageError, match="share"):
            scale_to_share(negatives, share)


@pytest.mark.parametrize("text", ["train", "train=0.5", "train=0.5,train=0.5", "a/b=1", "train=x", "train=1,dev=0"])
def test_invalid_splits_are_refused(text):
    with pytest.raises(UsageError):
        parse_splits(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"passages": "abstracts"}, "require an index"),
        ({"negatives": (NegativeSpec("sentence", 1),)}, "require an index"),
        ({"passages": "chapters"}, "passages must be one of"),
        ({"negatives": (NegativeSpec("sibling", 1),)}, "sibling is for `bioqa pairs cells`"),
    ],
)
def test_incompatible_options_are_refused(tmp_path, questions, settings, message):
    with pytest.raises(UsageError, match=message):
        build_pairs([questions], tmp_path / "pairs", BuildOptions(**settings))


def test_an_index_samples_different_articles(index):
    drawn = index.sample(4, random.Random(1))
    assert len({article.id for article in drawn}) == 4
    assert {article.id for article in index.sample(100, random.Random(1))} == set(made.ARTICLES)
    assert [a.id for a in index.sample(4, random.Random(1))] == [a.id for a in drawn]


@pytest.mark.shared_data
def test_bioasq_dev_in_pairs_and_splits(shared_data, tmp_path):
    dev = shared_data / "bioasq" / "dev.json.gz"
    wanted = options("bm25:2:1-50", "random:0.5", max_positives=3, split=tuple(parse_splits("train=0.8,dev=0.2")))
    report = build_pairs([dev], tmp_path / "p.parquet", wanted)
    assert sum(one.questions for one in report.files) == 496
    assert report.files[1].questions == pytest.approx(99, abs=2)
    assert find_leaks([one.path for one in report.files]) == []
    gold = {group.id: [f" {normalize(p.text)} " for p in group.gold] for group in read_groups([dev])}
    for file in report.files:
        for pair in rows(file.path):
            if not pair.label:
                text = f" {normalize(pair.passage)} "
                assert not any(text in one or one in text for one in gold[pair.question_id])
