"""What a spec claims to cost, as numbers: its `cost` at a length."""

from __future__ import annotations

from . import sizes, syntax
from .elaborate import statics
from .elaborate.values import Word
from .typed import TypedSpec

LENGTHS = ("n", "m")


def growth(spec: TypedSpec, part: str, queries: int, keys: int) -> float | None:
    """The claimed `time` or `memory` at n queries and m keys, up to a factor; None: no claim."""
    claim = spec.cost.get(part)
    if claim is None:
        return None

    def name(found: syntax.Name) -> statics.Static:
        if found.name in LENGTHS:
            return float(queries if found.name == "n" else keys)
        value = spec.dims.get(found.name)
        if isinstance(value, str) or value is None:
            return Word(value or found.name)
        return sizes.constant(value) if type(value) is int else value

    return statics.number(statics.evaluate(claim, name), claim.span)
