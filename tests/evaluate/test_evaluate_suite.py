"""Suite files: what they say, what the command line changes, what is refused."""

import json
from pathlib import Path

import pytest

from bioqa.bench.collection import read_collection
from bioqa.bench.suite import CollectionSpec, read_suite, without_rerankers
from bioqa.errors import QuestionError, UsageError
from tests.support import REPOSITORY, write_jsonl

SUITE = """
name = "small"
measures = ["ndcg@10"]

[[collection]]
name = "one"
corpus = "${FOLDER}/corpus.jsonl"
questions = "questions.json"

[[first-stage]]
name = "bm25"
depth = 50

[[first-stage]]
name = "rm3"
depth = 50
rm3 = true

[[reranker]]
name = "default"
depth = 20
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def read(path, *overrides):
    return read_suite(path, overrides, {"FOLDER": "/data"})


def test_a_suite_is_first_stages_alone_and_with_each_reranker(suite_file):
    suite = read(suite_file)
    assert [system.name for system in suite.systems] == ["bm25", "bm25 + default", "rm3", "rm3 + default"]
    assert suite.baseline == "bm25"
    assert suite.first_stages[1].rm3 and not suite.first_stages[0].rm3


def test_variables_and_paths_are_resolved_but_told_as_they_were_written(suite_file):
    suite = read(suite_file)
    assert suite.collections[0].corpus == ("/data/corpus.jsonl",)
    assert suite.collections[0].questions == str(suite_file.parent / "questions.json")
    written = suite.written["collections"][0]
    assert (list(written["corpus"]), written["questions"]) == (["${FOLDER}/corpus.jsonl"], "questions.json")


def test_set_changes_one_table_or_all_of_a_kind(suite_file):
    suite = read(
        suite_file, "first-stage.depth=30", "first-stage.rm3.k1=1.2", "reranker.first-stage-weight=0.1", "name=other"
    )
    assert [stage.depth for stage in suite.first_stages] == [30, 30]
    assert [stage.k1 for stage in suite.first_stages] == [0.9, 1.2]
    assert suite.rerankers[0].first_stage_weight == 0.1
    assert suite.name == "other"
    assert suite.written["first_stages"][1]["k1"] == 1.2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["reranker.dept=5"], "there is no setting 'dept'.*depth"),
        (["speed=5"], "there is no setting 'speed'"),
        (["written={}"], "there is no setting 'written'"),
        (["reranker.other.depth=5"], "no such key"),
        (["reranker"], "--set reranker: write it as key=value, such as --set reranker.depth=50"),
        (["reranker.depth=deep"], "reranker default: depth must be a whole number, not 'deep'"),
        (["first-stage.bm25.rm3=1"], "first-stage bm25: rm3 must be true or false, not 1"),
        (["reranker.depth=60"], "score 60 candidates, but the first stage bm25 finds 50"),
        (["reranker.depth=0"], "depth must be 1 or more, not 0"),
        (["reranker.first-stage-weight=-1"], "first-stage-weight must be 0 or more"),
        (["baseline=tf-idf"], "baseline 'tf-idf' is no system. There are bm25, bm25 . default"),
        (["correction=none-such"], "no correction 'none-such'"),
        (["measures=[]"], "names no measure"),
        (["first-stage.rm3.name=bm25"], "have one name"),
        (["first-stage.rm3.name=a/b"], "may hold letters"),
        (["collection.corpus=$NOWHERE/x"], "uses \\$\\{NOWHERE\\}, which is not set"),
        (["collection.corpus=$"], "Write \\$\\$"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(suite_file, overrides, message):
    with pytest.raises(UsageError, match=message):
        read(suite_file, *overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ('name = "x"', "names no collection"),
        ('name = "x"\ncollection = 3', "must be tables that begin with \\[\\[collection\\]\\]"),
        ("[[collection]]\nkind = 'beir'", "collection 1: name is missing"),
    ],
)
def test_a_broken_suite_file_is_refused(tmp_path, text, message):
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read(path)
    with pytest.raises(UsageError, match="no suite file"):
        read(tmp_path / "none.toml")


def test_rerankers_can_be_left_out_unless_the_baseline_has_one(suite_file):
    assert [system.name for system in without_rerankers(read(suite_file)).systems] == ["bm25", "rm3"]
    with pytest.raises(UsageError, match="set another one"):
        without_rerankers(read(suite_file, "baseline=bm25 + default"))


def test_the_suites_of_the_repository_can_be_read(monkeypatch):
    monkeypatch.setenv("BIOQA_SHARED_DATA", "/data")
    suites = {path.stem: read_suite(path) for path in (REPOSITORY / "benchmarks" / "suites").glob("*.toml")}
    assert {"bioasq-snippets", "pubmedqa", "scifact", "demo"} <= suites.keys()
    for name, suite in suites.items():
        assert suite.name == name
        assert suite.baseline == "bm25"


def snippet(document, text):
    return {
        "document": f"http://www.ncbi.nlm.nih.gov/pubmed/{document}",
        "text": text,
        "beginSection": "abstract",
        "endSection": "abstract",
        "offsetInBeginSection": 0,
        "offsetInEndSection": len(text),
    }


def bioasq_file(path, questions):
    records = [
        {
            "id": id,
            "body": body,
            "type": "summary",
            "documents": [one["document"] for one in snippets],
            "snippets": snippets,
        }
        for id, body, snippets in questions
    ]
    path.write_text(json.dumps({"questions": records}), encoding="utf-8")
    return str(path)


def test_bioasq_snippets_are_distinct_stripped_texts_and_relevant_to_their_own_question(tmp_path):
    train = bioasq_file(tmp_path / "train.json", [("t1", "Old?", [snippet("1", " A cell. "), snippet("2", "A gene.")])])
    test = bioasq_file(
        tmp_path / "test.json",
        [
            ("q1", "New?", [snippet("3", "A cell."), snippet("4", "A drug."), snippet("5", "A drug. ")]),
            ("q2", "None?", []),
        ],
    )
    spec = CollectionSpec("c", "bioasq-snippets", passages=(train, test), questions=test)
    collection = read_collection(spec)
    assert collection.passages is not None
    texts = {article.id: article.abstract for article in collection.passages()}
    assert list(texts.values()) == ["A cell.", "A gene.", "A drug."]
    assert [question.id for question in collection.questions] == ["q1"]
    assert {texts[id] for id in collection.qrels["q1"]} == {"A cell.", "A drug."}
    with pytest.raises(QuestionError, match=r"question q1 of .* has a snippet that is no passage"):
        read_collection(CollectionSpec("c", "bioasq-snippets", passages=(train,), questions=test))


def test_pubmedqa_asks_titles_of_abstracts_without_titles(tmp_path):
    corpus = write_jsonl(
        tmp_path / "a.jsonl",
        [{"id": "7", "title": "Does it?", "text": "It does."}, {"id": "8", "title": "T", "text": ""}],
    )
    questions = tmp_path / "pubmedqa.json"
    questions.write_text(json.dumps({"7": {"QUESTION": "Does it?"}}), encoding="utf-8")
    collection = read_collection(CollectionSpec("c", "pubmedqa", corpus=(str(corpus),), questions=str(questions)))
    assert collection.passages is not None
    assert [(one.id, one.title, one.abstract) for one in collection.passages()] == [("7", "", "It does.")]
    assert collection.qrels == {"7": {"7": 1}}
    questions.write_text(json.dumps({"7": {"QUESTIONS": "Does it?"}}), encoding="utf-8")
    with pytest.raises(QuestionError, match="7: no text QUESTION"):
        read_collection(CollectionSpec("c", "pubmedqa", corpus=(str(corpus),), questions=str(questions)))


def test_a_beir_folder_asks_the_questions_of_one_split_that_have_a_relevant_passage(tmp_path):
    write_jsonl(tmp_path / "corpus.jsonl", [{"_id": "d1", "title": "", "text": "A cell."}])
    write_jsonl(tmp_path / "queries.jsonl", [{"_id": f"q{n}", "text": "Cell?"} for n in range(4)])
    (tmp_path / "qrels").mkdir()
    qrels = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td1\t0\n"
    (tmp_path / "qrels" / "dev.tsv").write_text(qrels, encoding="utf-8")
    collection = read_collection(CollectionSpec("c", "beir", folder=str(tmp_path), split="dev"))
    assert [question.id for question in collection.questions] == ["q1"]
    (tmp_path / "qrels" / "dev.tsv").write_text("q2\td1\t0\n", encoding="utf-8")
    with pytest.raises(QuestionError, match="no question has a relevant passage"):
        read_collection(CollectionSpec("c", "beir", folder=str(tmp_path), split="dev"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (CollectionSpec("c", "trec"), "no kind 'trec'. There are articles, beir"),
        (CollectionSpec("c", "beir"), "the kind beir needs folder"),
        (CollectionSpec("c", "articles", questions="q.json"), "either a corpus or an index"),
        (CollectionSpec("c", "articles", questions="q.json", corpus=("a",), index="b"), "either a corpus or an index"),
    ],
)
def test_a_collection_without_what_its_kind_needs_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        read_collection(spec)


@pytest.mark.shared_data
def test_the_collections_have_the_sizes_that_their_description_gives(shared_data, monkeypatch):
    monkeypatch.setenv("BIOQA_SHARED_DATA", str(shared_data))
    suites = REPOSITORY / "benchmarks" / "suites"
    snippets = read_collection(read_suite(suites / "bioasq-snippets.toml").collections[0])
    assert snippets.passages is not None
    assert sum(1 for _ in snippets.passages()) == 49_837
    assert len(snippets.questions) == 813
    assert len(read_collection(read_suite(suites / "pubmedqa.toml").collections[0]).questions) == 500
    claims = read_collection(read_suite(suites / "scifact.toml").collections[0])
    assert (len(claims.questions), sum(len(of) for of in claims.qrels.values())) == (300, 339)
