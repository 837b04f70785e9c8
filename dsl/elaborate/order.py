"""What orders tokens: the largest, the best, and the rank in a sort."""

from __future__ import annotations

from collections.abc import Callable

from ..core import Choose, Kind, Rank, Sort, Top, Type
from .arguments import Arguments
from .reductions import over, there
from .typing import TypeMistake, union, with_heads
from .values import Value


def top(a: Arguments) -> Value:
    """Refs to the n largest along an axis, n the size of a declared axis."""
    arg = a.node(0)
    made = a.e.user_axis(a.args[1], a.env)
    target = over(a, arg)
    if len(target.axes) != 1:
        raise TypeMistake("ATT505", "`top` chooses along one axis")
    where = there(a, target.axes, a.where())
    if where is not None:
        arg, where = with_heads((arg, where))
    axis = target.axes[0]
    axes = (union((arg,) if where is None else (arg, where)) - {axis}) | {made}
    ref = a.e.base_axis(axis)
    return Top(Type(Kind.INT, axes, arg.type.dims, ref), arg, axis, made, where)


def choose(op: str) -> Callable[[Arguments], Value]:
    """argmax and argmin, along an axis or the only feature dim."""

    def apply(a: Arguments) -> Value:
        arg = a.node(0)
        where = a.where()
        target = over(a, arg)
        if a.get("over") is None:
            if len(arg.type.dims) != 1:
                raise TypeMistake("ATT505", f"`{op}` without `over` needs one feature dim")
            result = Type(Kind.INT, arg.type.axes)
            return Choose(result, op, arg, None, where)  # type: ignore[arg-type]
        if len(target.axes) != 1:
            raise TypeMistake("ATT505", f"`{op}` chooses along one axis")
        where = there(a, target.axes, where)
        axis = target.axes[0]
        axes = union((arg,) if where is None else (arg, where)) - {axis}
        result = Type(Kind.INT, axes, arg.type.dims, a.e.base_axis(axis))
        return Choose(result, op, arg, axis, where)  # type: ignore[arg-type]

    return apply


def rank(a: Arguments) -> Value:
    """The place that each token took in a sort."""
    token_set = a.e.set_of(a.args[0], a.env)
    sort = a.e.sorts.get(token_set.name)
    if sort is None:
        raise a.e.fail("ATT516", "`rank` takes a sorted set", a.args[0].span, a.env)
    assert isinstance(sort, Sort)
    axes = (sort.type.axes - {sort.made}) | set(sort.axes)
    return Rank(Type(Kind.INT, axes, (), a.e.base_axis(sort.made)), sort)
