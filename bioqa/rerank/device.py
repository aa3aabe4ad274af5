"""Which device a model runs on."""

import re
from pathlib import Path

from bioqa.errors import SetupError

CHOICES = "auto, cpu, cuda, cuda:N, mps, or several GPUs as cuda:0,cuda:1"


def resolve_devices(names: str) -> tuple[str, ...]:
    """The torch devices for the value of ``--device``: one name, or a comma-separated list of GPUs.

    Raises SetupError as ``resolve_device`` does, and for several devices that are not all different GPUs.
    """
    devices = tuple(resolve_device(name) for name in names.split(","))
    if len(devices) > 1 and (len(set(devices)) < len(devices) or not all(one.startswith("cuda") for one in devices)):
        raise SetupError(f"Several devices must be different GPUs, such as cuda:0,cuda:1, not {names!r}.")
    return devices


def resolve_device(name: str) -> str:
    """The torch device for one name of ``--device``: "cpu", "cuda:N" or "mps".

    "auto" is the first GPU if there is one, else the CPU. Raises SetupError for an unknown name, and for a device that this
    machine or this build of PyTorch does not have.
    """
    requested = name.strip().lower()
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,4})?", requested):
        raise SetupError(f"Unknown device {name!r}: choose {CHOICES}.")
    if requested == "cpu" or (requested == "auto" and not may_have_gpu()):
        return "cpu"
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if requested == "auto":
        return "cuda:0" if gpus else "mps" if has_mps else "cpu"
    if requested == "mps":
        if not has_mps:
            raise SetupError(
                "Device 'mps' is not available: it needs an Apple GPU and a build of PyTorch that supports it; use 'cpu'."
            )
        return requested
    return _cuda(requested, gpus)


def may_have_gpu() -> bool:
    """Whether this machine has a driver for a GPU that torch might use; cheap, where importing torch takes a second."""
    import ctypes
    import platform

    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    try:
        ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()  # AMD's
    return True


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next tensors; does nothing where Python does not run on glibc.

    By default glibc returns blocks of several megabytes to the system at once, and every layer then pays for fresh pages: a
    tenth of the time of scoring on a CPU. The numbers are M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h.
    """
    import ctypes
    import platform

    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for parameter, value in ((-1, 1 << 28), (-3, 1 << 25)):  # 32 MiB is the maximum of the second one
            libc.mallopt(parameter, value)


def _cuda(requested: str, gpus: int) -> str:
    """``requested`` as "cuda:N" if there are more than N GPUs."""
    if not gpus:
        raise SetupError(f"Device {requested!r} is not available: PyTorch sees no CUDA GPU here; use 'auto' or 'cpu'.")
    number = int(requested.partition(":")[2] or 0)
    if number >= gpus:
        known = ", ".join(f"cuda:{i}" for i in range(gpus))
        raise SetupError(f"Device {requested!r} is not available: this machine has {known}.")
    return f"cuda:{number}"
