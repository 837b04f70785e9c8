"""Which queries go together into a tile, and with which keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..sparsity import EMPTY, FULL
from . import sizes
from .layout import Span, Tile


@dataclass(frozen=True)
class Plan:
    """Which queries go together, and with which keys.

    classes    per source: EMPTY, PARTIAL or FULL for every block
    queries    how many there are, and how many keys of each source
    lead       examples times heads
    orders     the tokens in their order, of the queries and of the keys of each source
    listed     what else a query meets
    is_whole   whether these keys are all that a query can see; else no query is passed over
    """

    classes: list[Tensor]
    queries: int
    keys: list[int]
    lead: int
    orders: list[Tensor | None]
    listed: int
    is_whole: bool
    device: torch.device

    def tiles(self) -> Iterator[Tile]:
        """Rows of few key blocks many at a time, each with its keys; long rows with neighbours."""
        counts = torch.stack([(item != EMPTY).sum(1) for item in self.classes], 1)
        total = counts.sum(1)
        if not self.is_whole:
            total = total + 1  # rows that see nothing but lists and other sources
        long = total > sizes.LONG_ROW
        if self.queries % sizes.BLOCK:
            long[-1] = True  # a block of fewer queries goes by itself
        for run in self._runs(long & (total > 0)):
            yield from self._long(run)
        for count in counts[~long & (total > 0)].unique(dim=0):
            chosen = ((counts == count).all(1) & ~long).nonzero()[:, 0]
            row = sizes.BLOCK * int(count.sum()) + self.listed
            many = max(1, sizes.PAIRS // max(1, sizes.BLOCK * row * self.lead))
            for rows in chosen.split(many):
                yield self._short(rows, count.tolist())

    def _runs(self, long: Tensor) -> Iterator[list[int]]:
        """Long rows next to each other, as many together as a tile holds."""
        row = sum(self.keys) + self.listed
        most = max(1, min(sizes.TOGETHER, sizes.PAIRS // (sizes.BLOCK * row * self.lead)))
        cut = self.queries // sizes.BLOCK if self.queries % sizes.BLOCK else -1
        run: list[int] = []
        for row in long.nonzero()[:, 0].tolist():
            if run and (len(run) == most or row != run[-1] + 1 or row == cut):
                yield run
                run = []
            run.append(row)
        if run:
            yield run

    def _long(self, run: list[int]) -> Iterator[Tile]:
        """A run of query blocks with every key that one of them may see.

        Fewer queries at a time than one block has, where a row by itself has very many numbers.
        """
        rows = torch.arange(run[0] * sizes.BLOCK, min((run[-1] + 1) * sizes.BLOCK, self.queries))
        keys: list[Tensor | Span] = []
        total, is_open = self.listed, True
        for n, (classes, size) in enumerate(zip(self.classes, self.keys, strict=True), start=1):
            part = classes[run]
            blocks = (part != EMPTY).any(0).nonzero()[:, 0]
            is_open &= bool((part[:, blocks] == FULL).all())
            places = _tokens(blocks).flatten()
            places = places[places < size]
            total += len(places)
            keys.append(self._spanned(n, places))
        row = total * self.lead
        many = len(run) * sizes.BLOCK if len(run) > 1 else max(1, sizes.PAIRS // max(1, row))
        for part in rows.split(many):
            placed = self._placed(0, part[None])
            yield Tile(placed, self.queries, tuple(keys), (None,) * len(keys), is_open)

    def _spanned(self, which: int, places: Tensor) -> Tensor | Span:
        """Ascending places of keys: those of one block, or a span where none is left out."""
        count = len(places)
        if count and self.orders[which] is None and int(places[-1] - places[0]) == count - 1:
            return Span(int(places[0]), count)
        return self._placed(which, places[None])

    def _placed(self, which: int, places: Tensor) -> Tensor:
        """Places in the order of the queries (0) or of the keys of a source, as those of tokens."""
        order = self.orders[which]
        places = places.to(self.device)
        return places if order is None else order[places]

    def _short(self, rows: Tensor, counts: list[int]) -> Tile:
        """Query blocks that see the same number of key blocks."""
        keys, there, is_open = [], [], True
        sources = zip(self.classes, self.keys, counts, strict=True)
        for n, (classes, size, count) in enumerate(sources, start=1):
            part = classes[rows]
            blocks = (part != EMPTY).nonzero()[:, 1].view(len(rows), count)
            is_open &= bool((part.gather(1, blocks) == FULL).all())
            places = _tokens(blocks).flatten(1)
            inside = places < size
            is_open &= bool(inside.all())
            keys.append(self._placed(n, places.clamp(max=size - 1)))
            there.append(None if bool(inside.all()) else inside.to(self.device))
        placed = self._placed(0, _tokens(rows))
        return Tile(placed, self.queries, tuple(keys), tuple(there), is_open)


def order_by(args: Sequence[Any], places: tuple[int, ...]) -> Tensor | None:
    """The order of tokens by some of their labels, the first the most significant."""
    order: Tensor | None = None
    for place in reversed(places):
        label = args[place].detach().flatten()  # what varies by example or head is one of them
        label = label.to(torch.uint8) if label.dtype is torch.bool else label
        found = (label if order is None else label[order]).argsort(stable=True)
        order = found if order is None else order[found]
    return order


def _tokens(blocks: Tensor) -> Tensor:
    """The places of the tokens of blocks, in a dim of their own."""
    return blocks[..., None] * sizes.BLOCK + torch.arange(sizes.BLOCK)
