"""The linear lowering: two products in place of all pairs, or a mean that runs along.

    s[i, j] = f[i] . g[j],  o[i] = n(f[i] . sum_j g[j] (x) v[j])

Nothing of the size of queries times keys is formed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...dsl import sizes
from ...dsl.core import (
    Attend,
    Axis,
    AxisToDim,
    DimToAxis,
    Kind,
    Map,
    Node,
    Param,
    Reduce,
    Reshape,
    Scores,
    Type,
)
from ...dsl.elaborate.typing import fill, pointwise
from .. import scans
from ..matching.factored import KeySoftmax, Match, is_sum, joined
from ..normalizer import uses_scores
from . import wide
from .emitter import Value, by_rank
from .linear_loop import sequence

if TYPE_CHECKING:
    from .dense import Dense


def emit(e: Dense, node: Attend, found: Match | KeySoftmax) -> Value:
    """The result without the pairs."""
    if isinstance(found, KeySoftmax):
        return _emit_of_keys(e, node, found)
    outside = found.query.type.axes | found.key.type.axes | {node.joint}
    extra = by_rank(found.value.type.axes - outside)
    dims = found.value.type.dims
    value = found.value
    for axis in reversed(extra):
        if axis.size is None:
            continue
        axes = value.type.axes - {axis}
        value = AxisToDim(Type(Kind.REAL, axes, (axis.size, *value.type.dims)), value, axis)
    inner = value.type.dims
    width = sizes.constant(1)
    for size in inner:
        width = width * size
    flat = Type(Kind.REAL, value.type.axes, (width,))
    if not inner:
        value = pointwise("*", value, fill(1.0, frozenset(), (width,)))
    elif len(inner) > 1:
        value = Reshape(flat, value)
    needs_sum = not isinstance(node.normalize, Scores)
    if needs_sum:
        one = fill(1.0, frozenset(), (sizes.constant(1),))
        value = joined(value, one)
    tokens = (found.query, node.query), (found.key, node.joint)
    made = wide.product(e, *tokens, value, found.past) or _whole_product(e, node, found, value)
    axes = (
        found.query.type.axes
        | (found.key.type.axes | value.type.axes) - {node.joint}
        | {node.query}
    )
    result: Node = _leaf(e, node, "sum", made, axes, (width,))
    if needs_sum:
        narrow = replace(made, node=e.method("narrow", made.node, -1, 0, width.value))
        whole = replace(made, node=e.method("select", made.node, -1, width.value), dims=0)
        result = _leaf(e, node, "sum", narrow, axes, (width,))
        total = _leaf(e, node, "row", whole, axes, ())
        result = _normalized(node.normalize, node.joint, result, total)
    axes = result.type.axes
    if not inner:
        result = Reduce(Type(Kind.REAL, axes), "sum", result, (), (0,), None)
    elif len(inner) > 1:
        result = Reshape(Type(Kind.REAL, axes, inner), result)
    for axis in extra:
        if axis.size is not None:
            axes = axes | {axis}
            result = DimToAxis(Type(Kind.REAL, axes, result.type.dims[1:]), result, axis)
    assert result.type.dims == dims
    return e.lower(result)


def _emit_of_keys(e: Dense, node: Attend, found: KeySoftmax) -> Value:
    score, value = (
        e.renamed(e.lower(item), node.joint, node.query) for item in (found.score, found.value)
    )
    rest = by_rank(a for item in (score, value) for a in item.axes if a != node.query)
    axes = (*rest, node.query)
    tensors = [sequence(e, item, axes, node.query, value.dims) for item in (score, value)]
    made = e.call(scans.prefix_softmax, *tensors, len(rest), found.past == "upto")
    return e.arrange(made, axes, value.dims, wide=True)


def _leaf(
    e: Dense, node: Attend, what: str, value: Value, axes: frozenset[Axis], dims: tuple[Any, ...]
) -> Param:
    """A leaf that stands for a value that is emitted already."""
    leaf = Param(Type(Kind.REAL, axes, dims), f"{node.name}.{what}", "carry")
    e.values[leaf] = value
    return leaf


def _normalized(node: Node, joint: Axis, result: Node, total: Node) -> Node:
    """The normaliser, of the sum of scores times values in place of the scores."""
    if isinstance(node, Scores):
        return result
    if is_sum(node, joint):
        return total
    if not uses_scores(node):
        return node
    assert isinstance(node, Map)
    return pointwise(node.op, *(_normalized(arg, joint, result, total) for arg in node.args))


def _whole_product(e: Dense, node: Attend, found: Match, value: Node) -> Value:
    """The product of features that are there for all tokens."""
    sides = tuple(e.lower(item) for item in (found.query, found.key, value))
    if found.past != "all":
        sides = tuple(e.renamed(item, node.joint, node.query) for item in sides)
    return _product(e, node, sides, found.past)


def _product(e: Dense, node: Attend, sides: tuple[Value, ...], past: str) -> Value:
    """f . sum of g (x) v, tokens last in the layout that the products want."""
    rest = by_rank(a for item in sides for a in item.axes if a not in (node.query, node.joint))
    keys = node.joint if past == "all" else node.query
    tokens = (node.query, keys, keys)
    tensors = [
        sequence(e, item, (*rest, token), token, 1)
        for item, token in zip(sides, tokens, strict=True)
    ]
    if past == "all":
        made = e.call(scans.product, *tensors)
    else:
        made = e.call(scans.prefix_product, *tensors, past == "upto")
    return e.arrange(made, (*rest, node.query), 1, wide=True)
