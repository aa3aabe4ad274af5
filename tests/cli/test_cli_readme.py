"""The README says what the code does."""

import re

import pytest

import readme
from bioqa.cli import COMMANDS
from bioqa.errors import BioqaError


@pytest.mark.parametrize("page", [readme.README, readme.CARD])
def test_help_and_figures_are_as_the_code_and_the_results_have_them(page):
    text = page.read_text(encoding="utf-8")
    assert readme.fresh(text) == text, "run `make fix` to write it anew"


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
