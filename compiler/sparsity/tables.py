"""Truth values that depend on a pair through one number, as tables with running counts.

A block of neighbours meets every number between the smallest and the largest of its pairs. So how many of these numbers are let in says exactly whether the block is full, empty, or neither, at every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import FAN, Blocks, Grid
from .counters import Counter, Source
from .fields import arranged, owned
from .intervals import Interval
from .program import KEY, QUERY, Diagonal
from .values import NoValue, evaluate

#: numbers that are evaluated at a time, or a 64th of them where that is more
PART = 1 << 12
#: where counters may begin
FARTHEST = 1 << 40


class Counts:
    """How many of a sequence of truth values hold, between any two places; kept as the places at
    which they change.
    """

    def __init__(self, places: Tensor, values: Tensor, total: int) -> None:
        self.places, order = places.sort()
        self.values = values[order].long()
        sizes = torch.diff(self.places, append=torch.tensor([total])) * self.values
        self.before = sizes.cumsum(0) - sizes

    def between(self, first: Tensor, last: Tensor) -> Tensor:
        """How many hold at first .. last - 1."""
        return self._up_to(last) - self._up_to(first)

    def _up_to(self, place: Tensor) -> Tensor:
        known = torch.searchsorted(self.places, place, right=True) - 1
        return self.before[known] + (place - self.places[known]) * self.values[known]


class DiagonalTable:
    """Of a line of numbers those that are let in: by every place of the lead axes, and by some;
    these differ only where blocks are classified for all places together.
    """

    def __init__(
        self, sign: int, own: Tensor, total: int, everywhere: Counts, somewhere: Counts
    ) -> None:
        self.sign, self.own, self.total = sign, own, total
        self.everywhere, self.somewhere = everywhere, somewhere

    def at(self, blocks: Blocks, grid: Grid) -> Interval:
        """Whether the blocks are let in for sure, and whether maybe."""
        step = FAN**blocks.level
        rows, columns = (size * step for size in grid.block)
        top, left = blocks.row * rows, blocks.column * columns
        bottom = (top + rows).clamp(max=grid.queries) - 1
        right = (left + columns).clamp(max=grid.keys) - 1
        if self.sign > 0:
            first, last = top - right + grid.keys - 1, bottom - left + grid.keys
        else:
            first, last = top + left, bottom + right + 1
        if len(self.own) > 1:
            offset = self.own[blocks.lead] * self.total
            first, last = first + offset, last + offset
        every = self.everywhere.between(first, last)
        same = self.everywhere is self.somewhere
        some = every if same else self.somewhere.between(first, last)
        return (every == last - first).double(), (some > 0).double()


def diagonal_table(
    diagonal: Diagonal,
    values: Sequence[Source],
    axes: Sequence[tuple[str, ...]],
    lead: dict[str, int],
    reduced: Sequence[str],
    grid: Grid,
    real: torch.dtype,
) -> DiagonalTable | None:
    """The table of a predicate; None where its tokens are not next to each other."""
    numbers = [step.args[0] for step in diagonal.steps if step.op == "input"]
    used = {number: axes[number] for number in numbers}
    over = [
        axis for axis in (lead or _other(used, reduced)) if any(axis in a for a in used.values())
    ]
    starts: dict[int, int] = {}
    fixed: dict[int, Tensor] = {}
    for number, names in used.items():
        value = values[number]
        if isinstance(value, Counter):
            starts[number] = value.start
        elif not {QUERY, KEY} & set(names):
            fixed[number] = arranged(value, names, [*over, *reduced])[..., None]
        elif _counts_up(value):
            starts[number] = int(value[0])
        else:
            return None
    if any(abs(start) > FARTHEST for start in starts.values()):
        return None  # sums of such numbers might not fit into 64 bits
    dims = {axis: -2 - place for place, axis in enumerate(reversed(reduced))}
    total = grid.queries + grid.keys - 1
    made = (_Changes(total), _Changes(total))
    part = max(PART, total // 64)
    for begin in range(0, total, part):
        number = torch.arange(begin, min(begin + part, total))
        if diagonal.sign > 0:
            number = number - (grid.keys - 1)
        inputs: list[Any] = [None] * len(values)
        for place, value in fixed.items():
            inputs[place] = value
        for place, start in starts.items():
            inputs[place] = number + start if QUERY in used[place] else torch.tensor(start)
        try:
            seen = evaluate(diagonal.steps, inputs, dims, real)
        except NoValue:
            return None
        seen = seen.expand(*seen.shape[:-1], len(number)).reshape(-1, len(number))
        made[0].add(begin, seen if lead else seen.all(0, True))
        if not lead:
            made[1].add(begin, seen.any(0, True))
    everywhere = made[0].counts()
    somewhere = everywhere if lead else made[1].counts()
    return DiagonalTable(diagonal.sign, owned(over, lead), total, everywhere, somewhere)


def _other(used: dict[int, tuple[str, ...]], reduced: Sequence[str]) -> list[str]:
    known = {QUERY, KEY, *reduced}
    return list(dict.fromkeys(a for names in used.values() for a in names if a not in known))


def _counts_up(value: Tensor) -> bool:
    """Whether the values are whole numbers one after the other."""
    if value.dim() != 1 or value.is_floating_point() or not len(value):
        return False
    return bool((value[1:] - value[:-1] == 1).all())


class _Changes:
    """Collects where truth values change along rows of `total`, part by part."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.last: Tensor | None = None
        self.places: list[Tensor] = []
        self.values: list[Tensor] = []

    def add(self, begin: int, seen: Tensor) -> None:
        """The next part of every row."""
        before = ~seen[:, :1] if self.last is None else self.last
        row, place = (seen != torch.cat([before, seen[:, :-1]], 1)).nonzero(as_tuple=True)
        self.places.append(row * self.total + begin + place)
        self.values.append(seen[row, place])
        self.last = seen[:, -1:]

    def counts(self) -> Counts:
        """All rows, one after the other."""
        assert self.last is not None
        size = len(self.last) * self.total
        return Counts(torch.cat(self.places), torch.cat(self.values), size)
