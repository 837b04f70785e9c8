"""attnc: attention mechanisms written in YAML, compiled to PyTorch modules.

import attnc

module = attnc.compile("additive", d_model=512, heads=8)
y = module(x)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .dsl.diagnostics import SpecError
    from .runtime.api import Spec, compile, library, load, loads
    from .runtime.module import ArgumentMistake, LoweringRefused, Module

_HOMES = {
    "SpecError": ".dsl.diagnostics",
    "Spec": ".runtime.api",
    "compile": ".runtime.api",
    "library": ".runtime.api",
    "load": ".runtime.api",
    "loads": ".runtime.api",
    "ArgumentMistake": ".runtime.module",
    "LoweringRefused": ".runtime.module",
    "Module": ".runtime.module",
}

__all__ = [
    "ArgumentMistake",
    "LoweringRefused",
    "Module",
    "Spec",
    "SpecError",
    "__version__",
    "compile",
    "library",
    "load",
    "loads",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that `attnc check` never imports torch."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'attnc' has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
