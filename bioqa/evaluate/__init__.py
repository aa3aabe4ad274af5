"""Runs, relevance judgements, and the measures taken of them."""
