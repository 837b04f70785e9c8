"""Undecided blocks looked at pair by pair, those first that a few pairs show to be mixed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .blocks import Blocks, Grid
from .counters import Counter, Source
from .fields import arranged, owned
from .program import KEY, QUERY, MaskProgram
from .runs import EMPTY, FULL, PARTIAL
from .values import NoValue, evaluate

#: pairs that are evaluated at a time; how many places along each side are tried before all
PAIRS, WITNESSES = 1 << 18, (5, 19)
#: multiples of this lie apart, modulo 1
GOLDEN = 0.6180339887498949


class Exactness:
    """Decides blocks of the finest level by the pairs in them."""

    def __init__(
        self,
        program: MaskProgram,
        values: Sequence[Source],
        lead: dict[str, int],
        grid: Grid,
        real: torch.dtype,
    ) -> None:
        self.program, self.values, self.lead, self.grid = program, values, lead, grid
        self.is_known = True
        self.own = [owned(axes, lead) for axes in program.axes]
        self.arrays: list[Source] = []
        order = [*lead, *program.reduced, QUERY, KEY]
        for value, axes in zip(values, program.axes, strict=True):
            if isinstance(value, Counter):
                self.arrays.append(value)
                continue
            self.is_known &= value.dim() == len(axes)
            value = arranged(value, axes, order)
            self.arrays.append(value.flatten(0, len(lead) - 1) if lead else value[None])
        self.dims = {axis: -3 - n for n, axis in enumerate(reversed(program.reduced))}
        self.real = real

    def classes(self, blocks: Blocks) -> Tensor:
        """EMPTY, PARTIAL or FULL; PARTIAL where a value is not known."""
        found = torch.full((len(blocks),), PARTIAL)
        if not self.is_known:
            return found
        left = torch.arange(len(blocks))
        try:
            for count in (*WITNESSES, max(self.grid.block)):
                rows, columns = (_spread(size, count) for size in self.grid.block)
                some, every = self._seen(blocks.at(left), rows, columns)
                alike = some == every
                left, every = left[alike], every[alike]
        except NoValue:
            return found
        found[left] = torch.where(every, FULL, EMPTY)
        return found

    def _seen(self, blocks: Blocks, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Whether some, and whether all, pairs of each block are visible."""
        most = max(1, PAIRS // (len(rows) * len(columns)))
        parts = [
            self._at(blocks.at(slice(n, n + most)), rows, columns)
            for n in range(0, len(blocks), most)
        ]
        none = torch.zeros(0, dtype=torch.bool)
        some = torch.cat([none, *(item.flatten(1).any(1) for item in parts)])
        return some, torch.cat([none, *(item.flatten(1).all(1) for item in parts)])

    def _at(self, blocks: Blocks, rows: Tensor, columns: Tensor) -> Tensor:
        """The mask at some places of each block, (blocks, rows, columns); the last place again
        where a block ends before."""
        query = (blocks.row[:, None] * self.grid.block[0] + rows).clamp(max=self.grid.queries - 1)
        key = (blocks.column[:, None] * self.grid.block[1] + columns).clamp(max=self.grid.keys - 1)
        inputs = []
        for value, own, axes in zip(self.arrays, self.own, self.program.axes, strict=True):
            if isinstance(value, Counter):
                place = query[:, :, None] if QUERY in axes else key[:, None]
                inputs.append(place + value.start)
                continue
            lead = own[blocks.lead][:, None, None]
            row = (
                query[:, :, None] if value.size(-2) > 1 else torch.zeros(1, 1, 1, dtype=torch.int64)
            )
            column = key[:, None] if value.size(-1) > 1 else torch.zeros(1, 1, 1, dtype=torch.int64)
            item = value.movedim((-2, -1), (1, 2))[lead, row, column]
            inputs.append(item.movedim((1, 2), (-2, -1)))
        dims = self.dims
        seen = evaluate(self.program.steps, inputs, dims, self.real)
        shape = (len(blocks), len(rows), len(columns))
        while seen.dim() > 3:
            seen = seen.squeeze(1)
        made: Tensor = seen.expand(shape)
        return made


def _spread(size: int, count: int) -> Tensor:
    """So many of the places of a block, or all: both ends, and others at uneven distances, which
    no remainder takes for one and the same.
    """
    if count >= size:
        return torch.arange(size)
    others = (torch.arange(1, count - 1) * GOLDEN % 1 * size).long()
    return torch.cat([torch.tensor([0, size - 1]), others])
