"""Attends in tiles: a few queries with the keys that they may see, one tile after the other.

The pairs of a tile are computed by the graph of the dense form, over a block axis besides; its backward computes them again. So memory is that of one tile, blocks that the mask leaves empty cost nothing, and everything that the dense form can do is right here too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..sparsity import EMPTY, classify
from . import sizes
from .layout import Layout, Tile
from .parts import flattened, part_of
from .plan import Plan, order_by
from .recomputed import Recomputed


class TiledAttend(nn.Module):
    """One attend, in tiles. Its graphs take the arguments of a tile, and `there`."""

    def __init__(self, layout: Layout, masked: fx.GraphModule, unmasked: fx.GraphModule) -> None:
        super().__init__()
        self.layout, self.masked, self.unmasked = layout, masked, unmasked

    def forward(self, *args: Any) -> Any:
        """The results (one tensor, or a tuple) over all queries."""
        if self._pays(args):
            made = self._by_lead(args, self._apart())
        else:
            made = self._all(args, in_order=False)
        return made if len(self.layout.results) > 1 else made[0]

    # -- the order of tokens ----------------------------------------------------------------

    def _pays(self, args: Sequence[Any]) -> bool:
        """Whether fewer blocks are left when tokens are sorted by their labels."""
        if not any(self.layout.orders) or torch.compiler.is_compiling() or self._is_small(args):
            return False
        one = args
        for axis in self._apart():
            one = self._narrowed(one, axis, 0)
        queries, keys, *_ = self.sizes(args)
        natural = self.classes(args, queries, keys, [None] * (1 + len(keys)))
        ordered = self.classes(one, queries, keys, self._orders(one))
        left = [sum(int((item != EMPTY).sum()) for item in found) for found in (natural, ordered)]
        return left[1] < left[0]

    def _orders(self, args: Sequence[Any]) -> list[Tensor | None]:
        return [order_by(args, places) for places in self.layout.orders]

    def _apart(self) -> list[str]:
        """The axes over which the order of tokens varies: each place has tiles of its own."""
        tokens = (self.layout.query, *self.layout.keys)
        sorted_by = {place for order in self.layout.orders for place in order}
        axes = (axis for place in sorted(sorted_by) for axis in self.layout.inputs[place].axes)
        return [axis for axis in dict.fromkeys(axes) if axis not in tokens]

    def _narrowed(self, args: Sequence[Any], axis: str, which: int) -> list[Any]:
        """The arguments at one place along an axis."""
        places = [
            item.sized.index(axis) if axis in item.sized else -1 for item in self.layout.inputs
        ]
        return [
            value.narrow(n, which, 1) if n >= 0 else value
            for value, n in zip(args, places, strict=True)
        ]

    def _by_lead(self, args: Sequence[Any], apart: list[str]) -> tuple[Tensor, ...]:
        """Results for each place along some axes, put together again."""
        if not apart:
            return self._all(args, in_order=True)
        axis, *rest = apart
        size = next(
            value.size(item.sized.index(axis))
            for item, value in zip(self.layout.inputs, args, strict=True)
            if axis in item.sized
        )
        parts = [self._by_lead(self._narrowed(args, axis, n), rest) for n in range(size)]
        return tuple(
            torch.cat(items, [a for a in axes if a != self.layout.block].index(axis))
            for items, axes in zip(zip(*parts, strict=True), self.layout.results, strict=True)
        )

    def _all(self, args: Sequence[Any], in_order: bool) -> tuple[Tensor, ...]:
        tensors = [item for item in args if isinstance(item, Tensor)]
        tiles = self.tiles(args, in_order)
        if len(tiles) == 1 and all(keys is None for keys in tiles[0].keys):
            return self.assembled(tiles, [self.run(tiles[0], args)], args)
        if torch.is_grad_enabled() and any(item.requires_grad for item in tensors):
            made: tuple[Tensor, ...] = Recomputed.apply(self, tiles, *args)  # type: ignore[no-untyped-call]
            return made
        return self.assembled(tiles, [self.run(tile, args) for tile in tiles], args)

    # -- which tiles ------------------------------------------------------------------------

    def _is_small(self, args: Sequence[Any]) -> bool:
        queries, keys, others, lead = self.sizes(args)
        return queries * (sum(keys) + others) * lead <= sizes.PAIRS // 8

    def sizes(self, args: Sequence[Any]) -> tuple[int, list[int], int, int]:
        """Queries, keys of each source, what else a query meets, and examples times heads."""
        found: dict[str, int] = {}
        for item, value in zip(self.layout.inputs, args, strict=True):
            for place, axis in enumerate(item.sized):
                found[axis] = value.size(place)
        apart = (self.layout.query, self.layout.block)
        lead = [found.get(axis, 1) for axis in self.layout.results[0] if axis not in apart]
        queries = found.get(self.layout.query, 1)
        keys = [found.get(axis, 1) for axis in self.layout.keys]
        beside = sum(found.get(axis, 0) for axis in self.layout.beside)
        return queries, keys, self.layout.listed + beside, math.prod(lead) * self.layout.width

    def tiles(self, args: Sequence[Any], in_order: bool = False) -> list[Tile]:
        """The tiles of a call, of tokens in the order of their labels or as they stand."""
        queries, keys, others, lead = self.sizes(args)
        device = next(item.device for item in args if isinstance(item, Tensor))
        places = torch.arange(queries, device=device)
        everything = (None,) * len(keys)
        row = (sum(keys) + others) * lead
        if self._is_small(args) or torch.compiler.is_compiling():
            return [Tile(places[None], everything, everything)]
        layout = self.layout
        if not (layout.skips and keys):
            parts = places.split(max(1, sizes.PAIRS // row))
            return [Tile(part[None], everything, everything) for part in parts]
        natural: list[Tensor | None] = [None] * (1 + len(keys))
        orders = self._orders(args) if in_order else natural
        classes = self.classes(args, queries, keys, orders)
        left = sum(float((item != EMPTY).double().mean()) for item in classes) / len(classes)
        if queries * row <= sizes.PAIRS and left > sizes.MOSTLY:
            return [Tile(places[None], everything, everything)]
        plan = Plan(classes, queries, keys, lead, orders, others, layout.is_whole, device)
        return list(plan.tiles()) or [_without_keys(len(keys), device)]

    def classes(
        self, args: Sequence[Any], queries: int, keys: list[int], orders: list[Tensor | None]
    ) -> list[Tensor]:
        """Per source the class of every block of queries and keys, in their orders."""
        found = []
        layout = self.layout
        reals = [a.dtype for a in args if isinstance(a, Tensor) and a.is_floating_point()]
        real = reals[0] if reals else torch.float32
        for axis, (mask, places), size, order in zip(
            layout.keys, layout.masks, keys, orders[1:], strict=True
        ):
            by = {layout.query: orders[0], axis: order}
            values = [self._in_order(place, args[place], by) for place in places]
            block = (sizes.BLOCK, sizes.BLOCK)
            runs = classify(mask, values, queries, size, block, by_lead=False, real=real)
            found.append(runs.classes()[0])
        return found

    def _in_order(self, place: int, value: Any, orders: dict[str, Tensor | None]) -> Any:
        """An argument of a mask with its tokens in their orders."""
        axes = self.layout.inputs[place].axes
        for axis, order in orders.items():
            if order is not None and axis in axes:
                value = value.index_select(axes.index(axis), order)
        return value

    # -- one tile ---------------------------------------------------------------------------

    def taken(self, tile: Tile, args: Sequence[Any]) -> list[Any]:
        """The arguments of a tile."""
        return [
            part_of(value, item, self.layout, tile)
            for item, value in zip(self.layout.inputs, args, strict=True)
        ]

    def computed(self, tile: Tile, taken: Sequence[Any]) -> tuple[Tensor, ...]:
        """The results of a tile, in its own layout."""
        if tile.is_open:
            return tuple(self.unmasked(*taken))
        there = []
        for axis, keys, given in zip(self.layout.keys, tile.keys, tile.there, strict=True):
            count = self._size(axis, taken) if keys is None else keys.size(1)
            shape = (len(tile.rows), count)
            ones = torch.ones(shape, dtype=torch.bool, device=tile.rows.device)
            there.append(ones if given is None else given)
        return tuple(self.masked(*there, *taken))

    def _size(self, axis: str, taken: Sequence[Any]) -> int:
        """The size of an axis inside a tile."""
        for item, value in zip(self.layout.inputs, taken, strict=True):
            if axis in item.inner:
                return int(value.size(item.inner.index(axis)))
        return 1

    def run(self, tile: Tile, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The results of a tile, from the whole arguments."""
        return self.computed(tile, self.taken(tile, args))

    def assembled(
        self, tiles: list[Tile], made: list[tuple[Tensor, ...]], args: Sequence[Any]
    ) -> tuple[Tensor, ...]:
        """Results of all tiles in the order of the queries; rows without a tile are empty."""
        rows = [tile.rows.flatten() for tile in tiles]
        order = torch.cat(rows) if rows else torch.zeros(0, dtype=torch.int64)
        queries = self.sizes(args)[0]
        inverse = torch.full((queries,), len(order), device=order.device)
        places = torch.arange(len(order), device=order.device)
        inverse[order] = places
        in_order = len(order) == queries and len(tiles) == 1 and torch.equal(order, places)
        results = []
        for place, axes in enumerate(self.layout.results):
            flat = [flattened(items[place], axes, self.layout) for items in made]
            dim = axes.index(self.layout.query) - 1
            whole = torch.cat(flat, dim) if len(flat) > 1 else flat[0]
            if len(order) < queries:
                edge = torch.full_like(whole.narrow(dim, 0, 1), 0.0 if place == 0 else -math.inf)
                whole = torch.cat([whole, edge], dim)
            results.append(whole if in_order else whole.index_select(dim, inverse))
        return tuple(results)


def _without_keys(sources: int, device: torch.device) -> Tile:
    """A query that sees nothing, for the shape of the results where none sees anything."""
    first = torch.zeros(1, 1, dtype=torch.int64, device=device)
    return Tile(first, (first[:, :0],) * sources, (None,) * sources)
