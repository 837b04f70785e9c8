"""A limit: at certain sizes or weights one spec computes what another one does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from references.case import SELF, Arrays, Maker, Shape, nothing
from torch import Tensor


def same_names(weights: Arrays) -> Arrays:
    """The weights of the other spec have the same names."""
    return weights


@dataclass(frozen=True)
class Limit:
    """`spec` at `dims` and with some weights set computes what `equals` at `equal_dims` does.

    why      the limiting case in words; part of the name of the test
    put      weights of `spec` that are set, by name: a number, or a function of what was drawn
    weights  the weights of `spec` -> those of `equals`, by name; what is left over is ignored
    shapes   (batch, length, context length or None for self-attention)
    inputs   makes the named side inputs of both calls, `inject` what is injected into `spec`
    other    makes side inputs for `equals`, where they differ
    tolerance  absolute, in float64; larger where the limit is approached and not reached
    """

    spec: str
    dims: Mapping[str, object]
    equals: str
    equal_dims: Mapping[str, object]
    why: str
    put: Mapping[str, float | Tensor | Callable[..., object]] = field(default_factory=dict)
    weights: Callable[[Arrays], Arrays] = same_names
    shapes: tuple[Shape, ...] = SELF
    inputs: Maker = nothing
    inject: Maker = nothing
    other: Maker | None = None
    tolerance: float = 1e-9

    @property
    def name(self) -> str:
        """Its name in test reports."""
        return f"{self.spec}-{self.why}".replace(" ", "_")
