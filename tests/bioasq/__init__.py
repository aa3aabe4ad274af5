"""Tests of bioqa.bioasq."""
