"""How the arguments of a kernel lie in memory, and what it needs to be called."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..matching.match import Domain
from .kernel import Sources

#: what a gradient is for
Learner = Literal["weights", "tokens", "inputs", ""]


@dataclass(frozen=True)
class Argument:
    """An array as it is given.

    domain   the tokens that it depends on
    axes     the places of batch, head, fixed axes, query and key among its dims, -1 for what it lacks
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
        """The places of these axes, once the numbers of a token stand last."""
        return tuple(place - (0 <= self.along < place) for place in self.axes)

    @cached_property
    def has_fixed(self) -> bool:
        """Whether it differs along a fixed axis."""
        return any(place >= 0 for place in self.axes[2:-2])

    @cached_property
    def held(self) -> tuple[int, ...]:
        """The places of batch, head, query and key as a kernel reads them: fixed axes are heads."""
        batch, head, *_, query, key = self.places
        if not self.has_fixed:
            return batch, head, query, key
        present = (batch >= 0, True, query >= 0, key >= 0)
        return tuple(sum(present[:n]) if there else -1 for n, there in enumerate(present))

    @cached_property
    def dims(self) -> int:
        """How many dims these are."""
        return sum(place >= 0 for place in self.held)


@dataclass(frozen=True)
class Kernel:
    """The kernels of one attend.

    arguments   of the kernel, the values first
    fixed       the sizes of further axes of the result, whose places are heads to the kernel
    result      the places of batch, head, fixed axes and query among the dims of the result, -1 where
                it has none
    dims        the feature dims of the result
    softmax     whether lse is made
    has_lse     whether something reads it
    kept        how many numbers of each row are kept for the backward
    """

    name: str
    sources: Sources
    arguments: tuple[Argument, ...]
    fixed: tuple[int, ...]
    result: tuple[int, ...]
    dims: tuple[int, ...]
    softmax: bool
    has_lse: bool
    kept: int

    @property
    def is_placed(self) -> bool:
        """Whether the result is as kernels write it: batch, heads, queries and one feature dim."""
        return self.result == (0, 1, 2) and len(self.dims) == 1
