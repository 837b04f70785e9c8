"""Where a term is not neutral: the guard that a reduction gets from its argument.

sum(where(c, a, 0))  runs over c;   max(where(c, a, -inf))  runs over c
"""

from __future__ import annotations

import math
from typing import TypeAlias

from .core import (
    Attend,
    Axis,
    Const,
    Contract,
    Fill,
    Kind,
    Linear,
    Map,
    Node,
    Part,
    Read,
    Reduce,
    Segment,
)
from .substitution import number, pointwise, substitute

Literals: TypeAlias = frozenset[tuple[Node, bool]]

NEUTRAL: dict[str, bool | float] = {
    "zero": 0,
    "low": -math.inf,
    "high": math.inf,
    "false": False,
    "true": True,
}
KEEPS_ZERO = {
    "neg",
    "detach",
    "real",
    "int",
    "relu",
    "abs",
    "sign",
    "sqrt",
    "tanh",
    "sin",
    "as_ref",
}
MOST_DEPTH = 8


def conjuncts(guard: Literals) -> list[Node]:
    """A guard as a list of conditions."""
    return [node if truth else pointwise("not", node) for node, truth in guard]


def support(node: Node, neutral: str, depth: int = 0) -> Literals:
    """Conditions that all hold wherever the node differs from the neutral value."""
    if node.type.dims and neutral in ("false", "true"):
        return frozenset()
    if depth > MOST_DEPTH:
        return frozenset()
    match node:
        case Map():
            return _of_map(node, neutral, depth)
        case Part(attend=Attend() as attend, part=part):
            return _of_part(attend, part, neutral)
        case Contract() if neutral == "zero":
            return support(node.left, neutral, depth + 1) | support(node.right, neutral, depth + 1)
        case Linear(bias=False) if neutral == "zero":
            return support(node.arg, neutral, depth + 1)
        case Reduce(op="sum") | Segment(op="sum") if neutral == "zero":
            return _without(support(node.arg, neutral, depth + 1), node.axes)
        case Read():
            inner = support(node.arg, neutral, depth + 1) if neutral in ("zero", "false") else ()
            return frozenset((substitute(c, node.axis, node.index), truth) for c, truth in inner)
        case _ if neutral in ("false", "true") and node.type.kind is Kind.BOOL:
            return frozenset({(node, neutral == "false")})
        case _:
            return frozenset()


def _without(found: Literals, axes: tuple[Axis, ...]) -> Literals:
    """The conditions that do not look along axes that are summed, conjunctions taken apart."""
    kept: set[tuple[Node, bool]] = set()
    todo = list(found)
    while todo:
        node, truth = todo.pop()
        if truth and isinstance(node, Map) and node.op == "and":
            todo.extend((arg, True) for arg in node.args)
        elif not node.type.axes & set(axes):
            kept.add((node, truth))
    return frozenset(kept)


def _of_map(node: Map, neutral: str, depth: int) -> Literals:
    def inner(n: int) -> Literals:
        return support(node.args[n], neutral, depth + 1)

    if node.op == "where":
        return _of_where(node, neutral, depth)
    if neutral in ("false", "true"):
        return frozenset({(node, neutral == "false")})
    if neutral == "zero":
        return _where_not_zero(node, neutral, depth)
    if node.op in ("+", "detach", "-") and neutral == "low":
        return inner(0)
    return frozenset()


def _where_not_zero(node: Map, neutral: str, depth: int) -> Literals:
    """A product is 0 where a factor is, a quotient where its numerator is."""
    match node.op:
        case "*":
            return support(node.args[0], neutral, depth + 1) | support(
                node.args[1], neutral, depth + 1
            )
        case "/" | "safe_div":
            return support(node.args[0], neutral, depth + 1)
        case "exp":
            return support(node.args[0], "low", depth + 1)
        case "real" | "int" if node.args[0].type.kind is Kind.BOOL:
            return frozenset() if node.type.dims else frozenset({(node.args[0], True)})
        case op if op in KEEPS_ZERO:
            return support(node.args[0], neutral, depth + 1)
        case _:
            return frozenset()


def _of_where(node: Map, neutral: str, depth: int) -> Literals:
    condition, yes, no = node.args
    for branch, truth, value in ((yes, True, no), (no, False, yes)):
        if is_neutral(value, neutral):
            own = frozenset() if condition.type.dims else frozenset({(condition, truth)})
            return own | support(branch, neutral, depth + 1)
    return frozenset()


def is_neutral(node: Node, neutral: str) -> bool:
    """Whether a node is the neutral constant, as written or negated."""
    if isinstance(node, Const | Fill):
        return node.value == NEUTRAL[neutral]
    return False


def _of_part(attend: Attend, part: str, neutral: str) -> Literals:
    """Weights are 0 and scores -inf where a pair is not there."""
    fits = (part, neutral) in (("weights", "zero"), ("scores", "low"))
    if not fits or len(attend.sources) != 1:
        return frozenset()
    source = attend.sources[0]
    found: Literals = frozenset()
    if source.mask is not None:
        found |= {(source.mask, True)}
    if source.at is not None:
        found |= {(pointwise(">=", source.at, number(0)), True)}
    return found
