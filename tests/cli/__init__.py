"""Tests of bioqa.cli."""
