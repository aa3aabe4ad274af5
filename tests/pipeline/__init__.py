"""Tests of bioqa.pipeline."""
