"""Shape: feature dims joined, split and exchanged, and axes that become dims and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from ...dsl.core import AxisToDim, ConcatDims, DimToAxis, Reshape, Split, StackAxis, Transpose
from .. import torch_ops as ops
from .emitter import Value, by_rank
from .layout import ordered

if TYPE_CHECKING:
    from .dense import Dense


def concat(e: Dense, node: ConcatDims) -> Value:
    """Arrays joined along their first feature dim."""
    return joined(e, [e.lower(arg) for arg in node.args])


def joined(e: Dense, args: Sequence[Value]) -> Value:
    """The same of what is lowered already."""
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    made = e.call(torch.cat, [e.expand(arg, axes) for arg in args], -dims)
    return Value(made, axes, dims, any(arg.wide for arg in args))


def axis_to_dim(e: Dense, node: AxisToDim) -> Value:
    """An index axis as the first feature dim."""
    arg = e.lower(node.arg)
    if node.axis not in arg.axes:
        arg = Value(
            e.expand(arg, by_rank((*arg.axes, node.axis))),
            by_rank((*arg.axes, node.axis)),
            arg.dims,
            arg.wide,
        )
    rest = tuple(axis for axis in arg.axes if axis != node.axis)
    moved = ordered(e, arg, (*rest, node.axis))
    return Value(moved, rest, arg.dims + 1, arg.wide)


def dim_to_axis(e: Dense, node: DimToAxis) -> Value:
    """The first feature dim as an index axis."""
    arg = e.lower(node.arg)
    return e.arrange(e.tensor(arg), (*arg.axes, node.axis), arg.dims - 1, arg.wide)


def reshape(e: Dense, node: Reshape) -> Value:
    """Other feature dims of the same total size."""
    arg = e.lower(node.arg)
    made = e.tensor(arg)
    if arg.dims > 1:
        made = e.method("flatten", made, -arg.dims)
    if len(node.type.dims) > 1:
        made = e.method("unflatten", made, -1, [dim.value for dim in node.type.dims])
    return Value(made, arg.axes, len(node.type.dims), arg.wide)


def transpose(e: Dense, node: Transpose) -> Value:
    """The last two feature dims exchanged."""
    arg = e.lower(node.arg)
    return Value(e.method("transpose", arg.node, -1, -2), arg.axes, arg.dims, arg.wide)


def stack_axis(e: Dense, node: StackAxis) -> Value:
    """Arrays at the places of a new axis."""
    args = [e.lower(arg) for arg in node.args]
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    made = e.call(torch.stack, [e.expand(arg, axes) for arg in args], len(axes))
    return e.arrange(made, (*axes, node.axis), dims, any(arg.wide for arg in args))


def split(e: Dense, node: Split) -> Value:
    """The members of each window along an axis of their own."""
    arg = e.lower(node.arg)
    assert node.member.size is not None
    if node.axis not in arg.axes:
        full = by_rank((*arg.axes, node.axis))
        arg = Value(e.expand(arg, full), full, arg.dims, arg.wide)
    place = arg.axes.index(node.axis)
    made = e.call(
        ops.split_windows, arg.node, place, e.size(node.made), node.member.size.value, node.stride
    )
    axes = [*arg.axes[:place], node.made, node.member, *arg.axes[place + 1 :]]
    return e.arrange(made, axes, arg.dims, arg.wide)
