"""Mutated files: each is read or refused with one of bioqa's errors. ``benchmarks/robustness/mutations.py`` tries far more."""

import random

import pytest

from benchmarks.robustness.mutations import MODEL_FILES, VALUES, mutate, readers, work

INPUTS = 15


@pytest.mark.parametrize("name", [reader.file_name for reader in readers() if reader.file_name not in MODEL_FILES])
def test_mutated_files_are_read_or_refused(name):
    found = work([name], INPUTS, seed=20)
    assert found["faults"] == []
    assert sum(found["outcomes"].values()) == INPUTS


def test_mutations_differ_from_the_seed_and_keep_values_in_place():
    seed = b'{"id": "1", "n": [1, 2.5, null]}'
    rng = random.Random(1)
    changed = [mutate(seed, rng) for _ in range(200)]
    assert sum(one != seed for one in changed) > 150
    assert any(seed.replace(b"2.5", value) in changed for value in VALUES)
