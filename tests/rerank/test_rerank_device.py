"""Devices: those that are missing are reported."""

import pytest
import torch

from bioqa.errors import SetupError
from bioqa.rerank import device
from bioqa.rerank.device import resolve_device, resolve_devices


@pytest.fixture
def machine(monkeypatch):
    """Simulate a machine with GPUs."""

    def have(gpus=0, mps=False):
        monkeypatch.setattr(device, "may_have_gpu", lambda: bool(gpus) or mps)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return have


@pytest.mark.parametrize(
    ("gpus", "mps", "asked", "got"),
    [
        (0, False, "auto", "cpu"),
        (0, False, "cpu", "cpu"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, " CUDA:1 ", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "auto", "mps"),
        (0, True, "mps", "mps"),
    ],
)
def test_available_devices(gpus, mps, asked, got, machine):
    machine(gpus, mps)
    assert resolve_device(asked) == got


@pytest.mark.parametrize(
    ("gpus", "asked", "said"),
    [
        (0, "cuda", "'cuda' is not available: PyTorch sees no CUDA GPU"),
        (0, "cuda:0", "sees no CUDA GPU"),
        (2, "cuda:2", "this machine has cuda:0, cuda:1"),
        (0, "mps", "'mps' is not available"),
        (1, "tpu", "Unknown device 'tpu': choose auto, cpu"),
        (1, "cuda:x", "Unknown device"),
        (1, "cuda:-1", "Unknown device"),
        (1, "", "Unknown device"),
    ],
)
def test_unavailable_devices(gpus, asked, said, machine):
    machine(gpus)
    with pytest.raises(SetupError, match=said):
        resolve_device(asked)


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("cuda:0,cuda:1", ("cuda:0", "cuda:1")),
        ("cuda:1, CUDA", ("cuda:1", "cuda:0")),
        ("auto", ("cuda:0",)),
        ("cpu", ("cpu",)),
    ],
)
def test_several_gpus(asked, got, machine):
    machine(gpus=2)
    assert resolve_devices(asked) == got


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("cuda:0,cuda:2", "this machine has cuda:0, cuda:1"),
        ("cuda:0,cuda:0", "must be different GPUs"),
        ("cuda,cuda:0", "must be different GPUs"),
        ("cuda:0,cpu", "must be different GPUs"),
        ("cpu,cpu", "must be different GPUs"),
        ("cuda:0,", "Unknown device ''"),
    ],
)
def test_invalid_combinations_of_devices(asked, said, machine):
    machine(gpus=2)
    with pytest.raises(SetupError, match=said):
        resolve_devices(asked)
