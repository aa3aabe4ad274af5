"""What importing and using bioqa.rerank loads."""

import subprocess
import sys

import pytest

import bioqa.rerank


def run(code):
    """The last line that a program of its own prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def loaded(*modules):
    return f"import sys; print([m for m in {modules!r} if m in sys.modules])"


def test_importing_the_package_loads_nothing_heavy():
    heavy = loaded("torch", "transformers", "tokenizers", "numpy", "sentencex", "huggingface_hub", "safetensors")
    assert run(f"import bioqa.rerank; {heavy}") == "[]"


def test_sentences_need_no_torch():
    assert run(f"from bioqa.rerank import best_sentences; {loaded('torch', 'transformers', 'numpy')}") == "[]"


def test_a_bert_reranker_scores_without_transformers_and_prints_nothing(tiny_reranker):
    code = f"from bioqa.rerank import Reranker; Reranker({str(tiny_reranker)!r}).score('a', ['b'])"
    heavy = loaded("transformers", "sentence_transformers", "sklearn", "scipy", "pandas", "torchvision", "sympy")
    assert run(f"{code}; {heavy}") == "[]"


def test_the_public_names():
    for name in bioqa.rerank.__all__:
        assert getattr(bioqa.rerank, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = bioqa.rerank.nothing
