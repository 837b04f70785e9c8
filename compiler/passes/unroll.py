"""Reductions of pairs that kernels have no form for, written out.

Before: `any(places == j // 64, over=p)`, an array over pairs and `p`
After:  `places[0] == j // 64 or places[1] == j // 64`, numbers of pairs

Before: `mean((q - k) ** 2)`, `max(q * k, over=last)`, `rms_norm(q + k)` over features
After:  sums over features, of which other sums may be made: `sum((q - k) ** 2) / d_head`

For generated kernels only: they have no loop over a third axis, and sum over features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import reduce

from ...dsl.core import Attend, Axis, Choose, Contract, Index, Kind, Map, Node, Norm, Read, Reduce
from ...dsl.elaborate.typing import const, pointwise
from .features import (
    by_sums,
    first_place,
    is_tied,
    logsumexp,
    needs_bound,
    norm_by_sums,
    tied,
    with_shares,
)
from .joints import by_parts, matrix_first
from .matrices import MOST_PLACES, by_rows
from .pairs import rewrite_pairs


def unrolled(node: Attend) -> Attend:
    """An attend without reductions of pairs over axes of a few places, or but sums over features."""
    return rewrite_pairs(by_rows(node, together), _written_out)


def _written_out(node: Node) -> Node:
    if isinstance(node, Norm):
        return norm_by_sums(node)
    if isinstance(node, Contract):
        made = by_parts(node)
        return matrix_first(made) if isinstance(made, Contract) else made
    if isinstance(node, Choose) and node.axis is None:
        return first_place(node)
    if isinstance(node, Reduce) and not node.axes and len(node.arg.type.dims) == 1:
        return by_sums(node)
    if not isinstance(node, Reduce | Choose):
        return node
    axes = _axes(node)
    if not _are_few(axes) or needs_bound(node):
        return node
    return together(node.op, _parts(node.arg, axes), _parts(node.where, axes))


def _axes(node: Reduce | Choose) -> tuple[Axis, ...]:
    """The axes that a reduction is over, if it is over no features and no vectors are compared."""
    if isinstance(node, Reduce):
        return () if node.dims else node.axes
    return () if node.axis is None or node.type.dims else (node.axis,)


def _are_few(axes: Sequence[Axis]) -> bool:
    """Whether all places of some axes can be written out."""
    sizes = [axis.size for axis in axes]
    places = math.prod(MOST_PLACES + 1 if size is None else size.value for size in sizes)
    return bool(axes) and 1 <= places <= MOST_PLACES


def together(op: str, parts: Sequence[Node], where: Sequence[Node]) -> Node:
    """A reduction of a number at every place, of those that count if that is said."""
    if parts[0].type.kind is Kind.INT and op in ("max", "min"):
        return _joined(op, parts)
    return RULES[op](list(parts), list(where))


def _first(op: str, lowest: float) -> Callable[[list[Node], list[Node]], Node]:
    """argmax(x) -> 0 where x0 == m, else 1 where x1 == m, .. else -1, with m = max(x0, x1)"""

    def rule(parts: list[Node], where: list[Node]) -> Node:
        parts = _chosen(parts, where, lowest)
        best = _joined(op, parts)
        found: Node = const(-1)
        for n, part in reversed([*enumerate(parts)]):
            there = pointwise("==", part, best)
            there = pointwise("and", there, where[n]) if where else there
            found = pointwise("where", there, const(n), found)
        return found

    return rule


def _parts(node: Node | None, axes: tuple[Axis, ...]) -> list[Node]:
    """A number at every place of some axes; nothing of nothing."""
    parts = [] if node is None else [node]
    for axis in axes:
        assert axis.size is not None
        parts = [at_place(part, axis, n) for part in parts for n in range(axis.size.value)]
    return parts


def at_place(node: Node, axis: Axis, place: int) -> Node:
    """A pointwise expression at one place of an axis."""
    if axis not in node.type.axes:
        return node
    if isinstance(node, Map) and node.op != "as_ref":
        return pointwise(node.op, *(at_place(arg, axis, place) for arg in node.args))
    if isinstance(node, Index) and node.axis == axis:
        return const(place)
    kind = replace(node.type, axes=node.type.axes - {axis})
    return Read(kind, node, axis, const(place))


def _joined(op: str, parts: Sequence[Node]) -> Node:
    return reduce(lambda left, right: pointwise(op, left, right), parts)


def _chosen(parts: list[Node], where: list[Node], nothing: float) -> list[Node]:
    """What is reduced; a number where that is left out."""
    if not where:
        return parts
    both = zip(where, parts, strict=True)
    return [pointwise("where", test, part, const(nothing)) for test, part in both]


def _any(parts: list[Node], where: list[Node]) -> Node:
    """any(p, where=c) -> p0 and c0 or p1 and c1"""
    both = zip(parts, where, strict=True)
    alike = dict.fromkeys([_joined("and", [*pair]) for pair in both] if where else parts)
    return _joined("or", [*alike])


def _all(parts: list[Node], where: list[Node]) -> Node:
    """all(p, where=c) -> not any(not p, where=c)"""
    return pointwise("not", _any([pointwise("not", part) for part in parts], where))


def _sum(parts: list[Node], where: list[Node]) -> Node:
    """sum(x, where=c) -> where(c0, x0, 0) + where(c1, x1, 0)"""
    return _joined("+", _chosen(parts, where, 0))


def _count(parts: list[Node], where: list[Node]) -> Node:
    """count(p, where=c) -> int(p0 and c0) + int(p1 and c1)"""
    return _sum([pointwise("int", part) for part in parts], where)


def _mean(parts: list[Node], where: list[Node]) -> Node:
    """mean(x, where=c) -> sum(x, where=c) / count(c), 0 of nothing"""
    if not where:
        return pointwise("/", _sum(parts, where), const(len(parts)))
    return pointwise("safe_div", _sum(parts, where), _count(where, []))


def _extreme(op: str, lowest: float) -> Callable[[list[Node], list[Node]], Node]:
    """max(x) -> m + ties(x0, m) + ties(x1, m) over their number, with m = max(x0, x1) without a gradient"""

    def rule(parts: list[Node], where: list[Node]) -> Node:
        parts = _chosen(parts, where, lowest)
        largest = pointwise("detach", _joined(op, parts))
        ties, count = (_joined("+", [f(part, largest) for part in parts]) for f in (tied, is_tied))
        return with_shares(largest, ties, count)

    return rule


def _logsumexp(parts: list[Node], where: list[Node]) -> Node:
    """m + log(exp(x0 - m) + exp(x1 - m)), m the largest if that is finite, else 0; -inf of nothing"""
    parts = _chosen(parts, where, -math.inf)
    largest = pointwise("detach", _joined("max", parts))
    return logsumexp(
        largest, lambda m: _joined("+", [pointwise("exp", pointwise("-", x, m)) for x in parts])
    )


RULES: dict[str, Callable[[list[Node], list[Node]], Node]] = {
    "any": _any,
    "all": _all,
    "sum": _sum,
    "count": _count,
    "mean": _mean,
    "max": _extreme("max", -math.inf),
    "min": _extreme("min", math.inf),
    "logsumexp": _logsumexp,
    "argmax": _first("max", -math.inf),
    "argmin": _first("min", math.inf),
}
