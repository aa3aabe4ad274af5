"""Tests of bioqa.index."""
