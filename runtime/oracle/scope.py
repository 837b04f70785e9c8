"""Scopes: where a node has which value.

The whole call is one scope. The normalizer of an attend and each step of a recurrence are scopes inside
it, in which what depends on the scores or on the carries is evaluated anew; the rest is looked up outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ...dsl.core import Attend, Axis, Kind, Node, Param, Recur, Reduce, Scores, operands, walk
from .environment import Environment, OracleError, array
from .values import Value, aligned, expanded, in_order, select

SCORES = "the scores of the attend around"

Free = frozenset[object]
Evaluator = Callable[["Scope", Any], Value]


class Scope:
    """The scope of a whole call: the value of each node, computed once.

    evaluators   how the value of a node follows from those of its operands, by class of node
    fixed        token axes that stand at one token here
    joint        the key axis of the normalizer, and `there`: which of the pairs exist
    """

    fixed: frozenset[Axis] = frozenset()
    joint: Axis | None = None
    there: Value | None = None

    def __init__(self, env: Environment, evaluators: Mapping[type, Evaluator]) -> None:
        self.env, self.evaluators = env, evaluators
        self.memo: dict[Node, Value] = {}
        self.results: dict[object, Any] = {}
        self.free: dict[Node, Free] = {}
        for name, node in env.spec.bindings.items():
            if name in env.inject and node.type.kind is not Kind.REAL:
                self.memo[node] = array(name, env.inject[name], node.type.ordered, node.type)

    def value(self, node: Node) -> Value:
        """The value of a node; its operands first, without deep recursion."""
        stack = [node]
        while stack:
            item = stack[-1]
            if item in self.memo:
                stack.pop()
                continue
            waiting = [child for child in _first(item) if child not in self.memo]
            if waiting and self.owns(item):
                stack.extend(waiting)
            else:
                self.memo[item] = self._computed(item)
        return self.memo[node]

    def _computed(self, node: Node) -> Value:
        if not self.owns(node):
            return self.inherited(node)
        if type(node) not in self.evaluators:
            raise OracleError(f"the oracle does not know {type(node).__name__}")
        return self.evaluators[type(node)](self, node)

    def owns(self, node: Node) -> bool:
        """Whether a node is evaluated here rather than outside."""
        return True

    def inherited(self, node: Node) -> Value:
        """A value from the scope outside."""
        raise OracleError(f"nothing is outside of what evaluates {type(node).__name__}")

    def size(self, axis: Axis) -> int:
        """How many places an axis has."""
        if axis.size is not None:
            return axis.size.value
        if axis.base not in self.env.sizes:
            token_set = self.env.token_set(axis)
            if token_set is None or token_set.count is None:
                raise OracleError(f"the size of axis `{axis}` is not known; give it in `sizes`")
            self.env.sizes[axis.base] = int(self.value(token_set.count).tensor)
        return self.env.sizes[axis.base]

    def axes(self, axes: Iterable[Axis]) -> tuple[Axis, ...]:
        """Axes in layout order, without those that stand at one token here."""
        return in_order(axis for axis in axes if axis not in self.fixed)

    def full(self, value: Value, axes: Iterable[Axis]) -> Value:
        """The value over at least `axes`, each of full size."""
        wanted = self.axes((*axes, *value.axes))
        return Value(expanded(value, wanted, self.size), wanted, value.there)

    def conformed(self, value: Value, node: Node) -> Value:
        """The value with every axis and dim of the node's type, those fixed here left out."""
        axes, dims = self.axes(node.type.axes), [dim.value for dim in node.type.dims]
        tensor = aligned(value, axes, len(dims))
        return Value(tensor.expand([*[self.size(axis) for axis in axes], *dims]), axes, value.there)

    def depends(self, node: Node) -> Free:
        """The carries, the scores and the index axes that occur free at or below a node."""
        if node not in self.free:
            for item in walk(node):
                if item not in self.free:
                    self.free[item] = self._free_in(item)
        return self.free[node]

    def _free_in(self, node: Node) -> Free:
        match node:
            case Param(role="carry"):
                return frozenset({node.name, *node.type.axes})
            case Scores():
                return frozenset({SCORES, *node.type.axes})
            case Recur():
                bodies = self._any(node.nexts + node.yields) - set(node.names)
                return bodies | self._any(node.inits) | node.type.axes
            case Attend():
                bound = {axis for source in node.sources for axis in source.axes} | {node.joint}
                scored = self.free[node.normalize] - {SCORES}
                return (self._any(_first(node)) | scored) - bound
            case Reduce():
                return self._any(operands(node)) | set(node.axes)
            case _:
                return self._any(operands(node)) | node.type.axes

    def _any(self, nodes: Iterable[Node]) -> Free:
        return frozenset().union(*(self.free[item] for item in nodes))


def _first(node: Node) -> list[Node]:
    """The operands that have a value in the scope of the node itself."""
    if isinstance(node, Recur):
        return list(node.inits)
    if isinstance(node, Attend):
        parts = [(s.mask, s.at, s.score, s.value) for s in node.sources]
        return [item for part in parts for item in part if item is not None]
    return list(operands(node))


class Inner(Scope):
    """A scope inside another."""

    def __init__(self, outer: Scope) -> None:
        self.env, self.evaluators, self.outer = outer.env, outer.evaluators, outer
        self.memo, self.results, self.free = {}, {}, outer.free
        self.fixed, self.joint, self.there = outer.fixed, outer.joint, outer.there

    def inherited(self, node: Node) -> Value:
        return self.outer.value(node)


class Normalizing(Inner):
    """The normalizer of an attend, where Scores has a value and reductions skip absent pairs."""

    def __init__(self, outer: Scope, joint: Axis, scores: Value) -> None:
        super().__init__(outer)
        self.joint, self.scores, self.there = joint, scores, scores.there
        self.only_here = joint.name != joint.base or joint.role == "joint"

    def owns(self, node: Node) -> bool:
        """What depends on the scores, or reduces over a key axis that exists only here."""
        free = self.depends(node)
        return SCORES in free or (self.only_here and self.joint in free)

    def size(self, axis: Axis) -> int:
        if axis == self.joint:
            return self.scores.tensor.shape[self.scores.axes.index(axis)]
        return self.outer.size(axis)


class Step(Inner):
    """One step of a recurrence: carries have a value, every other field is read at the token."""

    def __init__(self, outer: Scope, axis: Axis, place: int, carries: Mapping[str, Value]) -> None:
        super().__init__(outer)
        self.axis, self.place, self.carries = axis, place, carries
        self.fixed = outer.fixed | {axis}

    def owns(self, node: Node) -> bool:
        return not self.depends(node).isdisjoint(self.carries)

    def inherited(self, node: Node) -> Value:
        return select(self.outer.value(node), self.axis, self.place)

    def size(self, axis: Axis) -> int:
        return self.outer.size(axis)
