"""Leaves: constants, parameters and arguments of the call, places, and fields of trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...dsl.core import (
    Arg,
    Const,
    Distances,
    Eye,
    Fill,
    Index,
    KvHead,
    Length,
    Param,
    Position,
    Range,
    Tree,
    Type,
    Valid,
)
from .. import torch_ops as ops
from .emitter import NotLowered, Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def const(e: Dense, node: Const) -> Value:
    """A plain number, which needs no node."""
    return Value(node.value)


def param(e: Dense, node: Param) -> Value:
    """A weight or state of the module, a carry, or an argument of the call."""
    axes = node.type.ordered
    if node.role == "carry":
        return e.carries[node.name]
    if node.role in ("weight", "buffer", "random"):
        value = e.parameter(node.name)
        info = e.spec.weights.get(node.name) or e.spec.states.get(node.name)
        declared = axes if info is None else info.axes  # that of a layer has none
        e.know(declared, value)
        return e.arrange(value, declared, len(node.type.dims))
    given = e.program.signature.given
    if node.name == "context" and "context" not in given:
        x = e.lower(Param(_like_x(node, e), "x", "stream"))
        return e.renamed(x, e.spec.sets["x"].axis, e.spec.sets["context"].axis)
    if node.name not in e.inputs:
        raise NotLowered(node, f"the call does not give `{node.name}`")
    return Value(e.inputs[node.name], axes, len(node.type.dims))


def _like_x(node: Param, e: Dense) -> Type:
    """The type of the context, over the tokens of x."""
    axes = (node.type.axes - {e.spec.sets["context"].axis}) | {e.spec.sets["x"].axis}
    return Type(node.type.kind, axes, node.type.dims)


def kv_head(e: Dense, node: KvHead) -> Value:
    """The key/value head of each head, h // (H / G), of the heads that are here."""
    assert node.type.ref is not None
    heads, groups = e.size(node.axis), e.size(node.type.ref)
    made = e.call(ops.group_of_heads, e.like(), heads, groups)
    return Value(made, (node.axis,))


def arg(e: Dense, node: Arg) -> Value:
    """The value that an argument stands for."""
    return e.lower(node.value)


def index(e: Dense, node: Index) -> Value:
    """Places 0 .. size-1 along an axis."""
    return e.index(node.axis)


def position(e: Dense, node: Position) -> Value:
    """Global positions along x, context or h."""
    return e.position(node.axis)


def distances(e: Dense, node: Distances) -> Value:
    """How far queries are behind keys, one number for all pairs of a difference."""
    ends = (node.query, node.key)
    sizes = [e.size(axis) for end in ends for axis in end.type.axes]
    starts = [e.offset(end.axis) if isinstance(end, Position) else 0 for end in ends]
    made = e.call(ops.distances, e.like(), *sizes, *starts)
    e.know((node.axis,), made)
    return Value(made, (node.axis,))


def length(e: Dense, node: Length) -> Value:
    """How many tokens an axis has."""
    return Value(e.size(node.axis))


def valid(e: Dense, node: Valid) -> Value:
    """Which tokens are there, as the call says."""
    name = "valid"
    if node.axis.base == "context" and "context_valid" in e.inputs:
        name = "context_valid"
    return Value(e.inputs[name], node.type.ordered)


def fill(e: Dense, node: Fill) -> Value:
    """A constant array, spread over axes and dims."""
    shape = [e.size(axis) for axis in node.type.ordered]
    shape += [dim.value for dim in node.type.dims]
    made = e.call(ops.filled, e.real_like(), tuple(shape), node.value)
    return Value(made, node.type.ordered, len(node.type.dims))


def range_dim(e: Dense, node: Range) -> Value:
    """0 .. n-1 along a feature dim."""
    return Value(e.call(ops.positions, e.like(), node.type.dims[0].value), (), 1)


def eye(e: Dense, node: Eye) -> Value:
    """The identity matrix."""
    return Value(e.call(ops.identity_matrix, e.real_like(), node.type.dims[0].value), (), 2)


def tree(e: Dense, node: Tree) -> Value:
    """How many nodes a tree has, the ref to one of them, or a field of all of them."""
    leaves = e.size(node.leaves)
    if node.which == "count":
        return Value(e.call(ops.tree_count, leaves, node.fanout, node.levels))
    if node.which == "node":
        level, place = (e.lower(arg) for arg in node.args)
        axes = by_rank((*level.axes, *place.axes))
        made = e.call(
            ops.tree_node,
            e.align(level, axes),
            e.align(place, axes),
            leaves,
            node.fanout,
            node.levels,
        )
        return Value(made, axes)
    made = e.call(ops.tree_field, e.like(), node.which, leaves, node.fanout, node.levels)
    return Value(made, (node.axis,))
