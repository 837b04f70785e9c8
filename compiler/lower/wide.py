"""Wide features of the linear lowering: a graph of its own, for some tokens at a time.

What the features are made of is computed outside, for all tokens; what is wide, inside.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import fx

from ...dsl.core import (
    Axis,
    AxisToDim,
    ConcatDims,
    Contract,
    DimToAxis,
    Kind,
    Map,
    Node,
    Read,
    ReadDim,
    Reduce,
    Reshape,
    StackAxis,
    Transpose,
    operands,
)
from ..segments import Features, Segments
from .dense import Dense
from .emitter import Value, by_rank, drop_unused
from .linear_loop import sequence

#: features are wide that have so many times the numbers of what they are made of
WIDE = 3
#: of what is inside, that which is so many times narrower than the features is computed outside
NARROW = 4
#: what is computed token by token
BY_TOKEN = (
    AxisToDim,
    ConcatDims,
    Contract,
    DimToAxis,
    Map,
    ReadDim,
    Reduce,
    Reshape,
    StackAxis,
    Transpose,
)


def product(
    e: Dense, query: tuple[Node, Axis], key: tuple[Node, Axis], value: Node, past: str
) -> Value | None:
    """f . sum of g (x) v in segments; None where the features are not wide."""
    if not e.program.signature.long or not (is_wide(*query) or is_wide(*key)):
        return None
    of_value = e.lower(value)
    sides = [_Features(e, *side) if is_wide(*side) else _Made(e, *side) for side in (query, key)]
    known = {axis for item in (*(side.value for side in sides), of_value) for axis in item.axes}
    rest = by_rank(known - {query[1], key[1]})
    found = [side.features(rest) for side in sides]
    given = [item for side in sides for item in side.arguments(rest)]
    values = sequence(e, of_value, (*rest, key[1]), key[1], 1)
    name = e.submodule("segments", Segments(found[0], found[1], past))
    node = e.module(name, e.size(query[1]), values, *given)
    return e.arrange(node, (*rest, query[1]), 1, wide=True)


def is_wide(node: Node, axis: Axis) -> bool:
    """Whether a vector of features is much wider than what it is made of."""
    leaves = _edge(node, axis, _width(node))
    return WIDE * sum(_width(leaf) for leaf in leaves if axis in leaf.type.axes) <= _width(node)


def _width(node: Node) -> int:
    """Numbers per token, for one example and head."""
    inner = [axis.size.value for axis in node.type.axes if axis.role == "user" and axis.size]
    return math.prod(inner) * math.prod(dim.value for dim in node.type.dims)


def _edge(node: Node, axis: Axis, width: int) -> set[Node]:
    """What features are made of, going inwards until it is narrow or not computed by token."""
    found, todo, seen = set[Node](), [node], set[Node]()
    while todo:
        item = todo.pop()
        if item in seen:
            continue
        seen.add(item)
        if item is not node and _is_outside(item, axis, width):
            found.add(item)
        else:
            todo += operands(item)
    return found


def _is_outside(node: Node, axis: Axis, width: int) -> bool:
    if axis not in node.type.axes:
        return True
    others = {item for item in node.type.axes if item.role == "token"} - {axis}
    of_heads = isinstance(node, Read) and node.axis.role == "group"
    if not (isinstance(node, BY_TOKEN) or of_heads) or others:
        return True
    if isinstance(node, Reduce) and any(item.role == "token" for item in node.axes):
        return True
    return NARROW * _width(node) <= width


class _Made:
    """Features that are computed outside, for all tokens."""

    def __init__(self, outer: Dense, node: Node, axis: Axis) -> None:
        self.outer, self.axis = outer, axis
        self.value, self.width = outer.lower(node), _width(node)

    def features(self, rest: tuple[Axis, ...]) -> Features:
        """A graph that gives what it is given."""
        graph = fx.Graph()
        graph.output(graph.placeholder("features"))
        return Features(fx.GraphModule(torch.nn.Module(), graph), (len(rest),), self.width)

    def arguments(self, rest: tuple[Axis, ...]) -> list[Any]:
        """The features themselves."""
        return [sequence(self.outer, self.value, (*rest, self.axis), self.axis, 1)]


class _Features(Dense):
    """Builds the graph of the features of some tokens; what they are made of comes from outside.

    given   the arguments in order, and along which dim they have the tokens
    """

    def __init__(self, outer: Dense, node: Node, axis: Axis) -> None:
        super().__init__(outer.program, {})
        self.outer, self.node, self.axis = outer, node, axis
        self.width = _width(node)
        self.given: list[tuple[Any, int | None]] = []
        self.value = self.lower(node)

    def features(self, rest: tuple[Axis, ...]) -> Features:
        """The graph of the features over (rest, tokens)."""
        self.graph.output(sequence(self, self.value, (*rest, self.axis), self.axis, 1))
        drop_unused(self.graph)
        graph = fx.GraphModule(torch.nn.Module(), self.graph)
        return Features(graph, tuple(dim for _, dim in self.given), self.width)

    def arguments(self, rest: tuple[Axis, ...]) -> list[Any]:
        """What the graph around gives."""
        return [node for node, _ in self.given]

    def lower(self, node: Node) -> Value:
        """The value of a node: an argument where it is computed outside."""
        if node is self.node or node in self.values:
            return super().lower(node)
        if not _is_outside(node, self.axis, self.width):
            return super().lower(node)
        value = self.outer.lower(node)
        if not value.is_number:
            value = self._argument(value)
            self.know(value.axes, value.node)
            if value.axes or value.dims:
                self.likes.append(value.node)
                if node.type.kind is Kind.REAL and not value.wide:
                    self.real_likes.append(value.node)
        self.values[node] = value
        return value

    def _argument(self, value: Value) -> Value:
        """Something from outside, as an argument of the graph."""
        tokens = value.axes.index(self.axis) if self.axis in value.axes else None
        placeholder = self.graph.placeholder(f"given_{len(self.given)}")
        self.given.append((value.node, tokens))
        return Value(placeholder, value.axes, value.dims, value.wide)

    def size(self, axis: Axis) -> Any:
        """The size of an axis: of the tokens those of a segment, of others that around."""
        if axis == self.axis or axis.base in self.sizes:
            return super().size(axis)
        found = self.outer.size(axis)
        return self._argument(Value(found)).node if isinstance(found, fx.Node) else found
