"""Tests of bioqa.io."""
