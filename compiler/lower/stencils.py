"""Stencils: a kernel moved along axes, which may mix the heads."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

from ...dsl.core import Stencil
from .. import torch_ops as ops
from .emitter import Value, by_rank
from .layout import ordered

if TYPE_CHECKING:
    from .dense import Dense


def stencil(e: Dense, node: Stencil) -> Value:
    """A kernel moved along axes."""
    arg, kernel = e.lower(node.arg), e.lower(node.kernel)
    taps = len(node.axes)
    if node.channels is not None:
        rest = tuple(a for a in arg.axes if a not in node.axes and a != node.channels)
        moved = ordered(e, arg, (*rest, node.channels, *node.axes))
        made = e.call(ops.channel_stencil, moved, kernel.node, node.starts)
        return e.arrange(made, (*rest, node.channels, *node.axes), 0, arg.wide)
    rest = by_rank(axis for axis in (*arg.axes, *kernel.axes) if axis not in node.axes)
    moved = e.full(arg, by_rank((*rest, *node.axes)))
    order = by_rank((*rest, *node.axes))
    full = Value(moved, order, arg.dims, arg.wide)
    value = ordered(e, full, (*rest, *node.axes))
    if arg.dims:
        places = range(len(rest), len(rest) + taps)
        dims = range(len(rest) + taps, len(rest) + taps + arg.dims)
        value = e.method("permute", value, *range(len(rest)), *dims, *places)
    weight = e.full(kernel, rest)
    if arg.dims:
        slots = [slice(None)] * len(rest) + [None] * arg.dims + [slice(None)] * taps
        weight = e.call(operator.getitem, weight, tuple(slots))
    made = e.call(ops.stencil, value, weight, node.starts)
    if arg.dims:
        places = range(len(rest) + arg.dims, len(rest) + arg.dims + taps)
        dims = range(len(rest), len(rest) + arg.dims)
        made = e.method("permute", made, *range(len(rest)), *places, *dims)
    return e.arrange(made, (*rest, *node.axes), arg.dims, arg.wide)
