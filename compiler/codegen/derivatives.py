"""Derivatives of pair expressions, by rule, as expressions of the same kind.

Reverse mode: the cotangent of each node is the sum over its uses; `flow` gives those of the nodes
that are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from ...dsl.core import AtDistance, Const, Contract, Kind, Map, Node, Reduce, Type, operands
from ...dsl.elaborate.typing import pointwise as at

Rule = Callable[..., tuple[Node | None, ...]]


def real(value: float) -> Node:
    """A real constant."""
    return Const(Type(Kind.REAL), value)


def flow(seeds: Mapping[Node, Node], wanted: Collection[Node]) -> dict[Node, Node]:
    """The cotangents of the wanted nodes, given those of some nodes above them."""
    totals: dict[Node, Node] = dict(seeds)
    for node in reversed(_order(list(seeds), wanted)):
        total = totals.get(node)
        if total is None or node in wanted or not isinstance(node, Map | AtDistance):
            continue
        for arg, part in zip(operands(node), _parts(node, total), strict=True):
            if part is None or arg.type.kind is not Kind.REAL:
                continue
            known = totals.get(arg)
            totals[arg] = part if known is None else at("+", known, part)
    return {node: totals[node] for node in wanted if node in totals}


def _order(roots: list[Node], wanted: Collection[Node]) -> list[Node]:
    """The nodes below some roots, operands first; wanted ones are not looked into."""
    found: dict[Node, None] = {}
    stack = [(root, False) for root in roots]
    seen: set[Node] = set()
    while stack:
        node, ready = stack.pop()
        if ready:
            found[node] = None
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            if isinstance(node, Map | AtDistance) and node not in wanted:
                stack.extend((arg, False) for arg in operands(node))
    return list(found)


def _parts(node: Map | AtDistance, total: Node) -> tuple[Node | None, ...]:
    """The share of each operand in the cotangent of a node."""
    if isinstance(node, AtDistance):
        return (total,)
    rule = RULES.get(node.op)
    if rule is None:
        return (None,) * len(node.args)
    args = tuple(
        at("real", arg) if arg.type.kind is Kind.INT and node.type.kind is Kind.REAL else arg
        for arg in node.args
    )
    return rule(total, node, *args)


def _where(test: Node, yes: Node, no: Node) -> Node:
    return at("where", test, yes, no)


def _elementwise(slope: Callable[[Node, Node], Node]) -> Rule:
    """f(a): the total times f'(a), which may be said by the result."""
    return lambda total, made, a: (at("*", total, slope(made, a)),)


def _gelu(made: Node, a: Node) -> Node:
    cdf = at("*", real(0.5), at("+", real(1.0), at("erf", at("*", a, real(math.sqrt(0.5))))))
    bell = at("*", real(1 / math.sqrt(2 * math.pi)), at("exp", at("*", real(-0.5), at("*", a, a))))
    return at("+", cdf, at("*", a, bell))


def _silu(made: Node, a: Node) -> Node:
    s = at("sigmoid", a)
    return at("*", s, at("+", real(1.0), at("*", a, at("-", real(1.0), s))))


def _divided(total: Node, made: Node, a: Node, b: Node) -> tuple[Node, Node]:
    part = at("/", total, b)
    return part, at("neg", at("*", part, made))


def _safely_divided(total: Node, made: Node, a: Node, b: Node) -> tuple[Node, Node]:
    part = at("safe_div", total, b)
    return part, at("neg", at("*", part, made))


def _power(total: Node, made: Node, a: Node, b: Node) -> tuple[Node | None, Node | None]:
    if isinstance(b, Const) and b.value == 0:
        return None, None  # by the rule 0 / 0 where a is 0
    slope = at("*", b, at("**", a, at("-", b, real(1.0))))
    if not isinstance(b, Const):
        slope = _where(at("==", b, real(0.0)), real(0.0), slope)
    if isinstance(b, Const) or b.type.kind is not Kind.REAL:
        return at("*", total, slope), None
    log = _where(at(">", a, real(0.0)), at("log", at("max", a, real(1e-38))), real(0.0))
    return at("*", total, slope), at("*", total, at("*", made, log))


def _extreme(op: str) -> Rule:
    """Ties share, as in torch; a constant leaves them to the other."""

    def rule(total: Node, made: Node, a: Node, b: Node) -> tuple[Node | None, Node | None]:
        if isinstance(b, Const):
            return _where(at(op, b, a), real(0.0), total), None
        if isinstance(a, Const):
            return None, _where(at(op, a, b), real(0.0), total)
        half = at("*", total, real(0.5))
        tie = at("==", a, b)
        left = _where(tie, half, _where(at(op, a, b), total, real(0.0)))
        right = _where(tie, half, _where(at(op, a, b), real(0.0), total))
        return left, right

    return rule


def _clipped(
    total: Node, made: Node, a: Node, low: Node, high: Node
) -> tuple[Node, Node | None, Node | None]:
    """The bounds may be learned; where they cross, the upper one counts."""
    inside = at("and", at(">=", a, low), at("<=", a, high))
    above = at("or", at(">", a, high), at("<", high, low))
    below = at("and", at("<", a, low), at("<=", low, high))
    zero = real(0.0)
    return _where(inside, total, zero), _where(below, total, zero), _where(above, total, zero)


RULES: dict[str, Rule] = {
    "neg": lambda total, made, a: (at("neg", total),),
    "+": lambda total, made, a, b: (total, total),
    "-": lambda total, made, a, b: (total, at("neg", total)),
    "*": lambda total, made, a, b: (at("*", total, b), at("*", total, a)),
    "/": _divided,
    "safe_div": _safely_divided,
    "**": _power,
    "%": lambda total, made, a, b: (total, at("neg", at("*", total, at("//", a, b)))),
    "where": lambda total, made, c, a, b: (
        None,
        _where(c, total, real(0.0)),
        _where(c, real(0.0), total),
    ),
    "min": _extreme("<"),
    "max": _extreme(">"),
    "clip": _clipped,
    "exp": _elementwise(lambda made, a: made),
    "expm1": _elementwise(lambda made, a: at("+", made, real(1.0))),
    "log": _elementwise(lambda made, a: at("/", real(1.0), a)),
    "log1p": _elementwise(lambda made, a: at("/", real(1.0), at("+", a, real(1.0)))),
    "sqrt": _elementwise(lambda made, a: at("/", real(0.5), made)),
    "abs": _elementwise(lambda made, a: at("sign", a)),
    "tanh": _elementwise(lambda made, a: at("-", real(1.0), at("*", made, made))),
    "sigmoid": _elementwise(lambda made, a: at("*", made, at("-", real(1.0), made))),
    "relu": lambda total, made, a: (_where(at(">", a, real(0.0)), total, real(0.0)),),
    "leaky_relu": lambda total, made, a, slope: (
        _where(at(">", a, real(0.0)), total, at("*", total, slope)),
        _where(at(">", a, real(0.0)), real(0.0), at("*", total, a)),
    ),
    "gelu": _elementwise(_gelu),
    "silu": _elementwise(_silu),
    "elu": _elementwise(
        # far below 0 the result is -1: what is left of 1 more than that is not e^a
        lambda made, a: _where(at(">", a, real(0.0)), real(1.0), at("exp", a))
    ),
    "softplus": _elementwise(lambda made, a: at("sigmoid", a)),
    "sin": _elementwise(lambda made, a: at("cos", a)),
    "cos": _elementwise(lambda made, a: at("neg", at("sin", a))),
    "erf": _elementwise(
        lambda made, a: at("*", real(2 / math.sqrt(math.pi)), at("exp", at("neg", at("*", a, a))))
    ),
    "real": lambda total, made, a: (total,),
    "as_ref": lambda total, made, a: (total,),
}


def of_term(term: Node, seed: Node, wanted: Collection[Node]) -> dict[Node, Node]:
    """The cotangents of what a sum over features is made of, at one feature."""
    if isinstance(term, Reduce):
        return flow({term.arg: seed}, wanted)
    assert isinstance(term, Contract)
    left, right = term.left, term.right
    if left is right:
        return flow({left: at("*", real(2.0), at("*", seed, left))}, wanted)
    return flow({left: at("*", seed, right), right: at("*", seed, left)}, wanted)
