"""What importing bioqa and asking for help must not load, and what the package exports."""

import subprocess
import sys

import pytest

import bioqa
from tests.support import DEMO, REPOSITORY

ROOMS = [
    "io",
    "corpus",
    "fetch",
    "index",
    "retrieve",
    "rerank",
    "pipeline",
    "bioasq",
    "pairs",
    "evaluate",
    "train",
    "bench",
    "serve",
    "cli",
]
HEAVY = (
    "numpy",
    "scipy",
    "torch",
    "transformers",
    "sentence_transformers",
    "jnius",
    "pyserini",
    "ranx",
    "numba",
    "datasets",
    "pyarrow",
    "lxml",
    "fastapi",
    "mcp",
    "prometheus_client",
    "uvicorn",
)


@pytest.mark.parametrize(
    "code",
    [
        "import bioqa",
        "from bioqa.cli.main import main; main(['--help'])",
        "from bioqa.cli.main import main; main(['search', '--help'])",
        "from bioqa.cli.main import main; main(['index', 'build', '--help'])",
        "from bioqa.cli.main import main; main(['bioasq', 'submit', '--help'])",
        "from bioqa.cli.main import main; main(['serve', '--help'])",
        "from bioqa.cli.main import main; main(['mcp', '--help'])",
        "from bioqa.cli.main import main; main(['serach'])",
        "import " + ", ".join(f"bioqa.{room}" for room in ROOMS),
        "import bioqa.pipeline.pipeline, bioqa.retrieve.bm25, bioqa.retrieve.memory, bioqa.index.reader",
        "from bioqa import BM25Retriever, Index, MemoryRetriever, Pipeline, PipelineOptions, SearchOptions",
    ],
)
def test_import_and_help_load_nothing_heavy(code):
    program = f"{code}\nimport sys\nprint('LOADED', [m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_bm25_search_loads_nothing_that_it_does_not_use(demo_index):
    unused = ("numpy", "torch", "transformers", "ranx", "numba", "multiprocessing", "bioqa.index.build", "bioqa.rerank")
    program = (
        f"from bioqa.cli.main import main; main(['search', {str(demo_index)!r}, 'Marfan syndrome', '--no-rerank'])\n"
        f"import sys; print('LOADED', [m for m in {unused!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_every_exported_name_is_there():
    assert sorted(bioqa.__all__) == bioqa.__all__ == dir(bioqa)
    for name in bioqa.__all__:
        assert getattr(bioqa, name) is not None
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = bioqa.nothing_here


def test_the_demo_collection_is_as_its_readme_says():
    from bioqa.corpus.read_source import read_source
    from bioqa.corpus.sources import expand_sources
    from bioqa.types import Article

    baseline = list(read_source(expand_sources([DEMO / "demo26n0001.xml"])[0]))
    update = list(read_source(expand_sources([DEMO / "demo26n0002.xml"])[0]))
    assert len(baseline) == 324
    assert sum(isinstance(record, Article) for record in update) == 27
    assert len(update) == 39
    assert all(article.journal.startswith("Demo ") for article in baseline)
    assert all(int(record.id) >= 99000001 for record in baseline + update)


def test_the_gold_snippets_of_the_demo_are_where_their_offsets_say(demo_index):
    questions = bioqa.read_questions(DEMO / "questions.json")
    assert len(questions) == 47
    with bioqa.Index(demo_index) as index:
        for question in questions:
            assert question.documents
            for snippet in question.snippets:
                article = index.get(snippet.document)
                assert article is not None, (question.id, snippet.document)
                text = article.title if snippet.section == "title" else article.abstract
                assert text[snippet.begin : snippet.end] == snippet.text, question.id
