"""Tests of bioqa.train."""
