"""Fixtures of the corpus tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bioqa.types import Article
from tests.corpus.corpus_files import pubmed_set, read, write


@pytest.fixture
def read_one(tmp_path: Path) -> Callable[[str], Article]:
    """Read the one article of a PubmedArticleSet made of the given record."""

    def read_record(record: str) -> Article:
        (article,) = read(write(tmp_path / "one.xml", pubmed_set(record)))
        assert isinstance(article, Article)
        return article

    return read_record
