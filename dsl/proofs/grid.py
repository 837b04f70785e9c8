"""Predicates at many tokens at once, exactly: numpy arrays of int64 that may not overflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from ..core import Axis, Const, Fill, Index, Kind, KvHead, Length, Map, Node, Position, Read
from .worlds import NotInWorld

Array: TypeAlias = Any
LARGEST = 2**62


class Grid:
    """Values of nodes where each axis has an array of places; arrays broadcast.

    Raises:
        NotInWorld: a value follows from data, or would not fit.
    """

    def __init__(self, places: Mapping[Axis, Array], lengths: Mapping[Axis, int]) -> None:
        self.places = places
        self.lengths = lengths
        self.known: dict[Node, Array] = {}

    def value(self, node: Node) -> Array:
        """The values of an int or bool node."""
        if node not in self.known:
            self.known[node] = self._value(node)
        return self.known[node]

    def _value(self, node: Node) -> Array:
        match node:
            case Const(value=value) | Fill(value=value) if node.type.kind is not Kind.REAL:
                if abs(int(value)) > LARGEST:
                    raise NotInWorld(node)
                return np.bool_(value) if node.type.kind is Kind.BOOL else np.int64(value)
            case Index(axis=axis) | Position(axis=axis) if axis in self.places:
                return self.places[axis]
            case Length(axis=axis) if axis in self.lengths:
                return np.int64(self.lengths[axis])
            case KvHead(axis=axis) if axis in self.places:
                return self.places[axis] // _group(node)
            case Map() if all(item.type.kind is not Kind.REAL for item in (node, *node.args)):
                return self._map(node)
            case Read():
                return self._read(node)
            case _:
                raise NotInWorld(node)

    def _read(self, node: Read) -> Array:
        """f[e] is f at the places e, and 0 where e is -1; `Unpadded` has seen to what is beyond."""
        index = self.value(node.index)
        inner = Grid({**self.places, node.axis: np.maximum(index, 0)}, self.lengths)
        return np.where(index >= 0, inner.value(node.arg), 0).astype(
            bool if node.type.kind is Kind.BOOL else np.int64
        )

    def _map(self, node: Map) -> Array:
        args = [self.value(arg) for arg in node.args]
        if node.op in ("+", "-", "*", "neg", "abs", "ceil_div"):
            _check_size(node, args)
        if node.op in ("//", "%", "ceil_div") and not np.all(args[1]):
            raise NotInWorld(node)
        if node.op not in OPERATIONS:
            raise NotInWorld(node)
        return OPERATIONS[node.op](*args)


def _group(node: KvHead) -> int:
    """How many heads share a key/value head."""
    groups = node.type.ref.size if node.type.ref is not None else None
    if node.axis.size is None or groups is None or groups.value <= 0:
        raise NotInWorld(node)
    return max(node.axis.size.value // groups.value, 1)


def _check_size(node: Map, args: list[Array]) -> None:
    """Refuse sums and products that int64 may not hold."""
    sizes = [
        max(abs(int(np.max(arg))), abs(int(np.min(arg)))) if np.size(arg) else 0 for arg in args
    ]
    total = sizes[0] * sizes[1] if node.op == "*" else sum(sizes)
    if total > LARGEST:
        raise NotInWorld(node)


OPERATIONS: dict[str, Callable[..., Array]] = {
    "neg": np.negative,
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "//": np.floor_divide,
    "%": np.mod,
    "ceil_div": lambda a, b: -np.floor_divide(-a, b),
    "min": np.minimum,
    "max": np.maximum,
    "clip": lambda a, low, high: np.minimum(np.maximum(a, low), high),
    "abs": np.abs,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "not": np.logical_not,
    "and": np.logical_and,
    "or": np.logical_or,
    "where": np.where,
    "int": lambda a: np.asarray(a).astype(np.int64),
    "detach": lambda a: a,
    "as_ref": lambda a: a,
}
