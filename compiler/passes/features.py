"""Reductions over features as arithmetic of sums over features.

An extreme m of x is a number without a gradient; those of its features that are m share that evenly,
as in torch:

    max(x) = m + sum(tied(x, m)) / sum(x == m),  tied(x, m) = x - detach(x) where x == m, else 0

Where m is infinite nothing has a gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial, reduce

from ...dsl.core import (
    Arg,
    Choose,
    Const,
    Kind,
    Map,
    Node,
    Norm,
    Param,
    Range,
    Reduce,
    ReduceOp,
    Type,
)
from ...dsl.elaborate.typing import const, pointwise, real
from .joints import parts

#: up to here reals hold all ints
EXACT = 1 << 24


def by_sums(node: Reduce) -> Node:
    """A reduction over all feature dims of what it reduces; of ints if reals hold them."""
    if node.arg.type.kind is not Kind.INT:
        return RULES[node.op](node)
    if needs_bound(node) or largest_int(node.arg) * count_of(node.arg) > EXACT:
        return node
    as_reals = replace(node, type=replace(node.type, kind=Kind.REAL), arg=real(node.arg))
    if node.op == "mean":
        return _mean(as_reals)
    x = _chosen(as_reals, 0.0)
    return pointwise("int", sum_of(x) if node.op == "sum" else _extreme_of(x, node.op))


def needs_bound(node: Reduce | Choose) -> bool:
    """Whether the best of ints is asked for of which some are left out: no int stands for these."""
    best = node.op in ("max", "min", "argmax", "argmin")
    return best and node.arg.type.kind is Kind.INT and node.where is not None


def largest_int(node: Node) -> float:
    """What the size of an int is at most, as far as its expression tells."""
    match node:
        case Const(value=value):
            return abs(float(value))
        case Arg(value=value):
            return largest_int(value)
        case Map(op="int", args=(arg,)) if arg.type.kind is Kind.BOOL:
            return 1
        case Map(op="where", args=(_, *others)):
            return max(map(largest_int, others))
        case Map(op="neg" | "abs" | "min" | "max", args=args):
            return max(map(largest_int, args))
        case Map(op="+" | "-", args=args):
            return sum(map(largest_int, args))
        case Map(op="*", args=args):
            return math.prod(map(largest_int, args))
        case Map(op="sign"):
            return 1
        case Map(op="%", args=(x, by)):
            is_zero = not isinstance(by, Const) or by.value == 0  # then it is x
            return max(largest_int(by), largest_int(x) if is_zero else 0)
    return math.inf


def first_place(node: Choose) -> Node:
    """The first feature that is the largest, or the smallest; -1 of none."""
    vector, where = node.arg, node.where
    is_exact = vector.type.kind is Kind.REAL or largest_int(vector) <= EXACT
    if not is_exact or len(parts(vector)) > 1:
        return node
    op: ReduceOp = "max" if node.op == "argmax" else "min"
    x = _chosen(node, -math.inf if op == "max" else math.inf)
    there = pointwise("==", x, _extreme_of(x, op))
    if where is not None:
        there = pointwise("and", there, where)
    (size,) = vector.type.dims
    places, none = Range(Type(Kind.INT, frozenset(), (size,))), const(size.value)
    first = pointwise(
        "int", _extreme_of(pointwise("where", there, real(places), real(none)), "min")
    )
    return pointwise("where", pointwise("==", first, none), const(-1), first)


def norm_by_sums(node: Norm) -> Node:
    """x / sqrt(mean(x^2) + eps), of a layer norm with x less its mean; then weight and bias."""
    if len(node.arg.type.dims) != 1:
        return node
    made = node.arg
    if node.op == "layer":
        made = pointwise("-", made, _mean_of(made))
    size = pointwise("sqrt", pointwise("+", _mean_of(pointwise("*", made, made)), const(node.eps)))
    made = pointwise("/", made, size)
    if node.affine:
        made = pointwise("*", made, _learned(node, "weight"))
        if node.op == "layer":
            made = pointwise("+", made, _learned(node, "bias"))
    return made


def tied(x: Node, m: Node) -> Node:
    """0 with the gradient of x, where x is m."""
    none = pointwise("-", x, pointwise("detach", x))
    return pointwise(
        "where", pointwise("and", pointwise("==", x, m), _is_finite(m)), none, const(0.0)
    )


def with_shares(m: Node, ties: Node, count: Node) -> Node:
    """An extreme with the gradient of what is tied, in equal parts."""
    return pointwise("+", m, pointwise("safe_div", ties, count))


def _is_finite(m: Node) -> Node:
    return pointwise("<", pointwise("abs", m), const(math.inf))


def is_tied(x: Node, m: Node) -> Node:
    """1 where x is m, else 0."""
    return pointwise("where", pointwise("==", x, m), const(1.0), const(0.0))


def _learned(node: Norm, name: str) -> Node:
    return Param(Type(Kind.REAL, frozenset(), node.type.dims), f"{node.name}.{name}", "weight")


def sum_of(node: Node) -> Node:
    """The sum of a vector, part by part where vectors are joined in it."""
    return reduce(partial(pointwise, "+"), (_over_features("sum", item) for item in parts(node)))


def _over_features(op: ReduceOp, node: Node) -> Node:
    """Over one dim after the other, the last first."""
    while node.type.dims:
        *rest, _ = node.type.dims
        node = Reduce(replace(node.type, dims=tuple(rest)), op, node, (), (len(rest),), None)
    return node


def count_of(node: Node) -> int:
    """How many entries an array has."""
    return math.prod(dim.value for dim in node.type.dims)


def _mean_of(node: Node) -> Node:
    return pointwise("/", sum_of(node), const(float(count_of(node))))


def _chosen(node: Reduce | Choose, otherwise: float) -> Node:
    """What is reduced, as reals; a number where that is left out."""
    if node.where is None:
        return real(node.arg)
    return pointwise("where", node.where, real(node.arg), const(otherwise))


def _sum(node: Reduce) -> Node:
    return sum_of(_chosen(node, 0.0))


def _truths(node: Reduce) -> Node:
    """How many hold."""
    truth = node.arg if node.where is None else pointwise("and", node.arg, node.where)
    return sum_of(pointwise("where", truth, const(1.0), const(0.0)))


def _count(node: Reduce) -> Node:
    return pointwise("int", _truths(node))


def _any(node: Reduce) -> Node:
    return pointwise(">", _truths(node), const(0.5))


def _all(node: Reduce) -> Node:
    """all(p) -> not any(not p)"""
    wrong = replace(node, op="any", arg=pointwise("not", node.arg))
    return pointwise("not", _any(wrong))


def _mean(node: Reduce) -> Node:
    """0 of nothing."""
    where, zero = node.where, const(0.0)
    if where is None:
        return _mean_of(node.arg)
    if not where.type.dims:
        return pointwise("where", where, _mean_of(node.arg), zero)
    return pointwise("safe_div", _sum(node), sum_of(pointwise("where", where, const(1.0), zero)))


def _extreme_of(x: Node, op: ReduceOp) -> Node:
    """The largest or smallest feature, without a gradient."""
    found = (pointwise("detach", _over_features(op, item)) for item in parts(x))
    return reduce(partial(pointwise, op), found)


def _extreme(op: ReduceOp, nothing: float) -> Callable[[Reduce], Node]:
    def rule(node: Reduce) -> Node:
        x = _chosen(node, nothing)
        m = _extreme_of(x, op)
        return with_shares(m, sum_of(tied(x, m)), sum_of(is_tied(x, m)))

    return rule


def _logsumexp(node: Reduce) -> Node:
    x = _chosen(node, -math.inf)
    return logsumexp(
        _extreme_of(x, "max"), lambda m: sum_of(pointwise("exp", pointwise("-", x, m)))
    )


def logsumexp(largest: Node, total_of: Callable[[Node], Node]) -> Node:
    """m + log(sum(exp(x - m))), m the largest x if that is finite, else 0; -inf of nothing.

    total_of   the sum for an m
    """
    m = pointwise("where", _is_finite(largest), largest, const(0.0))
    total = total_of(m)
    is_empty = pointwise("==", total, const(0.0))
    whole = pointwise("log", pointwise("where", is_empty, const(1.0), total))
    return pointwise("where", is_empty, const(-math.inf), pointwise("+", m, whole))


RULES: dict[str, Callable[[Reduce], Node]] = {
    "sum": _sum,
    "mean": _mean,
    "count": _count,
    "any": _any,
    "all": _all,
    "max": _extreme("max", -math.inf),
    "min": _extreme("min", math.inf),
    "logsumexp": _logsumexp,
}
