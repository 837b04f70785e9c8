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
from .runs import FULL, PARTIAL, RunList, Runs
from .tables import DiagonalTable, diagonal_table

#: blocks to begin with, and bounds of how many are evaluated at a time
FIRST, LEAST, MOST = 1 << 12, 1 << 10, 1 << 16


def classify(
    program: MaskProgram,
    values: Sequence[Any],
    queries: int,
    keys: int,
    block: tuple[int, int],
    *,
    by_lead: bool = True,
    exact: bool = False,
    conjuncts: bool = True,
    real: torch.dtype = torch.float32,
) -> Runs:
    """The runs of blocks that a mask leaves.

    values    the inputs of the program, in the axes that it says
    by_lead   for every place of the axes besides the tokens (batch, head); else for all together:
              full is what is full, and empty what is empty, at all of them
    exact     whether undecided blocks are looked at pair by pair
    conjuncts whether it is told which of them are undecided, or only that one is
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
    decide = None
    if exact and by_lead and not facts.is_exact:
        decide = Exactness(program, tensors, lead, grid, real)
    while waiting:
        blocks = waiting.pop()
        is_full, is_empty = facts.decided(blocks)
        _add(found, blocks.at(is_full), None)
        left = blocks.at(~(is_full | is_empty))
        if blocks.level:
            waiting += reversed(_parts(_cut(left, grid), grid))
            continue
        if decide is not None and len(left):
            classes = decide.classes(left)
            _add(found, left.at(classes == FULL), None)
            left = left.at(classes == PARTIAL)
        if len(left):
            _add(found, left, facts.undecided(left) if conjuncts else torch.ones_like(left.row))
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
        self.roots = (program.value,) if program.steps else ()
        needed = program.needed((*self.roots, *program.conjuncts), self.tables)
        self.fields: dict[int, Field | CounterField] = {}
        self.relations: dict[int, Relation] = {}
        for place in needed:
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

    @property
    def is_exact(self) -> bool:
        """Whether a table knows all that the mask lets in."""
        return all(root in self.tables for root in self.roots)

    def decided(self, blocks: Blocks) -> tuple[Tensor, Tensor]:
        """Which blocks are full for sure, and which are empty."""
        if not self.program.steps:
            everything = torch.ones(len(blocks), dtype=torch.bool)
            return everything, ~everything
        ((low, high),) = self._evaluated(self.roots, blocks)
        size = (len(blocks),)
        return _spread(low >= 1, size), _spread(high <= 0, size)

    def undecided(self, blocks: Blocks) -> Tensor:
        """Of each partial block the conjuncts that must be evaluated, as bits."""
        bits = torch.zeros(len(blocks), dtype=torch.int64)
        if len(self.program.conjuncts) == 1:
            return bits + 1
        for bit, (low, _) in enumerate(self._evaluated(self.program.conjuncts, blocks)):
            bits |= (~_spread(low >= 1, (len(blocks),))).long() << bit
        return bits

    def _evaluated(self, roots: tuple[int, ...], blocks: Blocks) -> list[Interval]:
        """The intervals of some steps."""
        needed = self.program.needed(roots, self.tables)
        last: dict[int, int] = {}
        for place in needed:
            if place not in self.tables:
                last.update(dict.fromkeys(operands(self.program.steps[place]), place))
        known: dict[int, Interval] = {}
        for place in needed:
            known[place] = self._interval(place, known, blocks)
            if place not in self.tables:
                for read in set(operands(self.program.steps[place])) - set(roots):
                    if last[read] == place:
                        del known[read]
        return [known[place] for place in roots]

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
    most = min(MOST, max(LEAST, sum(grid.shape()) // 2))
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


def _add(found: RunList, blocks: Blocks, undecided: Tensor | None) -> None:
    """Blocks of any level as runs of the finest; full ones have nothing undecided."""
    if not len(blocks):
        return
    if undecided is None:
        undecided = torch.zeros(len(blocks), dtype=torch.int64)
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
