"""Importing and using the reranker loads no library that it does not need."""

import subprocess
import sys


def run(code):
    """Run code in a process of its own and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()[-1]


def loaded(*modules):
    return f"import sys; print([m for m in {modules!r} if m in sys.modules])"


def test_importing_the_reranker_loads_no_large_library():
    large = loaded("torch", "transformers", "tokenizers", "sentencex", "huggingface_hub", "safetensors", "onnxruntime")
    assert run(f"import bioqa.rerank.reranker; {large}") == "[]"


def test_best_sentences_without_a_reranker_load_no_torch():
    large = loaded("torch", "transformers", "numpy")
    assert run(f"from bioqa.pipeline.highlight import best_sentences; {large}") == "[]"


def test_a_bert_reranker_scores_without_transformers_and_prints_nothing(tiny_reranker):
    code = f"from bioqa.rerank.reranker import Reranker; Reranker({str(tiny_reranker)!r}).score('a', ['b'])"
    large = loaded("transformers", "sentence_transformers", "sklearn", "scipy", "pandas", "torchvision", "sympy")
    assert run(f"{code}; {large}") == "[]"
