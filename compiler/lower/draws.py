"""Random numbers: a draw depends on its name and on the logical place of each element only."""

from __future__ import annotations

import operator
import zlib
from typing import TYPE_CHECKING, Any

from ...dsl.core import Axis, Draw, Dropout
from .. import torch_ops as ops
from .emitter import Value

if TYPE_CHECKING:
    from .dense import Dense


def key_of(name: str) -> int:
    """A number for the name of a draw, the same everywhere."""
    return zlib.crc32(name.encode()) * 0x9E3779B1 + 1


def places_of(e: Dense, axes: tuple[Axis, ...], dims: tuple[int, ...]) -> list[Any]:
    """The logical index of every element, one broadcasting tensor per axis and dim."""
    found = []
    order = axes
    for axis in e.logical(axes):
        value = e.position(axis) if _is_stream(axis) else e.index(axis)
        found.append(e.full(value, order, len(dims)))
    for n, size in enumerate(dims):
        slots = [None] * (len(axes) + len(dims))
        place = e.call(ops.positions, e.like(), size)
        index: list[Any] = list(slots)
        index[len(axes) + n] = slice(None)
        found.append(e.call(operator.getitem, place, tuple(index)))
    return found


def _is_stream(axis: Axis) -> bool:
    return axis.role == "head" or axis.base in ("x", "context")


def dropout(e: Dense, node: Dropout) -> Value:
    """Elements zeroed at random in training."""
    arg = e.lower(node.arg)
    if not e.program.signature.training:
        return arg
    dims = tuple(dim.value for dim in node.type.dims)
    kept = e.call(
        ops.keep, e.inputs["call"], key_of(node.name), node.rate, places_of(e, arg.axes, dims)
    )
    return Value(e.call(ops.drop, arg.node, kept, node.rate), arg.axes, arg.dims, arg.wide)


def draw(e: Dense, node: Draw) -> Value:
    """Random numbers, the same wherever and in whatever chunks they are drawn."""
    axes = node.type.ordered
    dims = tuple(dim.value for dim in node.type.dims)
    if node.name in e.inputs:
        return Value(e.inputs[node.name], axes, len(dims))
    seed = e.inputs["call"] if node.per_call else e.inputs["seed"]
    places = places_of(e, axes, dims)
    made = e.call(ops.draw, seed, key_of(node.name), node.dist, places, e.real_like())
    return Value(made, axes, len(dims), True)
