"""What is a function of how far a query and a key are apart is made once for each distance.

Before: `dot(q, linear(sinusoid(i - j)))`, N * M vectors
After:  `at_distance(dot(q, linear(sinusoid(d))))` over N + M distances d

Only where vectors are made by more than some additions and products: else they, and numbers of a pair
like `-abs(i - j)`, are as fast made as read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ...dsl.core import (
    AtDistance,
    Attend,
    AttendSource,
    Axis,
    AxisToDim,
    ConcatDims,
    Contract,
    DimToAxis,
    Distances,
    Index,
    Kind,
    Linear,
    Map,
    Node,
    Norm,
    Position,
    ReadDim,
    Reduce,
    Reshape,
    Transpose,
    Type,
    map_operands,
    operands,
    walk,
)
from ...dsl.elaborate.typing import const
from ...dsl.operators import POINTWISE
from ..apart import is_of_distance, is_pair
from ..program import OFFSETS, Program, rewrite

#: what is computed for each pair by itself
BY_PAIR = (
    AxisToDim,
    ConcatDims,
    Contract,
    DimToAxis,
    Linear,
    Map,
    Norm,
    ReadDim,
    Reshape,
    Transpose,
)


#: operations of a number that take no longer than to read it
CHEAP = 4


def by_distance(program: Program) -> Program:
    """Attends whose scores make vectors of distances once for all pairs that are so far apart."""
    # positions of examples may be any numbers, one for each token
    counted = not {f"{name} per example" for name in OFFSETS} & program.signature.given

    def rule(node: Node) -> Node:
        if not isinstance(node, Attend):
            return node
        sources = tuple(_source(source, node.query, counted) for source in node.sources)
        return node if sources == node.sources else replace(node, sources=sources)

    return rewrite(program, rule)


def _source(source: AttendSource, query: Axis, counted: bool) -> AttendSource:
    if source.at is not None or len(source.axes) != 1 or source.axes[0] == query:
        return source
    score = _Rewriting(query, source.axes[0], counted).made(source.score)
    return replace(source, score=score)


@dataclass
class _Rewriting:
    """Rewrites the score of one source, each node once; `counted`: positions count up by one."""

    query: Axis
    key: Axis
    counted: bool
    done: dict[Node, Node] = field(default_factory=dict)

    @property
    def axis(self) -> Axis:
        name = f"{self.query} - {self.key}"
        return Axis(name, "distance", self.key.rank, None, name)

    def made(self, node: Node) -> Node:
        """A node over pairs, with what is a function of a distance read at it."""
        if not is_pair(node, self.query, frozenset({self.key})) or isinstance(node, Attend):
            return node
        if node not in self.done:
            made = self._at_distances(node)
            if made is None:
                self.done[node] = self._contracted(map_operands(node, self.made))
            else:
                self.done[node] = self._read(node.type, made)
        return self.done[node]

    def _read(self, kind: Type, arg: Node) -> Node:
        return AtDistance(kind, arg, self.axis, self.query, self.key)

    def _at_distances(self, root: Node) -> Node | None:
        """A function of a distance, over distances; None where it is none, or makes no vectors."""
        inside = list(walk(root))
        ends = [node for node in inside if isinstance(node, Position | Index)]
        rows = [node for node in ends if node.axis == self.query]
        keys = [node for node in ends if node.axis == self.key]
        if not any(map(self._is_dear, inside)) or len(rows) != 1 or len(keys) != 1:
            return None
        if not self.counted and not (isinstance(rows[0], Index) and isinstance(keys[0], Index)):
            return None
        if not is_of_distance(root, self._side, self._below):
            return None
        kind = Type(Kind.INT, frozenset({self.axis}))
        done: dict[Node, Node] = {
            rows[0]: Distances(kind, self.axis, rows[0], keys[0]),
            keys[0]: const(0),
        }
        return self._over_distances(root, done)

    def _is_dear(self, node: Node) -> bool:
        """Whether a vector is made for each pair that takes longer to make than to read."""
        if not node.type.dims or not {self.query, self.key} <= node.type.axes:
            return False
        return not isinstance(node, Map) or POINTWISE[node.op].cost > CHEAP

    def _over_distances(self, node: Node, done: dict[Node, Node]) -> Node:
        axes = node.type.axes
        if not {self.query, self.key} & axes:
            return node
        if node not in done:
            left = axes - {self.query, self.key}
            kind = replace(node.type, axes=left | {self.axis} if self.query in axes else left)
            made = map_operands(node, lambda item: self._over_distances(item, done))
            done[node] = replace(made, type=kind)
        return done[node]

    def _contracted(self, node: Node) -> Node:
        """A product with what is read at a distance, made before it is read: there are fewer."""
        if not isinstance(node, Contract):
            return node
        sides = (node.left, node.right)
        read = [item for item in sides if isinstance(item, AtDistance)]
        others = [item for item in sides if not isinstance(item, AtDistance)]
        if len(read) != 1 or {self.query, self.key} <= others[0].type.axes:
            return node
        (at,) = read
        left, right = (at.arg if item is at else item for item in sides)
        axes = left.type.axes | right.type.axes
        return self._read(
            node.type, replace(node, type=replace(node.type, axes=axes), left=left, right=right)
        )

    def _side(self, node: Node) -> str | None:
        by_query, by_key = self.query in node.type.axes, self.key in node.type.axes
        if by_query and by_key:
            return None
        return "row" if by_query else "key" if by_key else "head"

    def _below(self, node: Node) -> Iterator[Node]:
        if self._side(node) == "head":
            return
        plain = isinstance(node, Reduce) and not {self.query, self.key} & {*node.axes}
        if plain or isinstance(node, BY_PAIR):
            yield from operands(node)
