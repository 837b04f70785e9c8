"""Carries that are read by contraction, decay, and take outer products."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ...dsl.core import (
    Axis,
    Const,
    Contract,
    Fill,
    Kind,
    Map,
    Node,
    Param,
    Recur,
    Reduce,
    Type,
    map_operands,
    operands,
    walk,
)
from ...dsl.elaborate.typing import const, pointwise
from ...dsl.intervals import bounds
from ...dsl.typed import TypedSpec
from .forms import MatrixState, carry_in

ONE = const(1.0)


class _Unfit(Exception):
    """The expression is not linear in the carry in the form that is looked for."""


@dataclass(frozen=True)
class _Row:
    """base + sum of factor * read. node: the same, with the leaves of the reads in it."""

    node: Node
    base: Node | None
    reads: Mapping[int, Node]


@dataclass(frozen=True)
class _State:
    """scales * features * W (where it has_state) + sum of outer(row, key)."""

    scales: tuple[Node, ...] = ()
    features: tuple[Node, ...] = ()
    has_state: bool = True
    writes: tuple[tuple[_Row, Node], ...] = ()


@dataclass
class Solved:
    """A step, and how expressions over its carry read once it is solved."""

    step: MatrixState
    reading: _Reading

    def rewritten(self, node: Node) -> Node:
        """The node over the leaves of the reads."""
        return self.reading.rewritten(node)


def matrix(
    node: Recur,
    name: str,
    bodies: Mapping[str, Node],
    yields: tuple[Node, ...],
    others: frozenset[str],
    spec: TypedSpec,
) -> Solved | None:
    body = bodies[name]
    carry = carry_in(body, frozenset({name}))
    if carry is None or carry_in(body, others) or len(carry.type.dims) not in (1, 2):
        return None
    rest = (*(item for key, item in bodies.items() if key != name), *yields)
    key_dim = _key_dim(carry, (body, *rest))
    if key_dim is None:
        return None
    init = node.inits[node.names.index(name)]
    reading = _Reading(
        carry, key_dim, carry.type.axes | body.type.axes | init.type.axes | {node.axis}
    )
    try:
        found = reading.state(body)
        for item in rest:
            reading.rewritten(item)
    except _Unfit:
        return None
    decays = (*found.scales, *found.features)
    if not found.has_state or any(bounds(item, spec)[0] < 0 for item in decays):
        return None
    step = MatrixState(
        name,
        key_dim,
        len(carry.type.dims),
        found.scales,
        found.features,
        tuple((row.base, key) for row, key in found.writes),
        tuple(reading.reads),
        tuple(
            (place, read, factor)
            for place, (row, _) in enumerate(found.writes)
            for read, factor in row.reads.items()
        ),
    )
    return Solved(step, reading) if step.reads and step.writes else None


def _key_dim(carry: Param, users: tuple[Node, ...]) -> int | None:
    """The dim of the state that reads contract; None where nothing is read so, or several are."""
    if len(carry.type.dims) == 1:
        return 0
    dims = set()
    for item in walk(*users):
        if isinstance(item, Contract) and len(item.left_dims) == 1:
            for side, pairs in ((item.left, item.left_dims), (item.right, item.right_dims)):
                if side.type.dims == carry.type.dims and carry_in(side, frozenset({carry.name})):
                    dims.add(pairs[0])
    return dims.pop() if len(dims) == 1 else None


class _Reading:
    """Takes expressions over one carry apart."""

    def __init__(self, carry: Param, key_dim: int, axes: frozenset[Axis]) -> None:
        self.carry, self.key_dim, self.axes = carry, key_dim, axes
        self.rank = len(carry.type.dims)
        self.reads: list[tuple[Param, Node]] = []
        self._depends: dict[Node, bool] = {}
        self._rows: dict[Node, _Row | None] = {}
        self._new: dict[Node, Node] = {}

    def depends(self, node: Node) -> bool:
        """Whether a node is made of the carry."""
        if node not in self._depends:
            for item in walk(node):
                if item not in self._depends:
                    below = any(self._depends[child] for child in operands(item))
                    self._depends[item] = item is self.carry or below
        return self._depends[node]

    def rewritten(self, node: Node) -> Node:
        """The node with every read of the state replaced by what it is over the leaves."""
        if not self.depends(node):
            return node
        if node is self.carry:
            raise _Unfit
        if node not in self._new:
            row = self._row_or_none(node)
            self._new[node] = row.node if row else map_operands(node, self.rewritten)
        return self._new[node]

    def _row_or_none(self, node: Node) -> _Row | None:
        if node not in self._rows:
            try:
                self._rows[node] = self._row(node)
            except _Unfit:
                self._rows[node] = None
        return self._rows[node]

    def row(self, node: Node) -> _Row:
        """An expression that reads the state, as base + sum of factor * read."""
        found = self._row_or_none(node)
        if found is None:
            raise _Unfit
        return found

    def _row(self, node: Node) -> _Row:
        if not self.depends(node):
            return _Row(node, node, {})
        match node:
            case Contract():
                return self._read(node)
            case Reduce(
                op="sum", arg=Map(op="*", args=(left, right)), axes=(), dims=(0,), where=None
            ):
                if self.rank == 1 and len(left.type.dims) == len(right.type.dims) == 1:
                    state, asked = (left, right) if self.depends(left) else (right, left)
                    return self._asked(state, asked)
            case Map(op="neg", args=(arg,)):
                return _scaled(self.row(arg), const(-1.0))
            case Map(op="+" | "-" as op, args=(left, right)):
                other = self.row(right)
                return _added(self.row(left), other if op == "+" else _scaled(other, const(-1.0)))
            case Map(op="*", args=(left, right)):
                row, factor = (left, right) if self.depends(left) else (right, left)
                return _scaled(self.row(row), self._factor(factor))
            case Map(op="/", args=(left, right)):
                return _scaled(self.row(left), pointwise("/", ONE, self._factor(right)))
        raise _Unfit

    def _factor(self, node: Node) -> Node:
        if self.depends(node) or node.type.dims:
            raise _Unfit
        return node

    def _read(self, node: Contract) -> _Row:
        if len(node.left_dims) != 1:
            raise _Unfit
        left = self.depends(node.left)
        state, asked = (node.left, node.right) if left else (node.right, node.left)
        at, of = (node.left_dims, node.right_dims) if left else (node.right_dims, node.left_dims)
        whole = len(state.type.dims) == self.rank and len(asked.type.dims) == 1
        if not whole or at != (self.key_dim,) or of != (0,):
            raise _Unfit
        return self._asked(state, asked)

    def _asked(self, node: Node, asked: Node) -> _Row:
        if self.depends(asked):
            raise _Unfit
        state = self.state(node)
        made: _Row | None = None
        if state.has_state:
            vector = asked
            for factor in (*state.features, *state.scales):
                vector = pointwise("*", vector, factor)
            made = self._leaf(vector)
        for row, key in state.writes:
            axes = key.type.axes | asked.type.axes
            met = Contract(Type(Kind.REAL, axes), key, asked, (0,), (0,))
            term = _scaled(row, met)
            made = term if made is None else _added(made, term)
        if made is None:
            raise _Unfit
        return made

    def _leaf(self, vector: Node) -> _Row:
        for place, (leaf, known) in enumerate(self.reads):
            if known is vector:
                return _Row(leaf, None, {place: ONE})
        dims = tuple(d for n, d in enumerate(self.carry.type.dims) if n != self.key_dim)
        kind = Type(Kind.REAL, self.axes | vector.type.axes, dims)
        leaf = Param(kind, f"{self.carry.name}.read{len(self.reads)}", "carry")
        self.reads.append((leaf, vector))
        return _Row(leaf, None, {len(self.reads) - 1: ONE})

    def state(self, node: Node) -> _State:
        """An expression of the type of the state, as what is left of it and what is written."""
        if node is self.carry:
            return _State()
        if self.rank == 1 and not self.depends(node):
            return self._written(ONE, node)
        match node:
            case Contract(left_dims=()) if self.rank == 2:
                return self._outer(node)
            case Map(op="neg", args=(arg,)):
                return self._times(self.state(arg), const(-1.0))
            case Map(op="+" | "-" as op, args=(left, right)):
                other = self.state(right)
                other = other if op == "+" else self._times(other, const(-1.0))
                return self._plus(self.state(left), other)
            case Map(op="*", args=(left, right)):
                return self._multiplied(left, right)
            case Map(op="/", args=(left, right)):
                return self._times(self.state(left), pointwise("/", ONE, right))
        raise _Unfit

    def _multiplied(self, left: Node, right: Node) -> _State:
        """What is of the type of the state times a factor; a vector may be written times a read."""
        inner, factor = left, right
        wide = [len(side.type.dims) == self.rank for side in (left, right)]
        if not wide[0] or (wide[1] and self.depends(right)):
            inner, factor = right, left
        if self.rank == 1 and not factor.type.dims and self.depends(factor):
            return self._written(factor, inner)
        return self._times(self.state(inner), factor)

    def _outer(self, node: Contract) -> _State:
        """outer(row, key), or outer(key, row)."""
        sides = (node.left, node.right)
        if any(len(side.type.dims) != 1 for side in sides):
            raise _Unfit
        return self._written(sides[1 - self.key_dim], sides[self.key_dim])

    def _written(self, row: Node, key: Node) -> _State:
        if self.depends(key) or not key.type.dims:
            raise _Unfit
        return _State(has_state=False, writes=((self.row(row), key),))

    def _plus(self, left: _State, right: _State) -> _State:
        writes = (*left.writes, *right.writes)
        if not (left.has_state and right.has_state):
            kept = left if left.has_state else right
            return replace(kept, writes=writes)
        if left.features != right.features:
            raise _Unfit
        total = pointwise("+", _product(left.scales), _product(right.scales))
        return _State((total,), left.features, True, writes)

    def _times(self, state: _State, factor: Node) -> _State:
        if self.depends(factor):
            raise _Unfit
        if not factor.type.dims:
            writes = tuple((_scaled(row, factor), key) for row, key in state.writes)
            scales = (*state.scales, factor) if state.has_state else ()
            return replace(state, scales=scales, writes=writes)
        by_feature = self._by_feature(factor)
        writes = tuple((row, pointwise("*", key, by_feature)) for row, key in state.writes)
        features = (*state.features, by_feature) if state.has_state else ()
        return replace(state, features=features, writes=writes)

    def _by_feature(self, factor: Node) -> Node:
        """The vector along key_dim of a factor that is the same along the other dim."""
        if self.rank == 1:
            return factor
        if isinstance(factor, Contract) and not factor.left_dims:
            sides = (factor.left, factor.right)
            if _is_ones(sides[1 - self.key_dim]):
                return sides[self.key_dim]
        raise _Unfit


def _scaled(row: _Row, factor: Node) -> _Row:
    if factor is ONE:
        return row
    base = None if row.base is None else pointwise("*", row.base, factor)
    reads = {place: pointwise("*", known, factor) for place, known in row.reads.items()}
    return _Row(pointwise("*", row.node, factor), base, reads)


def _added(left: _Row, right: _Row) -> _Row:
    base = left.base or right.base
    if left.base is not None and right.base is not None:
        base = pointwise("+", left.base, right.base)
    reads = dict(left.reads)
    for place, factor in right.reads.items():
        reads[place] = pointwise("+", reads[place], factor) if place in reads else factor
    return _Row(pointwise("+", left.node, right.node), base, reads)


def _product(factors: tuple[Node, ...]) -> Node:
    total: Node = ONE
    for factor in factors:
        total = pointwise("*", total, factor)
    return total


def _is_ones(node: Node) -> bool:
    return isinstance(node, Const | Fill) and node.value == 1
