"""Shape: feature dims joined, moved and made, and index axes that become dims and back."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from ..core import (
    Axis,
    AxisToDim,
    ConcatDims,
    DimToAxis,
    Eye,
    Kind,
    Node,
    Range,
    Reshape,
    Transpose,
    Type,
)
from ..sizes import Size, constant
from .arguments import Arguments
from .expressions import node_of
from .reading import read_plain
from .reductions import over
from .typing import TypeMistake, fill, integer, pointwise, real, union, with_heads
from .values import Value


def concat(a: Arguments) -> Value:
    """First feature dims joined, or an index axis joined into the dims."""
    if a.get("over") is not None:
        if len(a.args) != 1:
            raise TypeMistake("ATT412", "`concat(e, over=axis)` takes one argument")
        return merge(a, a.node(0))
    nodes = with_heads(a.nodes())
    if any(not node.type.dims for node in nodes):
        raise TypeMistake("ATT502", "`concat` joins feature dims; an argument has none")
    rest = nodes[0].type.dims[1:]
    if any(node.type.dims[1:] != rest for node in nodes):
        raise TypeMistake("ATT502", "all dims but the first must agree in `concat`")
    if any(node.type.kind is Kind.REAL for node in nodes):
        nodes = tuple(real(node) for node in nodes)
    first = reduce(lambda left, right: left + right, (node.type.dims[0] for node in nodes))
    return ConcatDims(Type(nodes[0].type.kind, union(nodes), (first, *rest)), nodes)


def merge(a: Arguments, arg: Node) -> Node:
    """Index axes join the feature dims, the last named outermost, all flattened to one."""
    for axis in over(a, arg).axes:
        arg = axis_to_dim(arg, axis)
    total = reduce(lambda left, right: left * right, arg.type.dims, constant(1))
    return arg if len(arg.type.dims) == 1 else reshape(arg, (total,))


def axis_to_dim(arg: Node, axis: Axis) -> Node:
    """An index axis of static size becomes the first feature dim."""
    if axis.size is None:
        raise TypeMistake("ATT505", f"axis `{axis}` has no static size")
    dims = (axis.size, *arg.type.dims)
    return AxisToDim(Type(arg.type.kind, arg.type.axes - {axis}, dims), arg, axis)


def reshape(arg: Node, dims: tuple[Size, ...]) -> Node:
    """Feature dims reshaped."""
    return Reshape(Type(arg.type.kind, arg.type.axes, dims), arg)


def matrix(a: Arguments) -> Value:
    """Index axes become the first feature dims, in the order written."""
    arg = a.node(0)
    for item in reversed(a.args[1:]):
        found = a.e.axes_of(item, a.env, arg)
        if not isinstance(found, tuple):
            raise TypeMistake("ATT505", "`matrix` moves index axes")
        for axis in reversed(found):
            arg = axis_to_dim(arg, axis)
    return arg


def unmatrix(a: Arguments) -> Value:
    """The first feature dims become index axes, in the order written."""
    arg = a.node(0)
    for item in a.args[1:]:
        found = a.e.axes_of(item, a.env, None)
        if not isinstance(found, tuple):
            raise TypeMistake("ATT505", "`unmatrix` makes index axes")
        for axis in found:
            if not arg.type.dims or arg.type.dims[0] != axis.size:
                raise TypeMistake(
                    "ATT502", f"the first dim of {arg.type} has not the size of axis `{axis}`"
                )
            result = Type(arg.type.kind, arg.type.axes | {axis}, arg.type.dims[1:])
            arg = DimToAxis(result, arg, axis)
    return arg


def transpose(a: Arguments) -> Value:
    """The last two feature dims exchanged."""
    arg = a.node(0)
    if len(arg.type.dims) < 2:
        raise TypeMistake("ATT502", f"`transpose` exchanges two feature dims: {arg.type}")
    *rest, first, second = arg.type.dims
    return Transpose(Type(arg.type.kind, arg.type.axes, (*rest, second, first)), arg)


def roll(a: Arguments) -> Value:
    """roll(e, n)[p] = e[(p - n) % size]: a read of the first dim."""
    arg = a.node(0)
    shift = integer(node_of(a.e, a.args[1], a.env))
    if not arg.type.dims:
        raise TypeMistake("ATT502", "`roll` turns the first feature dim; there is none")
    size = arg.type.dims[0]
    place = pointwise("%", pointwise("-", range_node(size), shift), a.e.size_const(size))
    return read_plain(a.e, arg, place, a.args[1], a.env)


def range_node(size: Size) -> Node:
    """0 .. size-1 along a feature dim."""
    return Range(Type(Kind.INT, frozenset(), (size,)))


def range_of(a: Arguments) -> Value:
    """0 .. n-1 along a feature dim."""
    return range_node(a.e.count(a.args[0], a.env))


def eye(a: Arguments) -> Value:
    """The identity matrix."""
    size = a.e.count(a.args[0], a.env)
    return Eye(Type(Kind.REAL, frozenset(), (size, size)))


def filled(value: float) -> Callable[[Arguments], Value]:
    """An array of one value, of the shape that the arguments give."""

    def apply(a: Arguments) -> Value:
        axes, dims = a.e.shape(a.args, a.env)
        return fill(value, frozenset(axes), dims)

    return apply
