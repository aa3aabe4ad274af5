"""Tests of bioqa.fetch."""
