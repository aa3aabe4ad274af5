"""Tests of bioqa.search."""
