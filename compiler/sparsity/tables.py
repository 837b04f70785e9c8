"""Truth values that depend on a pair through one number, as tables with running counts.

A block of neighbours meets every number between the smallest and the largest of its pairs. So how many of these numbers are let in says exactly whether the block is full, empty, or neither, at every level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import FAN, Blocks, Grid
from .fields import arranged, owned
from .intervals import Interval
from .program import KEY, QUERY, Diagonal
from .values import NoValue, evaluate

#: numbers that are evaluated at a time
PART = 1 << 17


class DiagonalTable:
    """Of each number, and the ones before it, how many are let in: by every place of the lead
    axes, and by some; these differ only where blocks are classified for all places together.
    """

    def __init__(self, sign: int, own: Tensor, everywhere: Tensor, somewhere: Tensor) -> None:
        self.sign, self.own = sign, own
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
        offset = self.own[blocks.lead] * self.everywhere.size(-1) if len(self.own) > 1 else 0
        counts = []
        for table in (self.everywhere, self.somewhere):
            flat = table.flatten()
            counts.append(flat[last + offset] - flat[first + offset])
        return (counts[0] == last - first).double(), (counts[1] > 0).double()


def diagonal_table(
    diagonal: Diagonal,
    values: Sequence[Any],
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
        value = torch.as_tensor(values[number]).detach().cpu()
        if {QUERY, KEY} & set(names):
            if not _counts_up(value):
                return None
            starts[number] = int(value[0])
        else:
            fixed[number] = arranged(value, names, [*over, *reduced])[..., None]
    dims = {axis: -2 - place for place, axis in enumerate(reversed(reduced))}
    total = grid.queries + grid.keys - 1
    parts: list[tuple[Tensor, Tensor]] = []
    for begin in range(0, total, PART):
        number = torch.arange(begin, min(begin + PART, total))
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
        parts.append((seen, seen) if lead else (seen.all(0, True), seen.any(0, True)))
    everywhere = _running([part[0] for part in parts])
    somewhere = everywhere if lead else _running([part[1] for part in parts])
    return DiagonalTable(diagonal.sign, owned(over, lead), everywhere, somewhere)


def _other(used: dict[int, tuple[str, ...]], reduced: Sequence[str]) -> list[str]:
    known = {QUERY, KEY, *reduced}
    return list(dict.fromkeys(a for names in used.values() for a in names if a not in known))


def _counts_up(value: Tensor) -> bool:
    """Whether the values are whole numbers one after the other."""
    if value.dim() != 1 or value.is_floating_point() or not len(value):
        return False
    return bool((value[1:] - value[:-1] == 1).all())


def _running(parts: list[Tensor]) -> Tensor:
    """How many are true before each place, and in all."""
    seen = torch.cat(parts, -1)
    counts = torch.zeros(len(seen), seen.size(-1) + 1, dtype=torch.int32)
    torch.cumsum(seen, -1, dtype=torch.int32, out=counts[:, 1:])
    return counts
