"""Runs and, later, the measures taken of them."""
