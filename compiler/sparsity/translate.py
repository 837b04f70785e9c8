"""From the mask of an attend to a program over what the call gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ...dsl.core import Arg, Axis, Const, Index, Kind, Map, Node, Position, Reduce
from ...dsl.elaborate.typing import pointwise
from ..labels import conditions
from .invariance import is_invariant
from .program import KEY, MOST_CONJUNCTS, QUERY, Diagonal, Instruction

#: the input or constant that a node is, or None where it is made of others
Leaf: TypeAlias = Callable[[Node], Instruction | None]


def names_of(axes: tuple[Axis, ...], query: Axis, key: Axis) -> tuple[str, ...]:
    """Names of axes as programs call them."""
    own = {query: QUERY, key: KEY}
    return tuple(own.get(axis, axis.name) for axis in axes)


def mask_program(
    mask: Node | None, query: Axis, key: Axis, leaf: Leaf
) -> tuple[tuple[Instruction, ...], tuple[int, ...], tuple[Diagonal, ...]]:
    """Steps, conjuncts and diagonals of a mask; no steps where it lets everything in."""
    parts = conditions(mask)
    if not parts:
        return (), (), ()
    made = _Translation(query, key, leaf)
    places = [made.step(part) for part in parts]
    total = dict(zip(parts, places, strict=True))
    for sign in (1, -1):
        together = [part for part in total if is_invariant(part, query, key, sign)]
        if len(together) > 1:  # known exactly together, which they are not one by one
            total[_all(together)] = made.step(_all(together))
            total = {part: place for part, place in total.items() if part not in together}
    value = made.both(list(total.values()))
    if len(places) > MOST_CONJUNCTS:
        rest = made.both(places[MOST_CONJUNCTS - 1 :])
        places = [*places[: MOST_CONJUNCTS - 1], rest]
    if value != len(made.steps) - 1:
        made.add(Instruction("and", (value, value)))
    return tuple(made.steps), tuple(places), tuple(made.diagonals)


def _all(parts: list[Node]) -> Node:
    total = parts[0]
    for part in parts[1:]:
        total = pointwise("and", total, part)
    return total


class _Translation:
    """Steps for nodes, each once; with diagonals for the largest truth values that are such.

    inside   whether the steps are part of a diagonal, so that no smaller ones are sought
    """

    def __init__(self, query: Axis, key: Axis, leaf: Leaf, inside: bool = False) -> None:
        self.query, self.key, self.leaf, self.inside = query, key, leaf, inside
        self.steps: list[Instruction] = []
        self.diagonals: list[Diagonal] = []
        self.done: dict[Node, int] = {}

    def add(self, step: Instruction) -> int:
        """The place of a new step."""
        self.steps.append(step)
        return len(self.steps) - 1

    def both(self, places: list[int]) -> int:
        """The place of the conjunction of some steps."""
        total = places[0]
        for place in places[1:]:
            total = self.add(Instruction("and", (total, place)))
        return total

    def step(self, node: Node) -> int:
        """The place of the step that gives a node."""
        if node not in self.done:
            signs = self._signs(node)
            outer, self.inside = self.inside, self.inside or bool(signs)
            place = self.add(self._made(node))
            self.inside = outer
            for sign in signs:
                own = self._diagonal(node)
                if own is not None:
                    self.diagonals.append(Diagonal(place, own, sign))
            self.done[node] = place
        return self.done[node]

    def _signs(self, node: Node) -> list[int]:
        if self.inside or node.type.kind is not Kind.BOOL or not isinstance(node, Map | Reduce):
            return []
        if not {self.query, self.key} <= node.type.axes:
            return []
        return [s for s in (1, -1) if is_invariant(node, self.query, self.key, s)][:1]

    def _diagonal(self, node: Node) -> tuple[Instruction, ...] | None:
        """A predicate in terms of counters of tokens, and what varies over no tokens."""
        opened = _Translation(self.query, self.key, self._counter, inside=True)
        opened.step(node)
        unknown = any(step.op in ("some", "any") for step in opened.steps)
        return None if unknown else tuple(opened.steps)

    def _counter(self, node: Node) -> Instruction | None:
        """Counters of tokens, and what varies over none; all else is made of these."""
        over_tokens = bool({self.query, self.key} & node.type.axes)
        counts = isinstance(node, Position | Index)
        return self.leaf(node) if counts or not over_tokens else None

    def _made(self, node: Node) -> Instruction:
        found = self.leaf(node)
        if found is not None:
            return found
        if isinstance(node, Arg):
            return self.steps[self.step(node.value)]
        if isinstance(node, Map):
            whole = node.op == "%" and node.type.kind is Kind.INT
            args = tuple(self.step(arg) for arg in node.args)
            rounds = node.type.kind is Kind.REAL
            return Instruction("whole %" if whole else node.op, args, rounds)
        if isinstance(node, Reduce) and node.op in ("any", "all") and _is_small(node):
            axes = tuple(axis.name for axis in node.axes)
            op = "exists" if node.op == "any" else "forall"
            return Instruction(op, (self.step(node.arg), *axes))
        if isinstance(node, Const):
            return Instruction("const", (node.value,))
        return Instruction("some" if node.type.kind is Kind.BOOL else "any", ())


def _is_small(node: Reduce) -> bool:
    """Whether a reduction runs over all of some axes of fixed size."""
    fixed = all(axis.size is not None and axis.size.value > 0 for axis in node.axes)
    return fixed and not node.dims and node.where is None
