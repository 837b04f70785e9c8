"""What orders tokens: the largest, the best, sorts and the ranks in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...dsl.core import Axis, Choose, Node, Rank, Sort, Top
from .. import torch_ops as ops
from .emitter import Value, by_rank
from .layout import flattened, ordered, unflattened

if TYPE_CHECKING:
    from .dense import Dense


def _competitors(
    e: Dense, arg: Node, where: Node | None, axis: Axis
) -> tuple[Any, Any, tuple[Axis, ...], int]:
    value = e.lower(arg)
    mask = None if where is None else e.lower(where)
    axes = by_rank((*value.axes, *(mask.axes if mask else ()), axis))
    dims = value.dims
    there = None if mask is None else e.full(mask, axes, dims)
    return e.expand(value, axes), there, axes, dims


def top(e: Dense, node: Top) -> Value:
    """Refs to the n largest along an axis, largest first."""
    value, mask, axes, dims = _competitors(e, node.arg, node.where, node.axis)
    assert node.made.size is not None
    made = e.call(ops.top, value, node.made.size.value, axes.index(node.axis), mask)
    return e.arrange(made, [node.made if a == node.axis else a for a in axes], dims)


def choose(e: Dense, node: Choose) -> Value:
    """The ref to the largest or smallest along an axis or the only feature dim."""
    smallest = node.op == "argmin"
    if node.axis is None:
        arg, where = e.lower(node.arg), node.where
        if where is None:
            return Value(e.call(ops.choose, arg.node, -1, None, smallest), arg.axes, 0)
        mask = e.lower(where)
        axes = by_rank((*arg.axes, *mask.axes))
        made = e.call(ops.choose, e.full(arg, axes, 1), -1, e.full(mask, axes, 1), smallest)
        return Value(made, axes, 0)
    value, mask, axes, dims = _competitors(e, node.arg, node.where, node.axis)
    place = axes.index(node.axis) - len(axes) - dims
    made = e.call(ops.choose, value, place, mask, smallest)
    return Value(made, tuple(a for a in axes if a != node.axis), dims)


def sort(e: Dense, node: Sort) -> Value:
    """The order of tokens by some keys."""
    keys = [e.lower(key) for key in node.keys]
    axes = by_rank(axis for key in keys for axis in (*key.axes, *node.axes))
    rest = tuple(axis for axis in axes if axis not in node.axes)
    flat = []
    for key in keys:
        spread = Value(e.expand(key, axes), axes)
        moved = ordered(e, spread, (*rest, *node.axes))
        flat.append(flattened(e, moved, len(rest), len(node.axes)))
    made = e.call(ops.sort_order, flat)
    return e.arrange(made, (*rest, node.made), 0)


def rank(e: Dense, node: Rank) -> Value:
    """The place that each token took in a sort."""
    sort = node.sort
    assert isinstance(sort, Sort)
    order = e.lower(sort)
    rest = tuple(axis for axis in order.axes if axis != sort.made)
    moved = ordered(e, order, (*rest, sort.made))
    made = e.call(ops.inverse_order, moved)
    made = unflattened(e, made, len(rest), sort.axes)
    return e.arrange(made, (*rest, *sort.axes), 0)
