"""Attends in tiles: a few queries with the keys that they may see, one tile after the other.

The pairs of a tile are computed by the graph of the dense form, over a block axis besides; its backward computes them again. So memory is that of one tile, blocks that the mask leaves empty cost nothing, and everything that the dense form can do is right here too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import Tensor, fx, nn

from ..sparsity import EMPTY, classify
from ..tracing import is_plain, is_traced
from . import ops, sizes
from .layout import Input, Layout, Tile
from .parts import flattened, part_of
from .plan import Plan, order_by
from .recomputed import Recomputed, accumulate

CONTIGUOUS = torch.contiguous_format

#: per source EMPTY, PARTIAL or FULL for every block
Classes: TypeAlias = list[Tensor]


class TiledAttend(nn.Module):
    """One attend, in tiles. Its graphs take the arguments of a tile, and `there`."""

    def __init__(self, layout: Layout, masked: fx.GraphModule, unmasked: fx.GraphModule) -> None:
        super().__init__()
        self.layout, self.masked, self.unmasked = layout, masked, unmasked
        told = (layout, masked.code, unmasked.code)
        self.key = hashlib.sha256(repr(told).encode()).hexdigest()[:24]
        ops.KNOWN.setdefault(self.key, self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        ops.KNOWN.setdefault(self.key, self)

    def forward(self, *args: Any) -> Any:
        """The results (one tensor, or a tuple) over all queries."""
        if is_plain():
            made = self.whole(args)
        elif is_traced():
            small = self._is_small(args) or any(isinstance(item, float) for item in args)
            made = self.whole(args) if small else ops.called(self, args)
        else:
            made = self.in_tiles(args)
        return made if len(self.layout.results) > 1 else made[0]

    def in_tiles(self, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The results, with tokens in the order that leaves fewer blocks."""
        in_order, classes = self._order(args)
        if in_order:
            return self._by_lead(args, self._apart(), classes)
        return self._all(args, False, classes)

    def whole(self, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The results as one tile of everything, in operations of torch alone."""
        axes = self.layout.results
        made = self.run(self._everything(args), args)
        return tuple(
            flattened(item, names, self.layout) for item, names in zip(made, axes, strict=True)
        )

    def _everything(self, args: Sequence[Any]) -> Tile:
        """All queries and all keys as one tile."""
        device = next(item.device for item in args if isinstance(item, Tensor))
        queries = self.sizes(args)[0]
        places = torch.arange(queries, device=device)
        nothing = (None,) * len(self.layout.keys)
        return Tile(places[None], queries, nothing, nothing)

    # -- gradients --------------------------------------------------------------------------

    def gradients(
        self, args: Sequence[Any], wanted: Sequence[int], grads: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients of some arguments, tile by tile."""
        totals = [torch.zeros_like(args[n], memory_format=CONTIGUOUS) for n in wanted]
        in_order, classes = self._order(args)
        apart = self._apart() if in_order else None
        self._add_gradients(args, dict(zip(wanted, totals, strict=True)), grads, apart, classes)
        return totals

    def _add_gradients(
        self,
        args: Sequence[Any],
        totals: dict[int, Tensor],
        grads: Sequence[Tensor],
        apart: list[str] | None,
        classes: Classes | None,
    ) -> None:
        """Add gradients to totals; for each place along some axes, over which orders vary."""
        if not apart:
            tiles = self.tiles(args, apart is not None, classes)
            accumulate(self, tiles, args, totals, grads)
            return
        axis, *rest = apart
        for which in range(self._lead(axis, args)):
            part = {
                n: self._narrowed_one(total, self.layout.inputs[n], axis, which)
                for n, total in totals.items()
            }
            outer = [
                grad.narrow([a for a in axes if a != self.layout.block].index(axis), which, 1)
                if axis in axes
                else grad
                for grad, axes in zip(grads, self.layout.results, strict=True)
            ]
            own = None if which else classes
            self._add_gradients(self._narrowed(args, axis, which), part, outer, rest, own)

    # -- the order of tokens ----------------------------------------------------------------

    def _order(self, args: Sequence[Any]) -> tuple[bool, Classes | None]:
        """Whether fewer blocks are left when tokens are sorted by their labels.

        And the classes in that order, where known: of tokens sorted those of the first place along
        each axis over which the order varies.
        """
        if not any(self.layout.orders) or self._is_small(args):
            return False, None
        one = args
        for axis in self._apart():
            one = self._narrowed(one, axis, 0)
        queries, keys, *_ = self.sizes(args)
        natural = self.classes(args, queries, keys, [None] * (1 + len(keys)))
        ordered = self.classes(one, queries, keys, self._orders(one))
        left = [sum(int((item != EMPTY).sum()) for item in found) for found in (natural, ordered)]
        return (True, ordered) if left[1] < left[0] else (False, natural)

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
        return [
            self._narrowed_one(value, item, axis, which)
            for value, item in zip(args, self.layout.inputs, strict=True)
        ]

    def _narrowed_one(self, value: Any, item: Input, axis: str, which: int) -> Any:
        return value.narrow(item.sized.index(axis), which, 1) if axis in item.sized else value

    def _by_lead(
        self, args: Sequence[Any], apart: list[str], classes: Classes | None
    ) -> tuple[Tensor, ...]:
        """Results for each place along some axes, put together again."""
        if not apart:
            return self._all(args, True, classes)
        axis, *rest = apart
        count = self._lead(axis, args)
        parts = [
            self._by_lead(self._narrowed(args, axis, n), rest, None if n else classes)
            for n in range(count)
        ]
        return tuple(
            torch.cat(items, [a for a in axes if a != self.layout.block].index(axis))
            for items, axes in zip(zip(*parts, strict=True), self.layout.results, strict=True)
        )

    def _lead(self, axis: str, args: Sequence[Any]) -> int:
        """How many places there are along an axis."""
        return next(
            int(value.size(item.sized.index(axis)))
            for item, value in zip(self.layout.inputs, args, strict=True)
            if axis in item.sized
        )

    def _all(
        self, args: Sequence[Any], in_order: bool, classes: Classes | None
    ) -> tuple[Tensor, ...]:
        tensors = [item for item in args if isinstance(item, Tensor)]
        tiles = self.tiles(args, in_order, classes)
        if len(tiles) == 1 and all(keys is None for keys in tiles[0].keys):
            return self.assembled(tiles, [self.run(tiles[0], args)], args)
        if torch.is_grad_enabled() and any(item.requires_grad for item in tensors):
            made: tuple[Tensor, ...] = Recomputed.apply(self, tiles, *args)  # type: ignore[no-untyped-call, unused-ignore]
            return made
        return self.filled(tiles, args)

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

    def tiles(self, args: Sequence[Any], in_order: bool, classes: Classes | None) -> list[Tile]:
        """The tiles of a call, of tokens in the order of their labels or as they stand.

        classes   those of its blocks, where known
        """
        queries, keys, others, lead = self.sizes(args)
        whole = self._everything(args)
        row = (sum(keys) + others) * lead
        if self._is_small(args):
            return [whole]
        layout = self.layout
        if not (layout.skips and keys):
            parts = whole.rows.split(max(1, sizes.PAIRS // row), 1)
            return [replace(whole, rows=part) for part in parts]
        natural: list[Tensor | None] = [None] * (1 + len(keys))
        orders = self._orders(args) if in_order else natural
        if classes is None:
            classes = self.classes(args, queries, keys, orders)
        left = sum(float((item != EMPTY).double().mean()) for item in classes) / len(classes)
        if queries * row <= sizes.PAIRS and left > sizes.MOSTLY:
            return [whole]
        device = whole.rows.device
        plan = Plan(classes, queries, keys, lead, orders, others, layout.is_whole, device)
        return list(plan.tiles()) or [_without_keys(len(keys), device)]

    def classes(
        self, args: Sequence[Any], queries: int, keys: list[int], orders: list[Tensor | None]
    ) -> Classes:
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
            runs = classify(
                mask, values, queries, size, block, by_lead=False, conjuncts=False, real=real
            )
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
            count = keys.size(1) if isinstance(keys, Tensor) else self._size(axis, taken)
            shape = (len(tile.rows), count)
            ones = torch.ones(shape, dtype=torch.bool, device=tile.rows.device)
            there.append(ones if given is None else given)
        return tuple(self.masked(*there, *taken))

    def _size(self, axis: str, taken: Sequence[Any]) -> int:
        """The size of an axis inside a tile."""
        for item, value in zip(self.layout.inputs, taken, strict=True):
            if axis in item.inner:
                size: int = value.size(item.inner.index(axis))
                return size  # no int(): it may be symbolic
        return 1

    def run(self, tile: Tile, args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The results of a tile, from the whole arguments."""
        return self.computed(tile, self.taken(tile, args))

    def filled(self, tiles: list[Tile], args: Sequence[Any]) -> tuple[Tensor, ...]:
        """The same as `assembled` of all tiles, each put in its place before the next is made.

        Small results that stay between large ones that go would keep memory from its reuse.
        """
        results: list[Tensor] = []
        for tile in tiles:
            rows = tile.rows.flatten()
            for place, (value, axes) in enumerate(
                zip(self.run(tile, args), self.layout.results, strict=True)
            ):
                flat = flattened(value, axes, self.layout)
                dim = axes.index(self.layout.query) - 1
                if len(results) == place:
                    shape = list(flat.shape)
                    shape[dim] = self.sizes(args)[0]
                    results.append(flat.new_full(shape, 0.0 if place == 0 else -math.inf))
                results[place].index_copy_(dim, rows, flat)
        return tuple(results)

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
    return Tile(first, 1, (first[:, :0],) * sources, (None,) * sources)
