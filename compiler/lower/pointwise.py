"""Pointwise operators, and the softmax that some of them together are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import fx

from ...dsl.core import Kind, Map
from ...dsl.operators import POINTWISE
from .. import torch_ops as ops
from ..normalizer import may_be_absent, softmax_argument
from ..torch_meanings import function_of
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def pointwise(e: Dense, node: Map) -> Value:
    """An operator applied to operands that are aligned first."""
    softmax = _as_softmax(e, node)
    if softmax is not None:
        return softmax
    args = [e.lower(arg) for arg in node.args]
    axes = by_rank(axis for arg in args for axis in arg.axes)
    dims = max(arg.dims for arg in args)
    wide = any(arg.wide for arg in args)
    if node.op == "as_ref":
        return args[0]
    if node.op == "real":
        made: Any = args[0].node
        if args[0].is_number and not isinstance(made, fx.Node):
            return Value(float(made))
        return Value(e.call(ops.as_real, made, e.real_like()), axes, dims, True)
    nodes = [e.align(arg, axes, dims) for arg in args]
    is_scalar = not axes and not dims
    if is_scalar and POINTWISE[node.op].rule == "real":
        nodes = [e.call(ops.scalar, nodes[0], e.real_like()), *nodes[1:]]
    if node.op == "where":
        if all(arg.is_number for arg in args[1:]):
            nodes[1:] = [e.call(ops.scalar, item, e.real_like()) for item in nodes[1:]]
            wide |= node.type.kind is Kind.REAL
        if is_scalar:
            nodes[0] = e.call(ops.scalar, nodes[0], e.real_like())
    return Value(e.call(function_of(node.op), *nodes), axes, dims, wide)


def _as_softmax(e: Dense, node: Map) -> Value | None:
    """safe_div(exp(a - max a), sum exp(a - max a)) over one axis is torch's softmax."""
    found = softmax_argument(node)
    if found is None:
        return None
    arg, axis = found
    value = e.lower(arg)
    if axis not in value.axes:
        return None
    present = e.present.get(axis)
    if present is not None and not set(present.axes) <= set(value.axes):
        axes = by_rank((*value.axes, *present.axes))
        value = Value(e.full(value, axes), axes, value.dims, value.wide)
    place = value.axes.index(axis) - len(value.axes) - value.dims
    mask = None
    if present is not None:
        mask = e.full(present, value.axes)
    elif may_be_absent(arg):
        mask = e.call(ops.is_there, value.node, None)
    return Value(e.call(ops.softmax, value.node, mask, place), value.axes, value.dims, value.wide)
