"""Blocks of every size: the grid of the finest ones, and lists of blocks of one level."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

#: blocks of a level along each side of one of the next
FAN = 4


@dataclass(frozen=True)
class Grid:
    """Queries and keys in blocks of `block`; a block of level n is FAN**n of them wide.

    lead   in how many ways the mask varies besides, such as over heads
    """

    queries: int
    keys: int
    block: tuple[int, int]
    lead: int = 1

    def shape(self, level: int = 0) -> tuple[int, int]:
        """How many blocks of a level there are along queries and keys."""
        (rows, columns), step = self.block, FAN**level
        return -(-self.queries // (rows * step)), -(-self.keys // (columns * step))

    def count(self, level: int = 0) -> int:
        """How many blocks of a level there are."""
        rows, columns = self.shape(level)
        return self.lead * rows * columns


@dataclass(frozen=True)
class Blocks:
    """Some blocks of one level: for each its place along lead, queries and keys."""

    level: int
    lead: Tensor
    row: Tensor
    column: Tensor

    def __len__(self) -> int:
        return len(self.row)

    def at(self, chosen: Tensor | slice) -> Blocks:
        """Those at some places of the list."""
        return Blocks(self.level, self.lead[chosen], self.row[chosen], self.column[chosen])
