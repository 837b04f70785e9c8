"""Sums over a fixed axis that stand outermost in a normaliser, taken after the values.

Before: `o[i] = sum_j (sum_p c[i, p] N(s)[i, j, p]) v[j]`
After:  `o[i] = sum_p c[i, p] o[i, p]` with `o[i, p] = sum_j N(s)[i, j, p] v[j]`

Sums are exchanged, since v does not differ along p, and what does not depend on the key leaves the
inner one. So do means. A pair is there for the sum if it is there anywhere along p; where that differs
along p, only a softmax gives the others a weight of 0.

For calls that take generated kernels only: values are summed once for every place of p. Where they have
axes that N has not, each weight would meet many of them: that is left. Weights are dropped after their
sum, which therefore stays in training with dropout.
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import Attend, Axis, Map, Node, Reduce
from ...dsl.elaborate.reductions import reduced
from ...dsl.elaborate.typing import pointwise, union
from ..normalizer import is_softmax, may_be_absent, uses_scores
from ..program import Program, parts_read, rewrite


def sum_after_values(program: Program) -> Program:
    """Attends whose normalisers are no sums over fixed axes."""
    signature = program.signature
    if not signature.fused:
        return program

    def rule(node: Node) -> Node:
        if not isinstance(node, Attend) or (node.dropout and signature.training):
            return node
        return _rule(node)

    return rewrite(program, rule, keep=parts_read(program))


def _rule(node: Attend) -> Node:
    weights, axes = _innermost(node)
    if not axes or (_hides_along(axes, node) and not is_softmax(weights)):
        return node
    if _of_result(node, weights) - weights.type.axes:
        return node
    return _result(node, node.normalize)


def _innermost(node: Attend) -> tuple[Node, frozenset[Axis]]:
    """What is summed over fixed axes, and these."""
    weights, axes = node.normalize, frozenset[Axis]()
    while (inner := _inner(node, weights)) is not None:
        if isinstance(weights, Reduce):
            axes |= set(weights.axes)
        weights = inner
    return weights, axes


def _inner(node: Attend, weights: Node) -> Node | None:
    """What weights are the sum or a multiple of."""
    match weights:
        case Reduce(op="sum" | "mean", dims=(), where=None) if _are_fixed(weights.axes, node):
            return weights.arg
        case Map(op="*", args=(left, right)):
            for factor, rest in ((left, right), (right, left)):
                if not uses_scores(factor) and node.joint not in factor.type.axes:
                    return rest
    return None


def _result(node: Attend, weights: Node) -> Node:
    """The result of an attend with other weights, whose sums are taken after the values."""
    inner = _inner(node, weights)
    if inner is None:
        kind = replace(node.type, axes=_of_result(node, weights))
        return replace(node, type=kind, normalize=weights)
    made = _result(node, inner)
    if isinstance(weights, Reduce):
        return reduced(weights.op, made, weights.axes, (), None)
    assert isinstance(weights, Map)
    (factor,) = [arg for arg in weights.args if arg is not inner]
    return pointwise("*", factor, made)


def _of_result(node: Attend, weights: Node) -> frozenset[Axis]:
    """The axes that the result of an attend by some weights has."""
    keys = {node.joint}.union(*(source.axes for source in node.sources))
    return union((weights, *(source.value for source in node.sources))) - keys


def _are_fixed(axes: tuple[Axis, ...], node: Attend) -> bool:
    """Whether axes have a static size and values do not differ along them."""
    of_values = union(source.value for source in node.sources)
    return all(axis.role in ("head", "user") and axis not in of_values for axis in axes)


def _hides_along(axes: frozenset[Axis], node: Attend) -> bool:
    """Whether a pair may be there at some places of the axes, and not at others."""
    return any(
        (source.mask is not None and axes & source.mask.type.axes)
        or (source.at is not None and axes & source.at.type.axes)
        or (may_be_absent(source.score) and axes & source.score.type.axes)
        for source in node.sources
    )
