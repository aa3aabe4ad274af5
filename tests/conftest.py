"""Fixtures for all tests: the real data, the demo index, a small corpus, and the command line run in this process."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import DEMO, REPOSITORY, write_jsonl

os.environ["HF_HUB_OFFLINE"] = "1"
# A background process ignores Ctrl-C, and the processes started by the tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with real data; tests that need it have the marker of the same name."""
    folder = Path(os.environ.get("BIOQA_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"there is no shared data at {folder}: set BIOQA_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def demo_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of the demo collection: baseline and update file."""
    from bioqa import build_index

    path = tmp_path_factory.mktemp("demo") / "index"
    build_index(path, [DEMO / "demo26n0001.xml", DEMO / "demo26n0002.xml"])
    return path


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four short articles as JSONL."""
    return write_jsonl(
        tmp_path / "corpus.jsonl",
        [
            {"id": "1", "title": "Cystic fibrosis", "text": "Cystic fibrosis is caused by variants of the CFTR gene."},
            {"id": "2", "title": "Marfan syndrome", "text": "Marfan syndrome is caused by variants of the FBN1 gene."},
            {"id": "3", "title": "Statins", "text": "Statins inhibit HMG-CoA reductase. They lower cholesterol."},
            {"id": "4", "title": "", "text": "Insulin lowers glucose."},
        ],
    )


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def bioqa(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run a bioqa command in this process and return its exit code, standard output and standard error."""
    from bioqa.cli.main import main

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run
