"""Tests of bioqa.rerank."""
