"""Reductions over axes and dims, running sums, and projections on the simplex."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import Kind, Map, Node, Param, Reduce, Scan, Simplex, Valid, walk
from ...dsl.elaborate.typing import const, pointwise
from .. import torch_ops as ops
from ..normalizer import may_be_absent, uses_scores
from .contractions import einsum
from .emitter import Value, by_rank

if TYPE_CHECKING:
    from .dense import Dense


def reduce(e: Dense, node: Reduce) -> Value:
    """A reduction; inside a normaliser, pairs that are not there do not count."""
    product = _sum_of_products(e, node)
    if product is not None:
        return product
    arg = e.lower(node.arg)
    where = None if node.where is None else e.lower(node.where)
    if where is not None and where.node is True:
        where = None
    if e.local and uses_scores(node):
        for axis in node.axes:
            if axis in e.present:
                where = _both(e, where, e.present[axis])
    axes = by_rank((*arg.axes, *(where.axes if where else ()), *node.axes))
    value = e.expand(arg, axes) if set(axes) != set(arg.axes) else e.tensor(arg)
    mask = None if where is None else e.full(where, axes, arg.dims)
    drop = [axes.index(axis) for axis in node.axes] + [len(axes) + dim for dim in node.dims]
    drop = [place - len(axes) - arg.dims for place in drop]
    made = _reduction(e, node, value, mask, drop)
    kept = tuple(axis for axis in axes if axis not in node.axes)
    wide = arg.wide and node.type.kind is Kind.REAL
    return Value(made, kept, arg.dims - len(node.dims), wide)


def _both(e: Dense, left: Value | None, right: Value) -> Value:
    if left is None:
        return right
    axes = by_rank((*left.axes, *right.axes))
    both = e.call(operator.and_, e.align(left, axes), e.align(right, axes))
    return Value(both, axes)


def _reduction(e: Dense, node: Reduce, value: Any, mask: Any, drop: list[int]) -> Any:
    op = node.op
    if op in ("any", "all", "count"):
        if mask is not None:
            if op == "all":
                mask = e.call(torch.logical_not, mask)
            value = e.call(operator.or_ if op == "all" else operator.and_, value, mask)
        functions: dict[str, Callable[..., Any]] = {
            "any": ops.any_of,
            "all": ops.all_of,
            "count": torch.sum,
        }
        return e.call(functions[op], value, drop)
    if op == "max":
        return e.call(ops.masked_max, value, mask, drop)
    if op == "min":
        return e.call(ops.masked_min, value, mask, drop)
    if op == "logsumexp":
        return e.call(ops.masked_logsumexp, value, mask, drop)
    if mask is not None:
        masked = ops.masked_sum if op == "sum" else ops.masked_mean
        return e.call(masked, value, mask, drop)
    return e.call(torch.sum if op == "sum" else torch.mean, value, drop)


def _sum_of_products(e: Dense, node: Reduce) -> Value | None:
    """sum(a * b, over=axis) of reals is a contraction; the product is never formed."""
    inner = node.arg
    simple = node.op == "sum" and not node.dims
    if not simple or not isinstance(inner, Map) or inner.op != "*":
        return None
    if inner.type.kind is not Kind.REAL or any(axis in e.present for axis in node.axes):
        return None
    first, second = inner.args
    if node.where is not None:
        chosen = _with_zeros(node.where, first, second)
        if chosen is None:
            return None
        first, second = chosen
    left, right = e.lower(first), e.lower(second)
    if left.is_number or right.is_number or (left.dims and right.dims):
        return None
    if not all(axis in left.axes and axis in right.axes for axis in node.axes):
        return None
    return einsum(e, left, right, (), (), node.axes)


def _with_zeros(where: Node, first: Node, second: Node) -> tuple[Node, Node] | None:
    """Two factors, the first 0 where nothing is; None where 0 times the other may not be 0."""
    if any(isinstance(item, Param | Valid) for item in walk(where)):
        return None  # what stands in padding may be infinite
    for left, right in ((first, second), (second, first)):
        if where.type.axes <= left.type.axes and not left.type.dims and not may_be_absent(right):
            return pointwise("where", where, left, const(0.0)), right
    return None


def scan(e: Dense, node: Scan) -> Value:
    """The running sum along an axis."""
    arg = e.lower(node.arg)
    axes = by_rank((*arg.axes, node.axis))
    place = axes.index(node.axis) - len(axes) - arg.dims
    made = e.call(ops.running_sum, e.expand(arg, axes), place, node.reverse, node.exclusive)
    return Value(made, axes, arg.dims, arg.wide)


def simplex(e: Dense, node: Simplex) -> Value:
    """Sparsemax and entmax: weights along an axis, some exactly zero."""
    arg, alpha = e.lower(node.arg), e.lower(node.alpha)
    axes = by_rank((*arg.axes, *alpha.axes))
    present = e.present.get(node.axis)
    mask = None if present is None else e.full(present, axes)
    value = e.full(arg, axes)
    place = axes.index(node.axis) - len(axes) - arg.dims
    made = e.call(ops.entmax, value, mask, e.align(alpha, axes), place)
    return Value(made, axes, arg.dims, arg.wide)
