"""Small pictures of large masks: how many of the blocks under each cell a mask leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..compiler.sparsity import Runs
from .examples import inputs_of
from .pictures import NoPicture, attend_of, key_name, query_name

if TYPE_CHECKING:
    from .module import Module
    from .sparsity import Sparsity

#: blocks along a side, beyond which larger ones are taken
MOST_BLOCKS = 8192
#: queries and keys of a block of short and of long inputs, and where these begin
SHORT, USUAL, LONG = 16, 128, 4096


@dataclass(frozen=True)
class Thumbnail:
    """A mask by cells, (heads, rows, columns): 0 where all blocks are empty, 1 where all are full,
    in between the share of them that is left, a partial one counting half.

    cell   tokens of a cell along queries and keys
    note   block size and counts, and what could not be known
    """

    attend: str
    array: Tensor
    rows: str
    columns: str
    cell: tuple[int, int]
    note: str


def thumbnail(module: Module, length: int, size: int, attend: str | None = None) -> Thumbnail:
    """The mask of an attend at some length, in at most `size` cells along a side.

    Raises:
        NoPicture: there is no attend, or its keys are lists or of several sets.
    """
    path, module, name = attend_of(module, attend)
    block = _block(length)
    given: dict[str, Any] = inputs_of(module, length)
    found = list(
        module.sparsity(length, attend=name, block=(block, block), exact=False, **given).values()
    )
    if len(found) > 1:
        raise NoPicture(f"`{name}` has several key sets, which are no one picture")
    (sparsity,) = found
    if sparsity.runs is None:
        raise NoPicture(f"`{name}`: {sparsity.note}")
    array, cell = cells(sparsity.runs, size)
    node = module.spec.bindings[name]
    note = _note(sparsity, block)
    return Thumbnail(f"{path}{name}", array, query_name(node), key_name(node), cell, note)


def _block(length: int) -> int:
    block = SHORT if length <= LONG else USUAL
    while length > block * MOST_BLOCKS:
        block *= 2
    return block


def _note(sparsity: Sparsity, block: int) -> str:
    size = f"{sparsity.queries:,} x {sparsity.keys:,} in blocks of {block} x {block}"
    counts = ", ".join(f"{number:,} {name}" for name, number in sparsity.count.items())
    return f"{size}: {counts}" + (f"\n{sparsity.note}" if sparsity.note else "")


def cells(runs: Runs, size: int) -> tuple[Tensor, tuple[int, int]]:
    """The share of blocks that is left under each cell, and how many tokens a cell is wide."""
    grid = runs.grid
    rows, columns = grid.shape()
    step = max(1, -(-max(rows, columns) // size))
    high, wide = -(-rows // step), -(-columns // step)
    weight = torch.where(runs.is_full, 1.0, 0.5)
    line = runs.rows
    cell = (line // rows * high + line % rows // step) * (columns + 1)
    change = torch.zeros(grid.lead * high * (columns + 1))
    change.index_add_(0, cell + runs.begin, weight)
    change.index_add_(0, cell + runs.end, -weight)
    left = change.view(grid.lead, high, columns + 1).cumsum(-1)[..., :columns]
    left = torch.nn.functional.pad(left, (0, wide * step - columns))
    total = left.unflatten(-1, (wide, step)).sum(-1)
    count = _sizes(rows, step)[:, None] * _sizes(columns, step)
    return total / count, (step * grid.block[0], step * grid.block[1])


def _sizes(count: int, step: int) -> Tensor:
    """How many of `count` things each group of `step` has."""
    groups = torch.arange(0, count, step)
    return (count - groups).clamp(max=step).float()
