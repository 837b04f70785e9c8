"""Whole numbers one after the other, such as positions, without an array of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from .program import MaskProgram


@dataclass(frozen=True)
class Counter:
    """start, start + 1, ..: `size` numbers, one for each token."""

    start: int
    size: int

    def tensor(self) -> Tensor:
        """The numbers themselves."""
        return torch.arange(self.start, self.start + self.size)


#: what an input of a mask is
Source: TypeAlias = Tensor | Counter


def arrays(values: list[Source]) -> list[Tensor]:
    """The inputs that are arrays."""
    return [value for value in values if isinstance(value, Tensor)]


def sizes_of(
    wanted: Iterable[str], program: MaskProgram, values: Sequence[Source]
) -> dict[str, int]:
    """The sizes of some axes; an input of size 1 along one is the same at all its places."""
    found = dict.fromkeys(wanted, 1)
    for value, axes in zip(values, program.axes, strict=True):
        for place, axis in enumerate(axes):
            if axis in found and isinstance(value, Tensor):
                found[axis] = max(found[axis], value.size(place))
    return found
