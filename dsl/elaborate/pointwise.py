"""Functions that work element by element: the pointwise operators by name, where, dropout."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

from ..core import Const, Dropout, Kind
from ..operators import POINTWISE
from .arguments import Arguments
from .expressions import node_of, nodes_of
from .typing import const, pointwise, real
from .values import Value


def function_of(name: str) -> Callable[[Arguments], Value]:
    """A pointwise operator as a function; keywords that it has stand for its last arguments."""
    row = POINTWISE[name]

    def apply(a: Arguments) -> Value:
        nodes = a.nodes()
        if row.keywords and len(nodes) < (row.most or 0):
            for key, default in row.keywords:
                nodes += (const(a.number(key, default)),)
        if name in ("min", "max") and len(nodes) > 2:
            return reduce(lambda left, right: pointwise(name, left, right), nodes)
        return pointwise(name, *nodes)

    return apply


def where(a: Arguments) -> Value:
    """a where c holds, else b; only the chosen one where c is known."""
    condition = a.node(0)
    if isinstance(condition, Const) and condition.type.kind is Kind.BOOL:
        chosen = a.args[1] if condition.value else a.args[2]
        return node_of(a.e, chosen, a.env)
    yes, no = nodes_of(a.e, a.args[1:], a.env)
    return pointwise("where", condition, yes, no)


def dropout(a: Arguments) -> Value:
    """Elements zeroed at random in training."""
    arg = real(a.node(0))
    rate = a.e.static_number(a.args[1], a.env)
    if not 0 <= rate < 1:
        raise a.e.fail("ATT307", "a dropout rate is in [0, 1)", a.args[1].span, a.env)
    if rate == 0:
        return arg
    a.e.draws += 1
    return Dropout(arg.type, arg, f"{a.env.owner}.dropout{a.e.draws}", rate)
