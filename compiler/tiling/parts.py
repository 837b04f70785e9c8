"""From whole arrays to those of a tile, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .layout import Input, Layout, Span, Tile


def flattened(value: Tensor, axes: tuple[str, ...], layout: Layout) -> Tensor:
    """A result of a tile with block and query as one dim."""
    block, query = axes.index(layout.block), axes.index(layout.query)
    moved: Tensor = value.movedim(block, query - 1)
    return moved.flatten(query - 1, query)


def _places(
    value: Tensor, item: Input, layout: Layout, tile: Tile
) -> tuple[dict[str, Span], dict[str, Tensor | None]]:
    """What a tile takes along the axes of an argument: spans, and else places or None for all."""
    keys: dict[str, Tensor | Span | None] = dict(zip(layout.keys, tile.keys, strict=True))
    for axis, key in layout.apart:
        if axis in item.axes:
            distances = value.size(item.axes.index(axis))
            keys[axis] = _between(tile, keys.get(key), distances)
    spans = {
        axis: places
        for axis, places in keys.items()
        if isinstance(places, Span) and axis in item.axes
    }
    listed: dict[str, Tensor | None] = {
        axis: places
        for axis, places in keys.items()
        if not isinstance(places, Span) and axis in item.axes
    }
    if layout.query in item.axes:
        listed[layout.query] = tile.rows
    return spans, listed


def _between(tile: Tile, keys: Tensor | Span | None, distances: int) -> Tensor | Span | None:
    """The distances of rows and keys: those of query n and key m are at N - 1 - n + m."""
    if keys is None and tile.rows.size(1) == tile.queries:
        return None  # all of them, also while numbers are not known
    if keys is None:
        keys = Span(0, distances - tile.queries)
    if isinstance(keys, Tensor):
        if keys.numel() == 0:
            return keys[:, :0]
        nearest, farthest = keys.amin(1), keys.amax(1)
    else:
        nearest = farthest = tile.rows.new_full((len(tile.rows),), keys.start)
        farthest = farthest + (keys.size - 1)
    first = tile.queries - 1 - tile.rows.amax(1) + nearest
    size = int((tile.queries - tile.rows.amin(1) + farthest - first).amax())
    if len(first) == 1:
        return Span(int(first), size)
    places = first[:, None] + torch.arange(size, device=first.device)
    return places.clamp(max=distances - 1)


def _narrowed(value: Tensor, item: Input, spans: dict[str, Span]) -> Tensor:
    """A view of the spans."""
    for axis, span in spans.items():
        value = value.narrow(item.axes.index(axis), span.start, span.size)
    return value


def part_of(value: Any, item: Input, layout: Layout, tile: Tile) -> Any:
    """The part of an argument that a tile sees, in the layout of the tile."""
    if not isinstance(value, Tensor):
        return value
    spans, chosen = _places(value, item, layout, tile)
    if not (spans or chosen):
        return value
    value = _narrowed(value, item, spans)
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
        value = _chosen(value, dim, places)
        labels.insert(dim, layout.block)
    else:
        value = value.unsqueeze(0)
        labels.insert(0, layout.block)
    return _ordered(value, labels, item.inner)


def _chosen(value: Tensor, dim: int, places: Tensor) -> Tensor:
    """The places of each block along a dim, with a dim for the blocks before it."""
    if places.numel() == 0:  # index_select refuses to take nothing of nothing
        taken = value.narrow(dim, 0, 0)
    else:
        taken = value.index_select(dim, places.flatten())
    blocks: Tensor = taken.unflatten(dim, places.shape)
    return blocks


def _pairs(first: Tensor | None, second: Tensor | None) -> tuple[Tensor, Tensor]:
    """Places along two dims, as an index of (blocks, first, second)."""
    assert first is not None
    assert second is not None
    return first[:, :, None], second[:, None, :]


def give_back(total: Tensor, grad: Tensor, item: Input, layout: Layout, tile: Tile) -> None:
    """Add the gradient of a tile's argument to that of the whole argument."""
    spans, chosen = _places(total, item, layout, tile)
    listed = [axis for axis, places in chosen.items() if places is not None]
    total = _narrowed(total, item, spans)
    if not (spans or chosen):
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
        total += _ordered(grad, item.inner, [layout.block, *item.axes]).squeeze(0)


def _ordered(value: Tensor, labels: Sequence[str], wanted: Sequence[str]) -> Tensor:
    order = [labels.index(axis) for axis in wanted]
    return value.permute(*order, *range(len(order), value.dim()))


def of_tile(grad: Tensor, axes: tuple[str, ...], layout: Layout, tile: Tile) -> Tensor:
    """The gradient of a result for the rows of a tile, in its layout."""
    block, query = axes.index(layout.block), axes.index(layout.query)
    rows = grad.index_select(query - 1, tile.rows.flatten())
    blocks: Tensor = rows.unflatten(query - 1, tile.rows.shape)
    return blocks.movedim(query - 1, block)
