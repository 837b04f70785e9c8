"""Attends in tiles: a few queries with the keys that they may see, one tile after the other.

The pairs of a tile are computed by the graph of the dense form, over a block axis besides; its backward computes them again. So memory is that of one tile, blocks that the mask leaves empty cost nothing, and everything that the dense form can do is right here too.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from .block_classes import EMPTY, FULL, Interval, MaskProgram, block_classes, extremes

#: queries and keys of a block; pairs (times heads and examples) of a tile
BLOCK = 64
PAIRS = 1 << 21
#: rows with more key blocks than this go together with their neighbours, on one list of keys
LONG_ROW = 12
#: query blocks that go together then
TOGETHER = 4
#: share of blocks from which on leaving out the others is not worth more than one tile
MOSTLY = 0.5


@dataclass(frozen=True)
class Input:
    """How an argument goes into a tile.

    axes    names of its index axes in order; `inner` the same inside the tile, with the block axis;
            without names where every tile gets the whole
    sized   the names in any case
    """

    axes: tuple[str, ...]
    inner: tuple[str, ...]
    sized: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a tile is made of: names of the axes of queries, keys, and blocks.

    keys      the key axis of each source whose keys may be left out
    masks     for each of them its mask (empty: all) and the arguments that the mask reads
    results   the axes of each result inside a tile, with block and query
    orders    the arguments by which queries are sorted, then the keys of each source; none: as is
    listed    numbers that each query gathers from lists, and its keys of a fixed number, as pairs
    beside    other axes over tokens that a query meets
    width     numbers that the pair loop holds for a pair
    skips     whether keys may be left out; else every tile sees all of them
    is_whole  whether `keys` are all that a query can see; else no query is passed over
    """

    query: str
    keys: tuple[str, ...]
    block: str
    inputs: tuple[Input, ...]
    results: tuple[tuple[str, ...], ...]
    masks: tuple[tuple[MaskProgram, tuple[int, ...]], ...]
    orders: tuple[tuple[int, ...], ...]
    listed: int
    beside: tuple[str, ...]
    width: int
    skips: bool
    is_whole: bool


@dataclass(frozen=True)
class Tile:
    """Rows (blocks, queries) of a tile, and per source its keys (blocks, keys), None for all.

    there   per source which of its keys are there, None for all
    is_open   whether every mask lets everything in
    """

    rows: Tensor
    keys: tuple[Tensor | None, ...]
    there: tuple[Tensor | None, ...]
    is_open: bool = False


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
        return [_order(args, places) for places in self.layout.orders]

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
            made: tuple[Tensor, ...] = _Recomputed.apply(self, tiles, *args)  # type: ignore[no-untyped-call]
            return made
        return self.assembled(tiles, [self.run(tile, args) for tile in tiles], args)

    # -- which tiles ------------------------------------------------------------------------

    def _is_small(self, args: Sequence[Any]) -> bool:
        queries, keys, others, lead = self.sizes(args)
        return queries * (sum(keys) + others) * lead <= PAIRS // 8

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
            parts = places.split(max(1, PAIRS // row))
            return [Tile(part[None], everything, everything) for part in parts]
        natural: list[Tensor | None] = [None] * (1 + len(keys))
        orders = self._orders(args) if in_order else natural
        classes = self.classes(args, queries, keys, orders)
        left = sum(float((item != EMPTY).double().mean()) for item in classes) / len(classes)
        if queries * row <= PAIRS and left > MOSTLY:
            return [Tile(places[None], everything, everything)]
        plan = _Plan(classes, queries, keys, lead, orders, others, layout.is_whole, device)
        nothing = torch.zeros(1, 1, dtype=torch.int64, device=device)
        no_keys = (nothing,) * len(keys)  # where no query sees any key, one that sees none
        return list(plan.tiles()) or [Tile(nothing, no_keys, everything)]

    def classes(
        self, args: Sequence[Any], queries: int, keys: list[int], orders: list[Tensor | None]
    ) -> list[Tensor]:
        """Per source the class of every block of BLOCK queries and keys, in their orders."""
        found = []
        layout = self.layout
        for axis, (mask, places), size, order in zip(
            layout.keys, layout.masks, keys, orders[1:], strict=True
        ):
            shape = (-(-queries // BLOCK), -(-size // BLOCK))
            if mask:
                by = {layout.query: orders[0], axis: order}
                intervals = [self._interval(place, axis, args[place], by) for place in places]
                found.append(block_classes(mask, intervals, shape))
            else:
                found.append(torch.full(shape, FULL, dtype=torch.uint8))
        return found

    def _interval(
        self, place: int, key: str, value: Any, orders: dict[str, Tensor | None]
    ) -> Interval:
        axes = self.layout.inputs[place].axes
        value = value if isinstance(value, Tensor) else torch.tensor(value)
        for axis, order in orders.items():
            if order is not None and axis in axes:
                value = value.index_select(axes.index(axis), order)
        if self.layout.query in axes and key not in axes:
            low, high = extremes(value, axes.index(self.layout.query), BLOCK)
            return low[:, None], high[:, None]
        by_key = key in axes and self.layout.query not in axes
        return extremes(value, axes.index(key) if by_key else None, BLOCK)

    # -- one tile ---------------------------------------------------------------------------

    def taken(self, tile: Tile, args: Sequence[Any]) -> list[Any]:
        """The arguments of a tile."""
        return [
            _taken(value, item, self.layout, tile)
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
            flat = [_flat(items[place], axes, self.layout) for items in made]
            dim = axes.index(self.layout.query) - 1
            whole = torch.cat(flat, dim) if len(flat) > 1 else flat[0]
            if len(order) < queries:
                edge = torch.full_like(whole.narrow(dim, 0, 1), 0.0 if place == 0 else -math.inf)
                whole = torch.cat([whole, edge], dim)
            results.append(whole if in_order else whole.index_select(dim, inverse))
        return tuple(results)


def _flat(value: Tensor, axes: tuple[str, ...], layout: Layout) -> Tensor:
    """A result of a tile with block and query as one dim."""
    block, query = axes.index(layout.block), axes.index(layout.query)
    moved: Tensor = value.movedim(block, query - 1)
    return moved.flatten(query - 1, query)


def _places(item: Input, layout: Layout, tile: Tile) -> dict[str, Tensor | None]:
    """What a tile takes along the axes of an argument: places, or None for everything."""
    found: dict[str, Tensor | None] = dict(zip(layout.keys, tile.keys, strict=True))
    found[layout.query] = tile.rows
    return {axis: places for axis, places in found.items() if axis in item.axes}


def _taken(value: Any, item: Input, layout: Layout, tile: Tile) -> Any:
    """The part of an argument that a tile sees, in the layout of the tile."""
    chosen = _places(item, layout, tile)
    if not isinstance(value, Tensor) or not chosen:
        return value
    labels = list(item.axes)
    listed = [axis for axis, places in chosen.items() if places is not None]
    if len(listed) == 2:
        first, second = listed
        value = value.movedim((labels.index(first), labels.index(second)), (0, 1))
        value = value[_pairs(chosen[first], chosen[second])]
        labels = [layout.block, first, second, *(a for a in labels if a not in listed)]
    elif listed:
        places = chosen[listed[0]]
        assert places is not None
        dim = labels.index(listed[0])
        value = value.index_select(dim, places.flatten()).unflatten(dim, places.shape)
        labels.insert(dim, layout.block)
    else:
        value = value.unsqueeze(0)
        labels.insert(0, layout.block)
    return _ordered(value, labels, item.inner)


def _pairs(first: Tensor | None, second: Tensor | None) -> tuple[Tensor, Tensor]:
    """Places along two dims, as an index of (blocks, first, second)."""
    assert first is not None
    assert second is not None
    return first[:, :, None], second[:, None, :]


def _give_back(total: Tensor, grad: Tensor, item: Input, layout: Layout, tile: Tile) -> None:
    """Add the gradient of a tile's argument to that of the whole argument."""
    chosen = _places(item, layout, tile)
    listed = [axis for axis, places in chosen.items() if places is not None]
    if not chosen:
        total += grad
    elif len(listed) == 2:
        first, second = listed
        rest = [axis for axis in item.axes if axis not in listed]
        grad = _ordered(grad, item.inner, [layout.block, first, second, *rest])
        view = total.movedim((item.axes.index(first), item.axes.index(second)), (0, 1))
        view.index_put_(_pairs(chosen[first], chosen[second]), grad, accumulate=True)
    elif listed:
        places = chosen[listed[0]]
        assert places is not None
        dim = item.axes.index(listed[0])
        wanted = [*item.axes[:dim], layout.block, *item.axes[dim:]]
        grad = _ordered(grad, item.inner, wanted).flatten(dim, dim + 1)
        total.index_add_(dim, places.flatten(), grad.to(total.dtype))
    else:
        total += grad.squeeze(item.inner.index(layout.block))


def _ordered(value: Tensor, labels: Sequence[str], wanted: Sequence[str]) -> Tensor:
    order = [labels.index(axis) for axis in wanted]
    return value.permute(*order, *range(len(order), value.dim()))


class _Plan:
    """Which queries go together, and with which keys.

    classes   per source: EMPTY, PARTIAL or FULL for every block
    """

    def __init__(
        self,
        classes: list[Tensor],
        queries: int,
        keys: list[int],
        lead: int,
        orders: list[Tensor | None],
        listed: int,
        is_whole: bool,
        device: torch.device,
    ) -> None:
        self.classes, self.queries, self.keys = classes, queries, keys
        self.lead, self.orders, self.listed, self.device = lead, orders, listed, device
        self.is_whole = is_whole

    def tiles(self) -> Iterator[Tile]:
        """Rows of few key blocks many at a time, each with its keys; long rows with neighbours."""
        counts = torch.stack([(item != EMPTY).sum(1) for item in self.classes], 1)
        total = counts.sum(1)
        if not self.is_whole:
            total = total + 1  # rows that see nothing but lists and other sources
        long = total > LONG_ROW
        if self.queries % BLOCK:
            long[-1] = True  # a block of fewer queries goes by itself
        for run in self._runs(long & (total > 0)):
            yield self._long(run)
        for count in counts[~long & (total > 0)].unique(dim=0):
            chosen = ((counts == count).all(1) & ~long).nonzero()[:, 0]
            row = BLOCK * int(count.sum()) + self.listed
            many = max(1, PAIRS // max(1, BLOCK * row * self.lead))
            for rows in chosen.split(many):
                yield self._short(rows, count.tolist())

    def _runs(self, long: Tensor) -> Iterator[list[int]]:
        """Long rows next to each other, as many together as a tile holds."""
        row = sum(self.keys) + self.listed
        most = max(1, min(TOGETHER, PAIRS // (BLOCK * row * self.lead)))
        cut = self.queries // BLOCK if self.queries % BLOCK else -1
        run: list[int] = []
        for row in long.nonzero()[:, 0].tolist():
            if run and (len(run) == most or row != run[-1] + 1 or row == cut):
                yield run
                run = []
            run.append(row)
        if run:
            yield run

    def _long(self, run: list[int]) -> Tile:
        """A run of query blocks with every key that one of them may see."""
        rows = torch.arange(run[0] * BLOCK, min((run[-1] + 1) * BLOCK, self.queries))
        keys, is_open = [], True
        for n, (classes, size) in enumerate(zip(self.classes, self.keys, strict=True), start=1):
            part = classes[run]
            blocks = (part != EMPTY).any(0).nonzero()[:, 0]
            is_open &= bool((part[:, blocks] == FULL).all())
            places = _tokens(blocks).flatten()
            keys.append(self._placed(n, places[places < size][None]))
        return Tile(self._placed(0, rows[None]), tuple(keys), (None,) * len(keys), is_open)

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
        return Tile(self._placed(0, _tokens(rows)), tuple(keys), tuple(there), is_open)


def _order(args: Sequence[Any], places: tuple[int, ...]) -> Tensor | None:
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
    return blocks[..., None] * BLOCK + torch.arange(BLOCK)


class _Recomputed(torch.autograd.Function):
    """Tiles one after the other; the backward computes each again."""

    @staticmethod
    def forward(ctx: Any, owner: TiledAttend, tiles: list[Tile], *args: Any) -> tuple[Tensor, ...]:
        places = [n for n, item in enumerate(args) if isinstance(item, Tensor)]
        ctx.save_for_backward(*(args[n] for n in places))
        ctx.owner, ctx.tiles, ctx.places = owner, tiles, places
        ctx.others = [None if n in places else item for n, item in enumerate(args)]
        kind = args[places[0]].device.type
        ctx.autocast = (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        return owner.assembled(tiles, [owner.run(tile, args) for tile in tiles], args)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        args = list(ctx.others)
        for place, item in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[place] = item
        wanted = [n for n in range(len(args)) if ctx.needs_input_grad[n + 2]]
        kind, enabled, dtype = ctx.autocast
        with torch.autocast(kind, dtype=dtype, enabled=enabled):
            batched = any(map(torch._C._functorch.is_legacy_batchedtensor, grads))
            if torch.is_grad_enabled() or batched:
                found = _differentiable(ctx.owner, ctx.tiles, args, wanted, grads)
            else:
                found = _accumulated(ctx.owner, ctx.tiles, args, wanted, grads)
        by_place = dict(zip(wanted, found, strict=True))
        return None, None, *(by_place.get(n) for n in range(len(args)))


def _differentiable(
    owner: TiledAttend,
    tiles: list[Tile],
    args: list[Any],
    wanted: list[int],
    grads: Sequence[Tensor],
) -> Sequence[Tensor | None]:
    """Gradients that can be differentiated again, or are asked for in batches; holds all tiles.

    Of aliases: one argument may be computed from another, which is no business of the tiles.
    """
    with torch.enable_grad():
        args = [item.view_as(item) if isinstance(item, Tensor) else item for item in args]
        made = owner.assembled(tiles, [owner.run(tile, args) for tile in tiles], args)
    inputs = [args[n] for n in wanted]
    return torch.autograd.grad(made, inputs, grads, create_graph=True, allow_unused=True)


def _accumulated(
    owner: TiledAttend,
    tiles: list[Tile],
    args: list[Any],
    wanted: list[int],
    grads: Sequence[Tensor],
) -> list[Tensor]:
    """Gradients added up tile by tile."""
    layout = owner.layout
    totals = [torch.zeros_like(args[n]) for n in wanted]
    for tile in tiles:
        taken = [
            item.detach() if isinstance(item, Tensor) else item for item in owner.taken(tile, args)
        ]
        leaves = [taken[n].requires_grad_() for n in wanted]
        with torch.enable_grad():
            made = owner.computed(tile, taken)
        outer = [
            _of_tile(grad, axes, layout, tile)
            for grad, axes in zip(grads, layout.results, strict=True)
        ]
        pairs = [(item, grad) for item, grad in zip(made, outer, strict=True) if item.requires_grad]
        if not pairs:
            continue
        found = torch.autograd.grad(
            [item for item, _ in pairs], leaves, [grad for _, grad in pairs], allow_unused=True
        )
        for total, n, grad in zip(totals, wanted, found, strict=True):
            if grad is not None:
                _give_back(total, grad, layout.inputs[n], layout, tile)
    return totals


def _of_tile(grad: Tensor, axes: tuple[str, ...], layout: Layout, tile: Tile) -> Tensor:
    """The gradient of a result for the rows of a tile, in its layout."""
    block, query = axes.index(layout.block), axes.index(layout.query)
    rows = grad.index_select(query - 1, tile.rows.flatten())
    blocks: Tensor = rows.unflatten(query - 1, tile.rows.shape)
    return blocks.movedim(query - 1, block)
