"""How the arguments of a kernel lie in memory, and what it needs to be called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..matching.fused import Domain
from .kernel import Sources

#: what a gradient is for
Learner = Literal["weights", "tokens", "inputs", ""]


@dataclass(frozen=True)
class Argument:
    """An array as it is given.

    domain   the tokens that it depends on
    axes     the places of batch, head, query and key among its dims, -1 for what it lacks
    along    the place of the axis that a table is read along, -1 where it is a feature dim
    width    numbers of a token, 0 for one without a dim
    real     whether it has a gradient
    learns   what wants its gradient: weights in it, else tokens in it, else inputs, or nothing
    """

    domain: Domain
    axes: tuple[int, ...]
    along: int
    width: int
    real: bool
    learns: Learner

    @cached_property
    def places(self) -> tuple[int, ...]:
        """The places of batch, head, query and key, once the numbers of a token stand last."""
        return tuple(place - (0 <= self.along < place) for place in self.axes)

    @cached_property
    def dims(self) -> int:
        """How many dims these are."""
        return sum(place >= 0 for place in self.places)


@dataclass(frozen=True)
class Kernel:
    """The kernels of one attend.

    arguments   of the kernel, the values first
    result      the places of batch, head and query among the dims of the result, -1 where it has none
    dims        the feature dims of the result
    softmax     whether lse is made
    kept        how many numbers of each row are kept for the backward
    """

    name: str
    sources: Sources
    arguments: tuple[Argument, ...]
    result: tuple[int, ...]
    dims: tuple[int, ...]
    softmax: bool
    kept: int
