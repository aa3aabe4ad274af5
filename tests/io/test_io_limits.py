"""JSON and TOML of 5,000 digits or 100,000 levels, impossible names and decompression without end are refused in a sentence."""

import gzip
import json
from pathlib import Path

import pytest

from bioqa.bench.collection import read_collection
from bioqa.bench.compare import compare_results
from bioqa.bench.suite import CollectionSpec, read_suite
from bioqa.bioasq.phase_a_file import read_phase_a
from bioqa.bioasq.validate import validate
from bioqa.corpus.questions import read_questions
from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import BioqaError, SourceError, UsageError
from bioqa.evaluate.classification_report import model_threshold
from bioqa.evaluate.scored_pairs import read_scored
from bioqa.io.bad_records import MalformedError
from bioqa.io.checkpoint import Checkpoint
from bioqa.io.json_text import MAX_DEPTH, parse_json
from bioqa.io.text_files import read_whole
from bioqa.io.typed_toml import MAX_KEY_PARTS, parse_toml
from bioqa.pairs.question_groups import read_groups
from bioqa.train.recipe import read_recipe

NUMBERS = ("9" * 5000, "-" + "9" * 5000, "9" * 400)
NESTED = ("[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, '{"a":' * 150 + "1" + "}" * 150)


def _articles(path: Path) -> list[object]:
    return [article for source in expand_sources([path]) for article in read_source(source)]


JSON_READERS = {
    "questions.json": ('{{"questions": [{{"id": "1", "body": "What?", "more": {0}}}]}}', read_questions),
    "submission.json": ('{{"questions": [{{"id": "1", "documents": [], "snippets": [], "more": {0}}}]}}', read_phase_a),
    "validated.json": ('{{"questions": [{{"id": {0}}}]}}', validate),
    "queries.jsonl": ('{{"_id": "1", "text": "What?", "more": {0}}}\n', read_questions),
    "corpus.jsonl": ('{{"id": "1", "text": "That.", "more": {0}}}\n', _articles),
    "pairs.jsonl": (
        '{{"query": "What?", "pos": ["That."], "neg": [], "more": {0}}}\n',
        lambda path: read_groups([path]),
    ),
    "pubmedqa.json": (
        '{{"1": {{"QUESTION": "What?", "CONTEXTS": ["That."], "more": {0}}}}}',
        lambda path: read_groups([path]),
    ),
    "collection.json": (
        '{{"1": {{"QUESTION": "What?", "more": {0}}}}}',
        lambda path: read_collection(CollectionSpec("one", "pubmedqa", corpus=(str(path),), questions=str(path))),
    ),
    "scored.jsonl": ('{{"label": 1, "score": 0.5, "more": {0}}}\n', read_scored),
    "report.json": ('{{"format": 1, "collections": [], "more": {0}}}', lambda path: compare_results(path, path)),
    "bioqa.json": ('{{"threshold": 0.5, "more": {0}}}', lambda path: model_threshold(path.parent)),
}


@pytest.mark.parametrize("value", NUMBERS + NESTED, ids=lambda value: f"{value[:5]}x{len(value)}")
@pytest.mark.parametrize("name", JSON_READERS)
def test_every_reader_of_json_refuses_what_is_out_of_bounds(tmp_path, name, value):
    written, read = JSON_READERS[name]
    path = tmp_path / name
    path.write_text(written.format(value), encoding="utf-8")
    what = r"digits, more than the 300 allowed" if value in NUMBERS else r"nested more than 100 levels deep"
    with pytest.raises(BioqaError, match=what) as problem:
        read(path)
    assert str(path) in str(problem.value)
    assert len(str(problem.value)) < 500


@pytest.mark.parametrize("value", NUMBERS + NESTED, ids=lambda value: f"{value[:5]}x{len(value)}")
def test_a_checkpoint_ends_before_a_record_out_of_bounds(tmp_path, value):
    path = tmp_path / "work.jsonl"
    path.write_text(f'{{"settings": 1}}\n{{"n": 1}}\n{{"n": {value}}}\n{{"n": 3}}\n')
    with Checkpoint(path) as checkpoint:
        assert list(checkpoint) == [{"n": 1}]
        checkpoint.append({"n": 2})
    assert list(Checkpoint(path)) == [{"n": 1}, {"n": 2}]


def test_json_within_the_bounds_is_read():
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json.dumps(parse_json(deepest)) == deepest
    assert parse_json('["' + "9" * 5000 + '", ' + "9" * 300 + ", " + "1." + "9" * 5000 + "]")[1] == 10**300 - 1
    assert parse_json(json.dumps(deepest)) == deepest
    with pytest.raises(MalformedError):
        parse_json(f"[{deepest}]")


TOML = {
    "9" * 5000: "more than 64 bits",
    "0x" + "f" * 5000: "more than 64 bits",
    "[[1, 99999999999999999999]]": "more than 64 bits",
    "[" * 100_000: "nested more than 32 levels deep",
    "[" * 50 + "]" * 50: "nested more than 32 levels deep",
    "{a = " * 40_000: "nested more than 32 levels deep",
    "{" + "a." * 100_000 + "b = 1}": "a key has more than 16 parts",
    "1\n" + "a." * 100_000 + "b = 1": "a key has more than 16 parts",
    "1\n[" + "a . " * 50_000 + "b]": "a key has more than 16 parts",
    "1\n" + '"." . ' * 40_000 + "b = 1": "a key has more than 16 parts",
    "'" + "x" * 300_000 + "'": "is larger than 262,144 bytes",
    "1979-02-30": "not TOML|day",
}


@pytest.mark.parametrize("value", TOML, ids=lambda value: f"{value[:9]!r}x{len(value)}")
@pytest.mark.parametrize("read", [read_recipe, read_suite])
def test_every_reader_of_toml_refuses_what_is_out_of_bounds(tmp_path, read, value):
    path = tmp_path / "file.toml"
    path.write_text(f"name = {value}\n", encoding="utf-8")
    with pytest.raises(UsageError, match=TOML[value]) as problem:
        read(path)
    assert len(str(problem.value)) < 500


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("name=" + "9" * 5000, "more than 64 bits"),
        ("name=" + "[" * 50_000, "nested more than 32 levels deep"),
        ("name={" + "a." * 50_000 + "b=1}", "a key has more than 16 parts"),
        ("a." * 50_000 + "b=1", "the key has more than 16 parts"),
    ],
)
def test_so_do_overrides(tmp_path, override, message):
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\nbase = "base"\n[data]\ntrain = "train.parquet"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=message):
        read_recipe(path, [override])


def test_dots_in_texts_and_comments_are_no_parts_of_a_key():
    dots = "a." * 1000
    text = f"""
x = "{dots} \\" {dots}" # {dots} it's
y = '{dots}'
z = [{", ".join(["1.5"] * 500)}, "{dots}"]
v = \"\"\"{dots} "{dots}" \\\"\"\" {dots}
{dots}\"\"\"
w = '''{dots} ' {dots}
{dots}'''
{".".join("a" * MAX_KEY_PARTS)} = 9223372036854775807
"""
    assert parse_toml(text)["y"] == dots


def test_gzip_that_expands_without_end_is_refused(tmp_path):
    path = tmp_path / "zeros.json.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)))
    with pytest.raises(SourceError, match=r"zeros.json.gz has more than 100,000 bytes of text"):
        read_whole(path, 100_000)
    assert len(read_whole(path, 1 << 20)) == 1 << 20


@pytest.mark.parametrize("name", ["a" * 300, "a\0b"])
@pytest.mark.parametrize("ending", ["", ".json", ".jsonl", ".toml"])
def test_a_name_that_no_file_can_have_is_not_found(tmp_path, name, ending):
    path = tmp_path / f"{name}{ending}"
    readers = [read_questions, validate, _articles, read_scored, read_recipe, read_suite]
    for read in [*readers, lambda path: read_groups([path]), lambda path: compare_results(path, path)]:
        with pytest.raises(BioqaError):
            read(path)
