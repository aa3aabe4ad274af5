"""Tests of bioqa.evaluate."""
