"""Reading along an axis or a feature dim, at an index with axes of its own."""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING

from ...dsl.core import AtDistance, Axis, Const, Index, KvHead, Map, Node, Range, Read, ReadDim
from ...dsl.intervals import bounds
from .. import torch_ops as ops
from .emitter import Value, by_rank
from .layout import flattened, ordered, same_size, unflattened

if TYPE_CHECKING:
    from .dense import Dense


def _plain_index(node: Node) -> Axis | None:
    """The axis of an index that reads every token at its own place."""
    while isinstance(node, Map) and node.op == "as_ref":
        node = node.args[0]
    return node.axis if isinstance(node, Index) else None


def read(e: Dense, node: Read) -> Value:
    """The argument read along one axis; a rename where every token is read at its own place."""
    if isinstance(node.arg, Read) and _is_pair(node, node.arg):
        return _read_pair(e, node, node.arg)
    arg = e.lower(node.arg)
    if node.axis not in arg.axes:
        return arg
    renamed = _plain_index(node.index)
    if renamed is not None and renamed not in arg.axes:
        return e.renamed(arg, node.axis, renamed)
    if isinstance(node.index, KvHead):
        return _read_heads(e, node, arg, node.index)
    if isinstance(node.index, Const) and _is_place(node.index, node.axis):
        return _read_place(e, arg, node.axis, int(node.index.value))
    index = e.lower(node.index)
    checked = bounds(node.index, e.spec)[0] < 0 or may_be_beyond(node.index)
    return read_at(e, arg, node.axis, index, checked)


def _is_pair(outer: Read, inner: Read) -> bool:
    """Whether two reads in a row go along together, so that one alone would read all pairs."""
    both = outer.index.type.axes & inner.index.type.axes
    together = any(axis.role == "token" and axis not in inner.arg.type.axes for axis in both)
    plain = any(
        isinstance(item.index, KvHead) or _plain_index(item.index) for item in (outer, inner)
    )
    return together and not plain and {outer.axis, inner.axis} <= inner.arg.type.axes


def _read_pair(e: Dense, outer: Read, inner: Read) -> Value:
    """Two axes read at once: one axis of both, at the row-major place."""
    arg = e.lower(inner.arg)
    if not {outer.axis, inner.axis} <= set(arg.axes):
        return read_at(e, e.lower(inner), outer.axis, e.lower(outer.index), checked=True)
    rest = tuple(axis for axis in arg.axes if axis not in (outer.axis, inner.axis))
    moved = ordered(e, arg, (*rest, inner.axis, outer.axis))
    first, second = e.lower(inner.index), e.lower(outer.index)
    axes = by_rank((*first.axes, *second.axes))
    sizes = (e.size(inner.axis), e.size(outer.axis))
    places = e.call(ops.flat_place, e.align(first, axes), e.align(second, axes), *sizes)
    merged = replace(outer.axis, name=f"{inner.axis}, {outer.axis}")
    flat = Value(e.method("flatten", moved, len(rest), len(rest) + 1), (*rest, merged), arg.dims)
    found = read_at(e, flat, merged, Value(places, axes), checked=True)
    return replace(found, wide=arg.wide)


def may_be_beyond(index: Node) -> bool:
    """Whether a ref is made by arithmetic (`token`), which may name a place after the last one."""
    if not isinstance(index, Map):
        return isinstance(index, Read) and may_be_beyond(index.arg)
    if index.op == "as_ref":
        return _plain_index(index) is None
    return any(may_be_beyond(arg) for arg in index.args)


def _is_place(index: Const, axis: Axis) -> bool:
    return axis.size is not None and 0 <= index.value < axis.size.value


def _read_place(e: Dense, arg: Value, axis: Axis, place: int) -> Value:
    """An argument at one place of an axis of fixed size."""
    made = e.method("select", arg.node, arg.axes.index(axis), place)
    rest = tuple(item for item in arg.axes if item != axis)
    return Value(made, rest, arg.dims, arg.wide)


def _read_heads(e: Dense, node: Read, arg: Value, index: KvHead) -> Value:
    heads, groups = index.axis, node.axis
    if same_size(heads, groups):
        return e.renamed(arg, groups, heads)
    place = arg.axes.index(groups)
    made = e.call(ops.expand_heads, arg.node, e.size(heads), place)
    axes = [heads if axis == groups else axis for axis in arg.axes]
    return e.arrange(made, axes, arg.dims, arg.wide)


def read_at(e: Dense, arg: Value, axis: Axis, index: Value, checked: bool) -> Value:
    """arg along an axis read at an index with axes of its own."""
    if arg.axes == (axis,):
        made = e.call(ops.take, arg.node, e.tensor(index), checked)
        return Value(made, index.axes, arg.dims, arg.wide)
    rest = tuple(item for item in arg.axes if item != axis)
    fresh = tuple(item for item in index.axes if item not in rest)
    common = tuple(item for item in rest if item in index.axes)
    order = (*rest, axis)
    moved = ordered(e, arg, order)
    at = ordered(e, index, (*common, *fresh))
    at = flattened(e, at, len(common), len(fresh))
    slots = [slice(None) if item in common else None for item in rest] + [slice(None)]
    slots += [None] * arg.dims
    if any(item is None for item in slots):
        at = e.call(operator.getitem, at, tuple(slots))
    made = e.call(ops.take_along, moved, at, len(rest), checked)
    made = unflattened(e, made, len(rest), fresh)
    return e.arrange(made, (*rest, *fresh), arg.dims, arg.wide)


def at_distance(e: Dense, node: AtDistance) -> Value:
    """The argument read at the distance of each pair."""
    arg = e.lower(node.arg)
    rows, keys = e.index(node.query), e.index(node.key)
    outer = by_rank(axis for axis in (*rows.axes, *keys.axes) if axis not in (node.query, node.key))
    found = [
        ordered(e, value, (*(axis for axis in outer if axis in value.axes), axis))
        for value, axis in ((rows, node.query), (keys, node.key))
    ]
    places = e.arrange(e.call(ops.apart, *found), (*outer, node.query, node.key), 0)
    return read_at(e, arg, node.axis, places, checked=False)


def _first_of_run(index: Node) -> int | None:
    """Where an index starts that counts up from a constant."""
    match index:
        case Range():
            return 0
        case Map(op="+", args=(Range(), Const(value=int() as first))) if first >= 0:
            return first
    return None


def read_dim(e: Dense, node: ReadDim) -> Value:
    """The argument read along its first feature dim."""
    arg, index = e.lower(node.arg), e.lower(node.index)
    if index.is_number:
        made = e.method("select", arg.node, len(arg.axes), index.node)
        return Value(made, arg.axes, arg.dims - 1, arg.wide)
    first = _first_of_run(node.index)
    if first is not None:
        size = node.index.type.dims[0].value
        made = e.method("narrow", arg.node, len(arg.axes), first, size)
        return Value(made, arg.axes, arg.dims, arg.wide)
    if not arg.axes:
        made = e.call(ops.take, arg.node, e.tensor(index), False)
        return Value(made, index.axes, index.dims + arg.dims - 1, arg.wide)
    fresh = tuple(item for item in index.axes if item not in arg.axes)
    common = tuple(item for item in arg.axes if item in index.axes)
    at = ordered(e, index, (*common, *fresh))
    count = len(fresh) + index.dims
    at = flattened(e, at, len(common), count)
    slots = [slice(None) if item in common else None for item in arg.axes] + [slice(None)]
    slots += [None] * (arg.dims - 1)
    if any(item is None for item in slots):
        at = e.call(operator.getitem, at, tuple(slots))
    place = len(arg.axes)
    made = e.call(ops.take_along, arg.node, at, place, False)
    if count == 0:
        made = e.method("squeeze", made, place)
    elif count > 1:
        sizes = [e.size(axis) for axis in fresh] + [dim.value for dim in node.index.type.dims]
        made = e.method("unflatten", made, place, tuple(sizes))
    return e.arrange(made, (*arg.axes, *fresh), index.dims + arg.dims - 1, arg.wide)
