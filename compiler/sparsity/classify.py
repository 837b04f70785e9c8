"""Which blocks of a mask are full, partial or empty: the large ones first, then parts of what is left.

A block whose class intervals decide is done; the others are cut into FAN by FAN smaller ones, down to the finest, which are partial where nothing decides them. So the work grows with the blocks along the edges of a mask, not with the pairs, nor with all blocks. What is at work at a time is bounded: long lists wait in parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .blocks import FAN, Blocks, Grid
from .counters import Counter, Source, arrays, sizes_of
from .exactness import Exactness
from .fields import CounterField, Field
from .intervals import Interval, apply, unknown
from .program import MaskProgram, operands
from .relations import Relation, relation
from .runs import RunList, Runs
from .tables import DiagonalTable, diagonal_table

#: blocks to begin with, and bounds of how many are evaluated at a time
FIRST, LEAST, MOST = 1 << 12, 1 << 12, 1 << 16


def classify(
    program: MaskProgram,
    values: Sequence[Any],
    queries: int,
    keys: int,
    block: tuple[int, int],
    *,
    by_lead: bool = True,
    exact: bool = False,
    real: torch.dtype = torch.float32,
) -> Runs:
    """The runs of blocks that a mask leaves.

    values    the inputs of the program, in the axes that it says
    by_lead   for every place of the axes besides the tokens (batch, head); else for all together:
              full is what is full, and empty what is empty, at all of them
    exact     whether undecided blocks are looked at pair by pair
    real      dtype of the module's reals
    """
    given = [_on_cpu(value) for value in values]
    sizes = sizes_of(program.lead, program, given)
    tensors = [_whole(v, axes, sizes) for v, axes in zip(given, program.axes, strict=True)]
    lead = sizes if by_lead else {}
    grid = Grid(queries, keys, block, math.prod(lead.values()))
    found = RunList(grid)
    if grid.count() == 0:
        return found.runs()
    facts = Facts(program, tensors, lead, grid, by_lead, real)
    level = 0
    while grid.count(level) > FIRST and max(grid.shape(level)) > 1:
        level += 1
    waiting = _parts(_all_blocks(grid, level), grid)
    decide = Exactness(program, tensors, lead, grid, real) if exact and by_lead else None
    while waiting:
        blocks = waiting.pop()
        undecided, is_empty = facts.decided(blocks)
        is_full = (undecided == 0) & ~is_empty
        _add(found, blocks.at(is_full), undecided[is_full])
        open_ = ~(is_full | is_empty)
        left, bits = blocks.at(open_), undecided[open_]
        if blocks.level:
            waiting += reversed(_parts(_cut(left, grid), grid))
            continue
        if decide is not None and len(left):
            classes = decide.classes(left)
            bits = torch.where(classes == 1, bits, 0)
            left, bits = left.at(classes != 0), bits[classes != 0]
        _add(found, left, bits)
    return found.runs()


class Facts:
    """Everything that intervals say of blocks."""

    def __init__(
        self,
        program: MaskProgram,
        values: list[Source],
        lead: dict[str, int],
        grid: Grid,
        by_lead: bool,
        real: torch.dtype,
    ) -> None:
        self.program, self.grid = program, grid
        reals = [value.dtype for value in arrays(values) if value.is_floating_point()]
        self.eps = max(torch.finfo(item).eps for item in (*reals, real, torch.float32))
        reduced = program.reduced if by_lead else ()
        self.dims = {axis: -2 - place for place, axis in enumerate(reversed(reduced))}
        self.tables: dict[int, DiagonalTable] = {}
        axes = program.axes
        for item in program.diagonals:
            if item.step not in self.tables:
                table = diagonal_table(item, values, axes, lead, program.reduced, grid, real)
                if table is not None:
                    self.tables[item.step] = table
        self.needed = program.needed(frozenset(self.tables))
        self.fields: dict[int, Field | CounterField] = {}
        self.relations: dict[int, Relation] = {}
        for place in self.needed:
            step = program.steps[place]
            if step.op == "input" and place not in self.tables:
                value, own = values[step.args[0]], axes[step.args[0]]
                self.fields[place] = (
                    CounterField(value, own, grid.block)
                    if isinstance(value, Counter)
                    else Field(value, own, lead, reduced, grid.block)
                )
            elif step.op == "==" and place not in self.tables and by_lead:
                found = relation(step, program.steps, values, axes, lead, grid)
                if found is not None:
                    self.relations[place] = found
        self.drops = self._drops()

    def _drops(self) -> dict[int, list[int]]:
        """After which step which results are no longer read."""
        kept = {self.needed[-1], *self.program.conjuncts} if self.needed else set()
        last: dict[int, int] = {}
        for place in self.needed:
            if place not in self.tables:
                last.update(dict.fromkeys(operands(self.program.steps[place]), place))
        found: dict[int, list[int]] = {}
        for read, place in last.items():
            if read not in kept:
                found.setdefault(place, []).append(read)
        return found

    def decided(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Of each block the conjuncts that must be evaluated, as bits, and whether it is empty."""
        size = (len(blocks),)
        undecided = torch.zeros(size, dtype=torch.int64)
        if not self.program.steps:
            return undecided, torch.zeros(size, dtype=torch.bool)
        known: dict[int, Interval] = {}
        for place in self.needed:
            known[place] = self._interval(place, known, blocks)
            for read in self.drops.get(place, ()):
                del known[read]
        low, high = known[self.needed[-1]]
        is_full = _spread(low >= 1, size)
        for bit, place in enumerate(self.program.conjuncts):
            undecided |= (~_spread(known[place][0] >= 1, size)).long() << bit
        return torch.where(is_full, 0, undecided), _spread(high <= 0, size)

    def _interval(self, place: int, known: Mapping[int, Interval], blocks: Blocks) -> Interval:
        step = self.program.steps[place]
        if place in self.tables:
            return self.tables[place].at(blocks, self.grid)
        if place in self.fields:
            return self.fields[place].at(blocks)
        if step.op in ("some", "any"):
            return unknown(step.op)
        low, high = apply(step, [known[n] for n in operands(step)], self.dims, self.eps)
        if place in self.relations:
            high = high * self.relations[place].at(blocks)
        return low, high


def _on_cpu(value: Any) -> Source:
    return value if isinstance(value, Counter) else torch.as_tensor(value).detach().cpu()


def _whole(value: Source, axes: Sequence[str], lead: Mapping[str, int]) -> Source:
    """The value with its lead axes at their full sizes."""
    if isinstance(value, Counter):
        return value
    sizes = [lead.get(axis, -1) for axis in axes]
    return value.expand([*sizes, *value.shape[len(axes) :]])


def _spread(value: Tensor, size: tuple[int]) -> Tensor:
    """A truth value of each block; what still has other axes has them of size 1."""
    return value.reshape(value.shape[-1:] if value.dim() else ()).expand(size)


def _all_blocks(grid: Grid, level: int) -> Blocks:
    rows, columns = grid.shape(level)
    axes = (torch.arange(size) for size in (grid.lead, rows, columns))
    lead, row, column = (item.flatten() for item in torch.meshgrid(*axes, indexing="ij"))
    return Blocks(level, lead, row, column)


def _parts(blocks: Blocks, grid: Grid) -> list[Blocks]:
    """As many blocks as are evaluated at a time: few where there are few in all."""
    most = min(MOST, max(LEAST, 2 * sum(grid.shape())))
    return [blocks.at(slice(n, n + most)) for n in range(0, len(blocks), most)]


def _cut(blocks: Blocks, grid: Grid) -> Blocks:
    """The blocks of the next finer level inside some blocks, row by row."""
    level = blocks.level - 1
    rows, columns = grid.shape(level)
    down, right = (item.flatten() for item in torch.meshgrid(_FAN, _FAN, indexing="ij"))
    row = (blocks.row[:, None] * FAN + down).flatten()
    column = (blocks.column[:, None] * FAN + right).flatten()
    lead = blocks.lead.repeat_interleave(FAN * FAN)
    inside = (row < rows) & (column < columns)
    return Blocks(level, lead, row, column).at(inside)


_FAN = torch.arange(FAN)


def _add(found: RunList, blocks: Blocks, undecided: Tensor) -> None:
    """Blocks of any level as runs of the finest."""
    if not len(blocks):
        return
    rows, columns = found.grid.shape()
    step = FAN**blocks.level
    first = blocks.row * step
    count = (first + step).clamp(max=rows) - first
    begin = blocks.column * step
    end = (begin + step).clamp(max=columns)
    line = blocks.lead * rows + first
    if step > 1:
        within = torch.arange(int(count.sum())) - (count.cumsum(0) - count).repeat_interleave(count)
        line = line.repeat_interleave(count) + within
        begin, end = begin.repeat_interleave(count), end.repeat_interleave(count)
        undecided = undecided.repeat_interleave(count)
    found.add(line, begin, end, undecided)
