"""Limiting cases: pairs of specs that compute the same at certain sizes or weights.

Every module here that has `LIMITS` takes part.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from .limit import Limit


def _limits() -> tuple[Limit, ...]:
    modules = [import_module(f"{__name__}.{item.name}") for item in iter_modules(__path__)]
    return tuple(limit for module in modules for limit in getattr(module, "LIMITS", ()))


LIMITS = _limits()

__all__ = ["LIMITS", "Limit"]
