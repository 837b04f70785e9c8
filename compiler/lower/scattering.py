"""What sends values elsewhere: sums by label, and values back to where they came from."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import Scatter, Segment
from .. import torch_ops as ops
from .emitter import Value, by_rank
from .layout import ordered, unflattened

if TYPE_CHECKING:
    from .dense import Dense


def segment(e: Dense, node: Segment) -> Value:
    """Sums or means of the values of each label."""
    arg, label = e.lower(node.arg), e.lower(node.label)
    made_axis = node.label.type.ref
    assert made_axis is not None
    axes = by_rank((*arg.axes, *label.axes, *node.axes))
    rest = tuple(axis for axis in axes if axis not in node.axes)
    value = Value(e.expand(Value(e.tensor(arg), arg.axes, arg.dims), axes), axes, arg.dims)
    place = Value(e.expand(label, axes), axes)
    mode = "mean" if node.op == "mean" else "add"
    moved = ordered(e, value, (*rest, *node.axes))
    at = ordered(e, place, (*rest, *node.axes))
    made = e.call(
        ops.scatter_along, moved, at, len(rest), len(node.axes), e.size(made_axis), mode, 0.0
    )
    return e.arrange(made, (*rest, made_axis), arg.dims, arg.wide)


def scatter(e: Dense, node: Scatter) -> Value:
    """Values over chosen tokens sent to the places that their refs name."""
    arg = e.lower(node.arg)
    places = [e.lower(target) for target in node.targets]
    axes = by_rank((*arg.axes, *(a for place in places for a in place.axes), *node.source_axes))
    rest = tuple(axis for axis in axes if axis not in node.source_axes)
    sizes = [e.size(axis) for axis in node.axes]
    flat: Any = None
    there: Any = None
    for place, size in zip(places, sizes, strict=True):
        item = e.expand(place, axes)
        absent = e.call(operator.ge, item, 0)
        there = absent if there is None else e.call(operator.and_, there, absent)
        flat = (
            item if flat is None else e.call(operator.add, e.call(operator.mul, flat, size), item)
        )
    index = Value(e.call(torch.where, there, flat, -1), axes)
    value = Value(e.expand(arg, axes), axes, arg.dims)
    moved = ordered(e, value, (*rest, *node.source_axes))
    at = ordered(e, index, (*rest, *node.source_axes))
    total: Any = sizes[0]
    for size in sizes[1:]:
        total = e.call(operator.mul, total, size)
    made = e.call(
        ops.scatter_along, moved, at, len(rest), len(node.source_axes), total, node.mode, node.eps
    )
    made = unflattened(e, made, len(rest), node.axes)
    return e.arrange(made, (*rest, *node.axes), arg.dims, arg.wide)
