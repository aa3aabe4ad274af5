"""Tests of bioqa.corpus."""
