"""Independent references: each mechanism of the library, written from its paper in plain torch.

They share no code with attnc, run in the dtype of what they are given, and are differentiable.
Every module here that has `CASES` takes part.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .case import Case


def _cases() -> tuple[Case, ...]:
    names = [item.name for item in iter_modules(__path__) if not item.name.startswith("test_")]
    modules = [import_module(f"{__name__}.{name}") for name in sorted(names)]
    return tuple(case for module in modules for case in getattr(module, "CASES", ()))


CASES = _cases()

__all__ = ["CASES", "Case"]
