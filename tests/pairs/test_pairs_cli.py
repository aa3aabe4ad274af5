"""The command bioqa pairs."""

import json

import pytest

from bioqa.pairs.pair_file import Pair, read_provenance, write_pairs
from bioqa.pairs.read_pairs import read_pairs
from tests import tiny_models
from tests.pairs import pair_sources as made
from tests.support import write_jsonl

tiny_reranker = tiny_models.tiny_reranker


@pytest.fixture
def questions(tmp_path):
    return made.write_questions(tmp_path / "questions.json")


def test_build_reports_its_output_and_records_provenance(bioqa, tmp_path, questions):
    out = tmp_path / "pairs.parquet"
    done = bioqa(
        "pairs", "build", questions, "--negatives", "bm25:1", "--negatives", "random:1", "--seed", 3, "--out", out
    )
    assert done.code == 0
    assert done.out == f"{out}: 20 pairs of 5 questions, 35.0% positive (6 bm25, 7 gold, 7 random)\n"
    how = read_provenance(out)
    assert (how["command"], how["seed"], how["sources"]) == ("bioqa pairs build", 3, [str(questions)])
    assert how["options"]["negatives"][0] == {"kind": "bm25", "number": 1.0, "first": 1, "last": 100}


def test_build_as_json_with_splits(bioqa, tmp_path, questions):
    out = tmp_path / "pairs.parquet"
    done = bioqa("pairs", "build", questions, "--split", "train=0.6,dev=0.4", "--out", out, "--json")
    files = json.loads(done.out)["files"]
    assert [one["questions"] for one in files] == [3, 2]
    assert [len(read_pairs(one["path"])) for one in files] == [one["rows"] for one in files]
    assert bioqa("pairs", "check", *[one["path"] for one in files]).code == 0


def test_dropped_given_negatives_are_reported(bioqa, tmp_path):
    rows = "black wallet,leather wallet,1\nblack wallet,leather wallet with zip,0\nblack wallet,blue hat,0\n"
    (tmp_path / "items.csv").write_text(f"text1,text2,label\n{rows}", encoding="utf-8")
    done = bioqa("pairs", "build", tmp_path / "items.csv", "--out", tmp_path / "items.parquet")
    assert done.out.endswith("2 pairs of 1 questions, 50.0% positive (2 given)\n")
    assert done.err == "1 given negatives were dropped: they match gold, are duplicates or are in another split.\n"


def test_mining_with_a_reranker(bioqa, tmp_path, questions, tiny_reranker):
    out = tmp_path / "pairs.parquet"
    done = bioqa(
        "pairs",
        "build",
        questions,
        "--negatives",
        "bm25:1",
        "--mine-with",
        tiny_reranker,
        "--device",
        "cpu",
        "--out",
        out,
    )
    assert done.code == 0
    mined = [row for row in read_pairs(out).to_pylist() if row["kind"] == "mined"]
    assert mined
    from bioqa import Reranker

    logits = Reranker(tiny_reranker, device="cpu").logits
    snippets = [s["text"] for q in made.QUESTIONS for s in q["snippets"]]
    aspirin = next(row for row in mined if row["question_id"] == "q1")
    candidates = [text for text in snippets if "inhibit" in text and "Aspirin" not in text]
    assert aspirin["passage"] == candidates[logits(aspirin["question"], candidates).argmax()]


def test_titles_and_cells(bioqa, tmp_path):
    text = " ".join(f"Sentence number {n} describes the liver enzyme {n}." for n in range(8))
    corpus = write_jsonl(
        tmp_path / "corpus.jsonl",
        [{"id": str(i), "title": f"The liver of patient {i}", "text": f"Case {i}. {text}"} for i in range(4)],
    )
    assert bioqa("index", "build", tmp_path / "index", corpus).code == 0
    out = tmp_path / "pairs.parquet"
    ask = ("--ask", "title", "--negatives", "bm25:1,random:1")
    done = bioqa("pairs", "titles", corpus, "--index", tmp_path / "index", *ask, "--out", out)
    assert (done.code, done.out) == (0, f"{out}: 12 pairs of 4 questions, 33.3% positive (4 bm25, 4 gold, 4 random)\n")
    random = ("--negatives", "random:1")
    done = bioqa("pairs", "cells", *made.cells(tmp_path), "--no-synonyms", "--share", 0.25, *random, "--out", out)
    assert done.out.startswith(f"{out}: 12 pairs of 3 questions, 25.0% positive")
    assert done.err == "1 labels were dropped: their term is not in the ontology.\n"


def test_stats_are_printed_as_in_the_cards(bioqa, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("left,right,good\nwhat?,yes,1\nwhat?,no it is not,0\n", encoding="utf-8")
    assert bioqa("pairs", "stats", path).code == 3
    done = bioqa("pairs", "stats", path, "--columns", "left,right,good")
    assert done.out == (
        f"{path}: 2 pairs of 1 questions\n"
        "positive  1 (50.0%)\n"
        "kinds     2 given\n"
        "\n"
        "characters      min       mean      max\n"
        "question          5       5.00        5\n"
        "passage           3       7.50       12\n"
        "\n"
        "samples\n"
        "  1  what?\n     yes\n"
        "  0  what?\n     no it is not\n"
    )
    found = json.loads(bioqa("pairs", "stats", path, "--columns", "left,right,good", "--json").out)
    assert (found["rows"], found["positive_share"], found["passage"]["max"]) == (2, 0.5, 12)


def test_leaks_fail_loudly_with_samples(bioqa, tmp_path):
    def write(name, *rows):
        write_pairs(tmp_path / name, [Pair(q, p, 1.0, q) for q, p in rows])
        return tmp_path / name

    train = write("train", ("What is Bartter syndrome?", "A tubulopathy."), ("What is X?", "X is a gene."))
    dev = write("dev", ("What is the Bartter syndrome", "Something."), ("What is Y?", "x is a GENE"))
    test = write("test", ("what is x", "Other."), ("what is y?", "More."))
    done = bioqa("pairs", "check", train, dev)
    assert done.code == 3
    assert (
        done.out
        == (
            f"{train} and {dev} share 1 question:\n  What is Bartter syndrome?\n  ~ What is the Bartter syndrome\n"
        ).replace("1 question:", "1 near-duplicate question:")
        + f"{train} and {dev} share 1 passage:\n  x is a GENE\n"
    )
    assert "leak into each other" in done.err
    assert "share 1 passage" not in bioqa("pairs", "check", train, dev, "--questions-only").out
    assert bioqa("pairs", "check", train, dev, "--questions-only", "--jaccard", 1).code == 3  # the same words
    found = json.loads(bioqa("pairs", "check", train, dev, test, "--json").out)
    assert [(leak["kind"], leak["count"]) for leak in found] == [
        ("near-duplicate question", 1),
        ("passage", 1),
        ("question", 1),
        ("question", 1),
    ]
    found = json.loads(bioqa("pairs", "check", test, train, dev, "--json", "--first-only").out)
    assert [(leak["kind"], leak["count"]) for leak in found] == [("question", 1), ("question", 1)]
    clean = write("clean", ("How are you?", "Fine."))
    done = bioqa("pairs", "check", train, clean)
    assert (done.code, done.out) == (
        0,
        "No question or passage is in two of 2 files (near-duplicates: Jaccard 0.75 or more).\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("check", "questions.json"), 2, "name two or more"),
        (("check", "questions.json", "questions.json"), 2, "repeated"),
        (("build", "questions.json", "--out", "x", "--negatives", "hard:1"), 2, "does not specify negatives"),
        (("build", "questions.json", "--out", "x", "--skip-above", "0.5"), 2, "--skip-above requires --mine-with"),
        (("build", "questions.json", "--out", "x", "--max-positives", "0"), 2, "must be 1 or more"),
        (("build", "questions.json", "--out", "x", "--jaccard", "7"), 2, "Jaccard similarity of near-duplicates"),
        (("build", "none.json", "--out", "x"), 4, "There is no question file"),
        (("build", "none.csv", "--out", "x"), 3, "does not exist"),
        (("build", "questions.json", "--out", "x", "--passages", "abstracts"), 2, "require an index"),
        (("build", "questions.json", "--out", "x", "--index", "none"), 5, "There is no index"),
        (("build", "questions.json", "--out", "nowhere/x"), 7, "x cannot be written: No such file or directory.\n"),
        (("build", "questions.json", "--out", "./questions.json"), 7, "is an input and would be overwritten"),
        (("build", "questions.json", "--out", "x", "--exclude", "x"), 3, "x does not exist"),
        (("cells", "questions.json", "--out", "x"), 3, "has no terms"),
    ],
)
def test_errors_are_reported_in_a_sentence(bioqa, tmp_path, questions, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    before = questions.read_bytes()
    done = bioqa("pairs", *arguments)
    assert done.code == code
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["questions.json"]
    assert questions.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsetInBeginSection": "0"}, "question 1 (q1), snippet 1: offsetInBeginSection is '0', not a whole number."),
        ({"offsetInEndSection": 0.5}, "offsetInEndSection is 0.5, not a whole number."),
        ({"document": 1}, "snippet 1: document is 1, not text."),
        ({"text": 5}, "snippet 1: text is 5, not text."),
        ({"offsetInBeginSection": -5}, "snippet 1: the offsets -5 to 41 are not a range of text. Correct them."),
        ({"offsetInBeginSection": 60}, "snippet 1: the offsets 60 to 41 are not a range of text. Correct them."),
    ],
)
def test_a_malformed_snippet_is_named(bioqa, tmp_path, change, message):
    asked = made.question("q1", "What?", made.snippet("1", "Aspirin inhibits platelet cyclooxygenase."))
    asked["snippets"] = [asked["snippets"][0] | change]
    done = bioqa("pairs", "build", made.bioasq(tmp_path / "q.json", asked), "--out", tmp_path / "x")
    assert done.code == 4
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["q.json"]


def test_pairs_are_built_from_snippets_without_a_place(bioqa, tmp_path):
    asked = made.question("q1", "What?", made.snippet("1", "Aspirin inhibits platelet cyclooxygenase."))
    given = asked["snippets"][0]
    asked["snippets"] = [{"text": given["text"], "document": given["document"], "beginSection": None}]
    done = bioqa("pairs", "build", made.bioasq(tmp_path / "q.json", asked), "--out", tmp_path / "x")
    assert done.code == 0, done.err
    (pair,) = read_pairs(tmp_path / "x").to_pylist()
    assert (pair["passage"], pair["document_id"]) == ("Aspirin inhibits platelet cyclooxygenase.", "1")


def test_an_interrupted_build_leaves_nothing(bioqa, tmp_path, questions, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("bioqa.pairs.build_pairs.write_group", interrupt)
    done = bioqa("pairs", "build", questions, "--out", tmp_path / "x")
    assert (done.code, done.err) == (130, "Interrupted.\n")
    assert [path.name for path in tmp_path.iterdir()] == ["questions.json"]


@pytest.mark.shared_data
def test_bioasq_years_share_near_duplicates_and_snippets(bioqa, shared_data):
    files = [shared_data / "bioasq" / f"{split}.json.gz" for split in ("train", "dev", "test")]
    done = bioqa("pairs", "check", *files, "--json")
    assert done.code == 3
    found = {(leak["kind"], leak["first"][-13:], leak["second"][-12:]): leak["count"] for leak in json.loads(done.out)}
    assert {key: count for key, count in found.items() if key[0] == "question"} == {}
    assert sum(count for key, count in found.items() if key[0] == "near-duplicate question") == 10
