"""Labels that must be equal, as lists of the blocks in which some of them are.

Intervals of labels in no order say nothing (`drawn[i] == j // 64`). Where few blocks have a label in common, they are listed instead.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .blocks import FAN, Blocks, Grid
from .counters import Counter, Source
from .fields import arranged, owned
from .program import KEY, QUERY, Instruction

#: blocks of a list for each row and column of blocks; places of the lead axes; else intervals do
SPARSE, MOST_LEADS = 64, 64


class Relation:
    """The blocks of every level in which some query has the label of some key."""

    def __init__(self, own: Tensor, keys: Tensor, grid: Grid) -> None:
        self.own, self.grid = own, grid
        self.levels = [keys]

    def at(self, blocks: Blocks) -> Tensor:
        """Which blocks are listed."""
        listed = self._level(blocks.level)
        rows, columns = self.grid.shape(blocks.level)
        wanted = (self.own[blocks.lead] * rows + blocks.row) * columns + blocks.column
        place = torch.searchsorted(listed, wanted).clamp(max=max(0, len(listed) - 1))
        return (
            listed[place] == wanted if len(listed) else torch.zeros_like(wanted, dtype=torch.bool)
        )

    def _level(self, level: int) -> Tensor:
        while len(self.levels) <= level:
            below = len(self.levels) - 1
            (rows, columns), (fewer, less) = self.grid.shape(below), self.grid.shape(below + 1)
            keys = self.levels[-1]
            row, column = keys // columns, keys % columns
            lead, row = row // rows, row % rows
            wider = (lead * fewer + row // FAN) * less + column // FAN
            self.levels.append(wider.unique_consecutive().unique())
        return self.levels[level]


def relation(
    step: Instruction,
    steps: Sequence[Instruction],
    values: Sequence[Source],
    axes: Sequence[tuple[str, ...]],
    lead: dict[str, int],
    grid: Grid,
) -> Relation | None:
    """The list of an equality of labels; None where intervals do as well, or the list is long."""
    sides = [steps[place] for place in step.args]
    if step.op != "==" or any(side.op != "input" for side in sides):
        return None
    numbers = [side.args[0] for side in sides]
    if KEY in axes[numbers[0]]:
        numbers.reverse()
    of_query, of_key = (set(axes[number]) for number in numbers)
    if QUERY not in of_query or KEY in of_query or KEY not in of_key or QUERY in of_key:
        return None
    query, key = (_array(values[number]) for number in numbers)
    if query.is_floating_point() or key.is_floating_point():
        return None
    if query.dim() > len(axes[numbers[0]]) or key.dim() > len(axes[numbers[1]]):
        return None
    over = [axis for axis in lead if axis in of_query | of_key]
    count = math.prod(lead[axis] for axis in over)
    query = _by_lead(query, axes[numbers[0]], QUERY, {a: lead[a] for a in over})
    key = _by_lead(key, axes[numbers[1]], KEY, {a: lead[a] for a in over})
    if count > MOST_LEADS or (_ascends(query) and _ascends(key)):
        return None
    rows, columns = grid.shape()
    found: list[Tensor] = []
    for n in range(count):
        pairs = _joined(query[min(n, len(query) - 1)], key[min(n, len(key) - 1)], grid)
        if pairs is None:
            return None
        found.append(pairs + n * rows * columns)
    return Relation(owned(over, lead), torch.cat(found), grid)


def _array(value: Source) -> Tensor:
    value = value.tensor() if isinstance(value, Counter) else value
    return value if value.is_floating_point() else value.long()


def _by_lead(value: Tensor, axes: Sequence[str], side: str, lead: dict[str, int]) -> Tensor:
    """The labels as (lead, others, tokens)."""
    others = [axis for axis in axes if axis not in lead and axis != side]
    value = arranged(value, axes, [*lead, *others, side])
    if any(axis in axes for axis in lead):
        value = value.expand(*lead.values(), *value.shape[len(lead) :])
        return value.reshape(math.prod(lead.values()), -1, value.size(-1))
    return value.reshape(1, -1, value.size(-1))


def _ascends(labels: Tensor) -> bool:
    return bool((labels[..., 1:] >= labels[..., :-1]).all())


def _labels_of_blocks(labels: Tensor, size: int, known: Tensor) -> tuple[Tensor, Tensor]:
    """Which labels occur in which block: (number among the known, block), each pair once."""
    block = torch.arange(labels.size(-1)).div(size, rounding_mode="floor").expand_as(labels)
    changes = torch.ones_like(labels, dtype=torch.bool)
    changes[:, 1:] = (labels[:, 1:] != labels[:, :-1]) | (block[:, 1:] != block[:, :-1])
    label, place = labels[changes], block[changes]
    number = torch.searchsorted(known, label).clamp(max=max(0, len(known) - 1))
    there = known[number] == label
    blocks = -(-labels.size(-1) // size)
    pairs = (number[there] * blocks + place[there]).unique()
    return pairs // blocks, pairs % blocks


def _joined(query: Tensor, key: Tensor, grid: Grid) -> Tensor | None:
    """Blocks (row * columns + column) with a label in common, ascending; None: too many."""
    rows, columns = grid.shape()
    known = key.unique_consecutive().unique()
    of_row, row = _labels_of_blocks(query, grid.block[0], known)
    of_column, column = _labels_of_blocks(key, grid.block[1], known)
    counts = torch.bincount(of_column, minlength=len(known))
    each = counts[of_row]
    total = int(each.sum())
    if total > SPARSE * (rows + columns):
        return None
    first = (counts.cumsum(0) - counts)[of_row]
    before = each.cumsum(0) - each
    places = torch.arange(total) + (first - before).repeat_interleave(each)
    found: Tensor = (row.repeat_interleave(each) * columns + column[places]).unique()
    return found
