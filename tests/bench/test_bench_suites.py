"""Suite files: their content, overrides, and errors; and the test collections that they name."""

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
rerank-depth = 20
"""


@pytest.fixture
def suite_file(tmp_path: Path) -> Path:
    path = tmp_path / "suite.toml"
    path.write_text(SUITE, encoding="utf-8")
    return path


def read(path, *overrides):
    return read_suite(path, overrides, {"FOLDER": "/data"})


def test_the_systems_of_a_suite_are_first_stages_alone_and_with_each_reranker(suite_file):
    suite = read(suite_file)
    assert [system.name for system in suite.systems] == ["bm25", "bm25 + default", "rm3", "rm3 + default"]
    assert suite.baseline == "bm25"
    assert suite.first_stages[1].rm3 and not suite.first_stages[0].rm3


def test_variables_and_paths_are_resolved_and_also_kept_as_written(suite_file):
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
        (
            ["reranker.depth=5"],
            "--set reranker.depth=5: unknown key reranker.default.depth; the closest known key is "
            "reranker.default.rerank-depth.",
        ),
        (["first-stage.title_weight=1"], "the closest known key is first-stage.bm25.title-weight."),
        (["speed=5"], "unknown key speed. Known keys: name, description, measures, "),
        (["written={}"], "unknown key written"),
        (["collections=[]"], "unknown key collections; the closest known key is collection."),
        (["reranker.other.rerank-depth=5"], "there is no reranker 'other'. There are default."),
        (["reranker"], "--set reranker: write it as key=value, such as --set reranker.rerank-depth=50"),
        (["reranker.rerank-depth=deep"], "reranker.default.rerank-depth must be a whole number, not 'deep'"),
        (["reranker.max-length=2.5"], "reranker.default.max-length must be a whole number, not 2.5"),
        (["first-stage.bm25.rm3=1"], "first-stage.bm25.rm3 must be true or false, not 1"),
        (["reranker.rerank-depth=60"], "default scores 60 candidates, but first stage bm25 retrieves only 50"),
        (["reranker.rerank-depth=0"], "reranker.default.rerank-depth must be 1 or more, not 0"),
        (["first-stage.rm3.depth=0"], "first-stage.rm3.depth must be 1 or more, not 0"),
        (["negatives=0"], "negatives must be 1 or more, not 0"),
        (["reranker.first-stage-weight=-1"], "first-stage-weight must be 0 or more"),
        (["reranker.first-stage-weight=inf"], "first-stage-weight must be a finite number, not inf"),
        (["baseline=tf-idf"], "baseline 'tf-idf' is not a system. There are bm25, bm25 . default"),
        (
            ["correction=holms"],
            "correction must be one of 'holm', 'bonferroni', 'none', not 'holms'. Did you mean 'holm'?",
        ),
        (["measures=[]"], "measures is empty"),
        (["measures=3"], "measures must be a list of texts, not 3"),
        (["first-stage.rm3.name=bm25"], "duplicate first-stage name 'bm25'"),
        (["first-stage.rm3.name=a/b"], "may contain only letters"),
        (["collection.one.name=.."], "must not start with a dot"),
        (["collection.one.name=."], "must not start with a dot"),
        (["collection.one.name=../../x"], "may contain only letters"),
        (["collection.one.name=/tmp/x"], "may contain only letters"),
        (["collection.one.name='a\\b'"], "may contain only letters"),
        (['collection.one.name="a\\u0000"'], "may contain only letters"),
        (["collection.one.name="], "may contain only letters"),
        ([f"collection.one.name={'a' * 300}"], "is too long"),
        ([f"reranker.default.name={'é' * 60}"], "is too long"),
        (["reranker.default.name=.."], "must not start with a dot"),
        (["first-stage.rm3.name=bm25+default"], "two systems would write the file bm25\\+default.run"),
        (["collection.one.split=../../x"], "split '../../x' of collection one is not the name of one"),
        (['collection.one.questions="a\\u0000"'], "questions of collection one has a null character"),
        (["collection.corpus=$NOWHERE/x"], "uses \\$\\{NOWHERE\\}, which is not set"),
        (["collection.corpus=$"], "Write \\$\\$"),
    ],
)
def test_invalid_settings_are_named(suite_file, overrides, message):
    with pytest.raises(UsageError, match=message):
        read(suite_file, *overrides)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "is not TOML"),
        ('name = "x"', "has no \\[\\[collection\\]\\]"),
        ('name = "x"\ncollection = 3', "write each collection as \\[\\[collection\\]\\]"),
        ("name = 'x'\n[[collection]]\nkind = 'beir'", "collection.1.name is missing"),
        ("name = 'x'\ncollection = [3]", "write each collection as \\[\\[collection\\]\\]"),
        ("[[collection]]\nname = 'y'", "name is missing"),
    ],
)
def test_a_broken_suite_file_is_refused(tmp_path, text, message):
    path = tmp_path / "suite.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read(path)
    with pytest.raises(UsageError, match="no suite file"):
        read(tmp_path / "none.toml")


def test_rerankers_can_be_dropped_unless_the_baseline_has_one(suite_file):
    assert [system.name for system in without_rerankers(read(suite_file)).systems] == ["bm25", "rm3"]
    with pytest.raises(UsageError, match="set another baseline"):
        without_rerankers(read(suite_file, "baseline=bm25 + default"))


def test_the_suites_in_the_repository_are_valid(monkeypatch):
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
    with pytest.raises(QuestionError, match=r"question q1 of .* has a snippet that is not a passage"):
        read_collection(CollectionSpec("c", "bioasq-snippets", passages=(train,), questions=test))


def test_pubmedqa_passages_are_abstracts_without_titles(tmp_path):
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
    with pytest.raises(QuestionError, match="7: QUESTION is missing"):
        read_collection(CollectionSpec("c", "pubmedqa", corpus=(str(corpus),), questions=str(questions)))


def test_a_beir_collection_has_the_questions_of_a_split_with_a_relevant_passage(tmp_path):
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
        (CollectionSpec("c", "trec"), "unknown kind 'trec'. Kinds: articles, beir"),
        (CollectionSpec("c", "beir"), "kind beir needs folder"),
        (CollectionSpec("c", "articles", questions="q.json"), "needs a corpus or an index, not both"),
        (
            CollectionSpec("c", "articles", questions="q.json", corpus=("a",), index="b"),
            "needs a corpus or an index, not both",
        ),
    ],
)
def test_a_collection_that_lacks_a_key_of_its_kind_is_refused(spec, message):
    with pytest.raises(UsageError, match=message):
        read_collection(spec)


@pytest.mark.shared_data
def test_the_collections_have_their_documented_sizes(shared_data, monkeypatch):
    monkeypatch.setenv("BIOQA_SHARED_DATA", str(shared_data))
    suites = REPOSITORY / "benchmarks" / "suites"
    snippets = read_collection(read_suite(suites / "bioasq-snippets.toml").collections[0])
    assert snippets.passages is not None
    assert sum(1 for _ in snippets.passages()) == 49_837
    assert len(snippets.questions) == 813
    assert len(read_collection(read_suite(suites / "pubmedqa.toml").collections[0]).questions) == 500
    claims = read_collection(read_suite(suites / "scifact.toml").collections[0])
    assert (len(claims.questions), sum(len(of) for of in claims.qrels.values())) == (300, 339)
