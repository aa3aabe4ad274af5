"""Tests of bioqa.bench."""
