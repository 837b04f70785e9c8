"""A case: a spec at small dims, and the same mechanism written from its paper in plain torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

Arrays = Mapping[str, Tensor]
Shape = tuple[int, int, int | None]
Maker = Callable[[Generator, int, int, int | None], Arrays]

SELF: tuple[Shape, ...] = ((2, 8, None), (2, 5, None), (1, 13, None))
CROSS: tuple[Shape, ...] = ((2, 8, None), (1, 7, 11), (2, 12, 5))


def nothing(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """No arrays beside x and context."""
    return {}


@dataclass(frozen=True)
class Case:
    """One form of one spec and its reference.

    spec     name in the library, or the YAML text of a spec when it has several lines
    dims     overrides of dims, static choices and spec-valued parameters
    shapes   (batch, length, context length or None for self-attention)
    run      (weights, inputs) -> result, a dict for several. weights: the state dict, frozen
             random arrays included; inputs: `x` and `context` (float64, width d_model, where
             `streams` is true), what `inputs` and what `inject` made
    inputs   makes the named side inputs and streams of a call
    inject   makes values for random or int bindings, to be injected and to be given to `run`
    streams  whether the call takes x (and context); a model takes token ids instead
    label    tells the forms of one spec apart
    """

    spec: str
    dims: Mapping[str, object]
    run: Callable[[Arrays, Arrays], Tensor | Arrays]
    shapes: tuple[Shape, ...] = SELF
    inputs: Maker = nothing
    inject: Maker = nothing
    streams: bool = True
    label: str = ""

    @property
    def name(self) -> str:
        """Its name in test reports."""
        spec = self.spec
        if "\n" in spec:
            spec = next(line[6:] for line in spec.splitlines() if line.startswith("name: "))
        return f"{spec}-{self.label}" if self.label else spec


def combined(*parts: str) -> str:
    """The text of a spec that extends several others."""
    return f"attnc: 1\nname: {'_'.join(parts)}\nextends: [{', '.join(parts)}]\n"


def normal(generator: Generator, *shape: int) -> Tensor:
    """Float64 standard normal numbers."""
    return torch.randn(shape, generator=generator, dtype=torch.float64)
