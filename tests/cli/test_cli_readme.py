"""The README matches the code."""

import json
import re

import pytest

from benchmarks import readme
from bioqa.cli.main import COMMANDS
from bioqa.errors import BioqaError


@pytest.mark.parametrize("page", [readme.README, readme.CARD])
def test_generated_sections_are_up_to_date(page):
    text = page.read_text(encoding="utf-8")
    assert readme.regenerate(text) == text, "run `make fix` to regenerate the sections"


def test_every_command_is_shown_in_use(bioqa):
    text = readme.README.read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f"bioqa {name}" in text


def test_every_exit_code_is_listed():
    text = readme.README.read_text(encoding="utf-8")
    codes = {error.exit_code for error in BioqaError.__subclasses__()}
    assert codes <= {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}


def test_the_python_example_runs(demo_index, tmp_path, monkeypatch, capsys):
    example = re.search(r"```python\n(.*?)```", readme.README.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    (tmp_path / "indexes").mkdir()
    (tmp_path / "indexes" / "demo").symlink_to(demo_index)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(example.group(1), names)
    printed = capsys.readouterr().out
    assert "SCN1A" in printed
    assert [line[:2] for line in printed.splitlines() if line[:1].isdigit()] == ["1 ", "2 ", "3 "]
    assert names["scores"][0] > names["scores"][1]


def test_the_example_search_finds_what_the_readme_shows(bioqa, demo_index):
    text = readme.README.read_text(encoding="utf-8")
    shown = re.search(r'\$ bioqa search indexes/demo "(.*?)" --top 2\n(.*?)```', text, re.DOTALL)
    assert shown
    question, expected = shown.groups()

    def plain(text):  # line breaks and probabilities may differ
        return " ".join(re.sub(r"probability [\d.]+", "", text).split())

    done = bioqa("search", demo_index, question, "--top", 2)
    assert plain(done.out) == plain(f"{question} {expected}")
    answer, treatment = re.findall(r"pubmed.ncbi.nlm.nih.gov/(\d+)/", expected)
    hits = json.loads(bioqa("search", demo_index, question, "--top", 3, "--no-rerank", "--json").out)["hits"]
    assert [hits[0]["id"], hits[2]["id"]] == [treatment, answer]
    assert "Lynch syndrome" in hits[1]["title"]
