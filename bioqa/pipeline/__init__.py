"""Retrieve, rerank, combine, highlight."""
