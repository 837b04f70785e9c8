"""Rows of runs: for every block of queries the key blocks that it may see, neighbours together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .blocks import Grid

EMPTY, PARTIAL, FULL = 0, 1, 2


@dataclass(frozen=True)
class Runs:
    """What a mask leaves of its blocks, as sorted runs of key blocks; what is not listed is empty.

    Shapes: (CPU, contiguous)
        row_start   (lead * rows + 1,) int64: the runs of a row, the rows of lead 0 first
        begin, end  (runs,) int32: key blocks begin .. end - 1
        undecided   (runs,) int64: bit n says that conjunct n must be evaluated there; 0: full
    """

    grid: Grid
    row_start: Tensor
    begin: Tensor
    end: Tensor
    undecided: Tensor

    @property
    def is_full(self) -> Tensor:
        """Which runs need no mask."""
        return self.undecided == 0

    @property
    def rows(self) -> Tensor:
        """The row of each run: lead * rows + row."""
        sizes = self.row_start.diff()
        return torch.arange(len(sizes)).repeat_interleave(sizes)

    def count(self) -> dict[str, int]:
        """How many blocks there are of each class."""
        sizes = (self.end - self.begin).long()
        full = int(sizes[self.is_full].sum())
        partial = int(sizes.sum()) - full
        return {"full": full, "partial": partial, "empty": self.grid.count() - full - partial}

    def classes(self) -> Tensor:
        """EMPTY, PARTIAL or FULL for every block: uint8 (lead, rows, columns)."""
        rows, columns = self.grid.shape()
        found = torch.zeros(self.grid.lead * rows * (columns + 1), dtype=torch.int8)
        kinds = torch.where(self.is_full, FULL, PARTIAL).to(torch.int8)
        line = self.rows * (columns + 1)
        found.index_add_(0, line + self.begin, kinds)
        found.index_add_(0, line + self.end, -kinds)
        steps = found.view(self.grid.lead, rows, columns + 1)
        return steps.cumsum(-1, dtype=torch.int8)[..., :columns].to(torch.uint8)


class RunList:
    """Collects runs in any order."""

    #: runs that wait to be joined with their neighbours
    MOST = 1 << 20

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.parts: list[tuple[Tensor, Tensor, Tensor]] = []
        self.waiting = 0
        self.limit = self.MOST

    def add(self, line: Tensor, begin: Tensor, end: Tensor, undecided: Tensor) -> None:
        """More runs: of each the row (lead * rows + row), key blocks, undecided conjuncts."""
        columns = self.grid.shape()[1] + 1
        self.parts.append(_joined(line * columns + begin, end - begin, undecided))
        self.waiting += len(self.parts[-1][0])
        if self.waiting > self.limit:
            self.parts = [self._all()]
            self.waiting = len(self.parts[0][0])
            self.limit = max(self.MOST, 2 * self.waiting)

    def _all(self) -> tuple[Tensor, Tensor, Tensor]:
        if not self.parts:
            none = torch.zeros(0, dtype=torch.int64)
            return none, none, none
        place, size, undecided = (torch.cat(items) for items in zip(*self.parts, strict=True))
        self.parts = []
        return _joined(place, size, undecided)

    def runs(self) -> Runs:
        """All of them, row by row."""
        place, size, undecided = self._all()
        columns = self.grid.shape()[1] + 1
        rows = self.grid.lead * self.grid.shape()[0]
        line, begin = place // columns, place % columns
        starts = torch.zeros(rows + 1, dtype=torch.int64)
        starts[1:] = torch.bincount(line, minlength=rows).cumsum(0)
        return Runs(self.grid, starts, begin.int(), (begin + size).int(), undecided)


def _joined(place: Tensor, size: Tensor, undecided: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Runs in order, neighbours of one kind as one. Places leave a gap between rows."""
    if not len(place):
        return place, size, undecided
    if bool((place[1:] < place[:-1]).any()):
        place, order = place.sort()
        size, undecided = size[order], undecided[order]
    apart = (place[1:] != place[:-1] + size[:-1]) | (undecided[1:] != undecided[:-1])
    first = torch.cat([torch.zeros(1, dtype=torch.int64), apart.nonzero()[:, 0] + 1])
    last = torch.cat([first[1:] - 1, torch.tensor([len(place) - 1])])
    return place[first], place[last] + size[last] - place[first], undecided[first]
