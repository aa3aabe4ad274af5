"""Builders for small PubMed files, and a reader that takes a path; imported by the tests beside it."""

import gzip
from collections.abc import Callable
from pathlib import Path

from bioqa.corpus.read_source import read_source
from bioqa.corpus.sources import expand_sources
from bioqa.errors import RecordError
from bioqa.types import Article, Deletion

DOCTYPE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2019//EN"
 "http://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_190101.dtd">
"""


def citation(
    article: str = "<ArticleTitle>A title.</ArticleTitle>",
    *,
    pmid: str = "<PMID>1</PMID>",
    more: str = "",
    data: str = "",
) -> str:
    """A PubmedArticle around the content of its Article element."""
    inner = f"<MedlineCitation>{pmid}<Article>{article}</Article>{more}</MedlineCitation>"
    return f"<PubmedArticle>{inner}<PubmedData>{data}</PubmedData></PubmedArticle>"


def pubmed_set(*records: str, doctype: str = DOCTYPE) -> str:
    return f"{doctype}<PubmedArticleSet>\n{''.join(records)}</PubmedArticleSet>\n"


def write(path: Path, content: str | bytes) -> Path:
    """Write text as UTF-8 or bytes as they are; gzipped where the name ends in .gz."""
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw, 1, mtime=0) if path.suffix == ".gz" else raw)
    return path


def read(path: Path, on_bad: Callable[[RecordError], None] | None = None) -> list[Article | Deletion]:
    return [record for source in expand_sources([path]) for record in read_source(source, on_bad=on_bad)]
