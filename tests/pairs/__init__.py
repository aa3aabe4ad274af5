"""Tests of bioqa.pairs."""
