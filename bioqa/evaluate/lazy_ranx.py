"""ranx's measures without the rest of ranx.

Importing ranx loads pandas, matplotlib.pyplot, scipy.stats and ir_datasets, which takes longer than evaluating a run; its measures
only need numba. So the package is registered without running its ``__init__``, which runs when one of its own names is first used:
``import ranx`` elsewhere in the process works as usual.
"""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

from bioqa.errors import SetupError


def ranx_metrics() -> ModuleType:
    """The module ``ranx.metrics``.

    Raises:
        SetupError: ranx is not installed.
    """
    if "ranx" not in sys.modules:
        spec = find_spec("ranx")
        if spec is None:
            raise SetupError("Ranking measures need the package ranx. Install it: pip install ranx.")
        sys.modules["ranx"] = _deferred(spec)
    return import_module("ranx.metrics")


class _Package(ModuleType):
    """A package whose ``__init__`` runs when one of its names is first used."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what the import system and inspections look for
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        spec = self.__spec__
        assert spec is not None and spec.loader is not None
        object.__setattr__(self, "__class__", ModuleType)
        spec.loader.exec_module(self)
        return getattr(self, name)


def _deferred(spec: ModuleSpec) -> ModuleType:
    from numba import config

    config.THREADING_LAYER = "workqueue"  # type: ignore[attr-defined]  # as ranx sets it
    package = module_from_spec(spec)
    package.__class__ = _Package
    return package
