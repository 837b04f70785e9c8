"""What an argument of a mask takes in each block: the extremes of its values, for every level."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .blocks import FAN, Blocks
from .counters import Counter
from .intervals import Interval, exact, unknown
from .program import KEY, QUERY

INF = math.inf


def owned(axes: Sequence[str], lead: dict[str, int]) -> Tensor:
    """For each place of the lead axes together, the place along those that an argument has."""
    sizes = [size if axis in axes else 1 for axis, size in lead.items()]
    own = torch.arange(math.prod(sizes)).view(sizes or [1])
    return own.expand(list(lead.values()) or [1]).flatten()


def arranged(value: Tensor, axes: Sequence[str], order: Sequence[str]) -> Tensor:
    """The value with the axes in an order, of size 1 where it lacks them; feature dims last."""
    present = [axis for axis in order if axis in axes]
    places = [list(axes).index(axis) for axis in present]
    value = value.permute([*places, *range(len(axes), value.dim())])
    for place, axis in enumerate(order):
        if axis not in axes:
            value = value.unsqueeze(place)
    return value


class Field:
    """The smallest and largest value of an argument in blocks of each level.

    lead      sizes of the axes that the mask varies over; empty: extremes over all of them
    reduced   axes that stay apart, before that of the blocks
    """

    def __init__(
        self,
        value: Tensor,
        axes: Sequence[str],
        lead: dict[str, int],
        reduced: Sequence[str],
        block: tuple[int, int],
    ) -> None:
        self.side = None
        if (QUERY in axes) != (KEY in axes):
            self.side = QUERY if QUERY in axes else KEY
        order = [*lead, *reduced, *([self.side] if self.side else [])]
        rest = [axis for axis in axes if axis not in order]
        value = arranged(value.detach().cpu(), axes, [*order, *rest])
        self.is_known = not (value.is_floating_point() and bool(value.isnan().any()))
        self.own = owned(axes, lead)
        shape = value.shape[: len(order)]
        flat = value.reshape(*shape, -1)
        low, high = (flat, flat) if flat.size(-1) == 1 else (flat.amin(-1), flat.amax(-1))
        if flat.size(-1) == 1:
            low = high = flat[..., 0]
        leads, inner = math.prod(shape[: len(lead)]), shape[len(lead) : len(lead) + len(reduced)]
        tokens = [shape[-1]] if self.side else []
        self.inner = list(inner)
        low, high = (item.reshape(leads, *inner, *tokens) for item in (low, high))
        if not self.side:
            found = exact((low.double(), high.double()))
            self.levels = [(found[0].movedim(0, -1), found[1].movedim(0, -1))]
            return
        size = block[0 if self.side == QUERY else 1]
        low, high = _grouped(low, size, False), _grouped(high, size, True)
        found = exact((low.double(), high.double()))
        self.levels = [(found[0].movedim(0, -2), found[1].movedim(0, -2))]

    def at(self, blocks: Blocks) -> Interval:
        """The interval of each block, (reduced axes.., blocks)."""
        if not self.is_known:
            return unknown("")
        if self.side is None:
            (low, high), where = self.levels[0], self.own[blocks.lead]
            return low.index_select(-1, where), high.index_select(-1, where)
        low, high = self._level(blocks.level)
        place = blocks.row if self.side == QUERY else blocks.column
        if len(self.own) > 1:
            place = self.own[blocks.lead] * low.size(-1) + place
        low, high = low.flatten(-2), high.flatten(-2)
        return low.index_select(-1, place), high.index_select(-1, place)

    def _level(self, level: int) -> Interval:
        while len(self.levels) <= level:
            low, high = self.levels[-1]
            self.levels.append((_grouped(low, FAN, False), _grouped(high, FAN, True)))
        return self.levels[level]


class CounterField:
    """The smallest and largest of numbers that count tokens, in blocks of every level."""

    def __init__(self, counter: Counter, axes: Sequence[str], block: tuple[int, int]) -> None:
        self.counter = counter
        self.by_query = QUERY in axes
        self.size = block[0 if self.by_query else 1]

    def at(self, blocks: Blocks) -> Interval:
        """The interval of each block."""
        place = blocks.row if self.by_query else blocks.column
        size = self.size * FAN**blocks.level
        low, last = place * size, self.counter.size - 1
        high = (low + size - 1).clamp(max=last)
        start = self.counter.start
        return exact(((low + start).double(), (high + start).double()))


def _grouped(value: Tensor, size: int, largest: bool) -> Tensor:
    """The extremes of groups of neighbours along the last dim."""
    if value.dtype is torch.bool:
        value = value.to(torch.uint8)
    whole = value.size(-1) // size * size
    head = value[..., :whole].unflatten(-1, (-1, size))
    parts = [head.amax(-1) if largest else head.amin(-1)] if whole else []
    if whole < value.size(-1):
        tail = value[..., whole:]
        parts.append(tail.amax(-1, keepdim=True) if largest else tail.amin(-1, keepdim=True))
    return torch.cat(parts, -1) if len(parts) != 1 else parts[0]
