"""Attend: the five lines score, mask, normalize, value, sum, written over axes.

The keys of all sources lie one after the other along `joint`, an array of all pairs with a mask of those
that are there: mask True, ref to a key, score above -inf. What is not there is skipped by reductions,
counts 0 in everything else, and has weight 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...dsl.core import Attend, AttendSource, Axis, Kind, Node, Part, Type
from .reductions import logsumexp
from .scope import Normalizing, Scope
from .values import (
    Value,
    aligned,
    any_over,
    both,
    expanded,
    in_order,
    laid_out,
    masked,
    unflattened,
    union,
)


@dataclass(frozen=True)
class Weighted:
    """An attend before the values.

    scores    over rows and joint, with `there`
    there     which pairs have a weight: where the normalizer has done away with an axis of the
              scores (it mixed heads), those that are there for some place along it
    weights   0 where a pair is not there; before dropout
    kept      the weights after dropout
    """

    scores: Value
    there: Value
    weights: Value
    kept: Value


def attend(scope: Scope, node: Attend) -> Value:
    """The sum over sources and over what is there of weight * value."""
    weighted = _weighted(scope, node)
    pieces = _pieces(scope, node, weighted.kept)
    there = _pieces(scope, node, weighted.there)
    total: Value | None = None
    for source, weights, pairs in zip(node.sources, pieces, there, strict=True):
        part = _summed(scope, source, weights, pairs)
        total = part if total is None else _plus(total, part)
    assert total is not None
    return scope.conformed(total, node)


def part(scope: Scope, node: Part) -> Value:
    """The log-sum-exp of the scores, the weights, or the scores."""
    assert isinstance(node.attend, Attend)
    weighted = _weighted(scope, node.attend)
    if node.part == "lse":
        return scope.conformed(_lse(weighted.scores, node.attend.joint), node)
    value = weighted.weights
    if node.part == "scores":
        value = masked(weighted.scores, -torch.inf)
    (piece,) = _pieces(scope, node.attend, Value(value.tensor, value.axes))
    return scope.conformed(piece, node)


def _lse(scores: Value, joint: Axis) -> Value:
    rest = tuple(axis for axis in scores.axes if axis != joint)
    tensor, keep = aligned(scores, (*rest, joint)), aligned(_pairs(scores), (*rest, joint))
    return Value(logsumexp(tensor, keep), rest)


def _pairs(scores: Value) -> Value:
    assert scores.there is not None
    return scores.there


def _weighted(scope: Scope, node: Attend) -> Weighted:
    """Scores and weights, once for the attend and its parts."""
    if node not in scope.results:
        scores = _scores(scope, node)
        inner = Normalizing(scope, node.joint, scores)
        weights = inner.value(node.normalize)
        there = _seen(scores, (*weights.axes, *node.type.axes, node.joint))
        weights = masked(Value(weights.tensor, weights.axes, there))
        weights = Value(weights.tensor, weights.axes)
        scope.results[node] = Weighted(scores, there, weights, _dropped(inner, node, weights))
    result = scope.results[node]
    assert isinstance(result, Weighted)
    return result


def _seen(scores: Value, axes: tuple[Axis, ...]) -> Value:
    pairs = _pairs(scores)
    return any_over(pairs, set(pairs.axes) - set(axes))


def _dropped(scope: Scope, node: Attend, weights: Value) -> Value:
    if not scope.env.training or node.dropout == 0:
        return weights
    axes, kind = weights.axes, Type(Kind.BOOL)
    keep = scope.env.drawn(node.name, axes, kind, "the mask of the weights that are kept")
    return Value(weights.tensor * keep.tensor / (1 - node.dropout), axes)


def _scores(scope: Scope, node: Attend) -> Value:
    """The scores of all sources along joint, and which of the pairs are there."""
    keys = {axis for source in node.sources for axis in source.axes}
    tables = [_table(scope, source) for source in node.sources]
    rows = in_order(axis for table in tables for axis in union(table) if axis not in keys)
    tensors: list[list[Tensor]] = [[], []]
    for source, table in zip(node.sources, tables, strict=True):
        for tensor, value in zip(tensors, table, strict=True):
            wide = expanded(value, (*rows, *source.axes), scope.size)
            tensor.append(wide.flatten(len(rows)))
    axes = (*rows, node.joint)
    there = laid_out(torch.cat(tensors[1], -1), axes)
    return laid_out(torch.cat(tensors[0], -1), axes, there)


def _table(scope: Scope, source: AttendSource) -> tuple[Value, Value]:
    """The score of each pair of a source, 0 for those that are not there, and which are."""
    score = masked(scope.value(source.score), -torch.inf)
    score = Value(score.tensor.double(), score.axes)
    parts: list[Value | None] = [Value(score.tensor != -torch.inf, score.axes)]
    if source.mask is not None:
        parts.append(masked(scope.value(source.mask), False))
    if source.at is not None:
        parts.append(_refers(scope, source.at))
    there = both(parts)
    assert there is not None
    score = masked(Value(score.tensor, score.axes, there))
    return Value(score.tensor, score.axes), there


def _refers(scope: Scope, at: Node) -> Value:
    """Which refs name a key."""
    assert at.type.ref is not None
    refs = masked(scope.value(at), -1)
    inside = (refs.tensor >= 0) & (refs.tensor < scope.size(at.type.ref))
    return Value(inside, refs.axes)


def _pieces(scope: Scope, node: Attend, value: Value) -> list[Value]:
    """An array over joint cut into those over the key axes of each source."""
    rest = tuple(axis for axis in value.axes if axis != node.joint)
    tensor = aligned(value, (*rest, node.joint))
    shapes = [[scope.size(axis) for axis in source.axes] for source in node.sources]
    pieces = torch.split(tensor, [torch.Size(shape).numel() for shape in shapes], -1)
    return [
        laid_out(unflattened(piece, len(rest), shape), (*rest, *source.axes))
        for piece, shape, source in zip(pieces, shapes, node.sources, strict=True)
    ]


def _summed(scope: Scope, source: AttendSource, weights: Value, pairs: Value) -> Value:
    """The sum over the keys of a source; a value that no weight meets is not looked at."""
    value = masked(scope.value(source.value))
    value = masked(Value(value.tensor.double(), value.axes, pairs))
    axes = union((weights, value))
    product = aligned(weights, axes, value.rank) * aligned(value, axes)
    places = [axes.index(axis) for axis in source.axes]
    return Value(product.sum(places), tuple(axis for axis in axes if axis not in source.axes))


def _plus(left: Value, right: Value) -> Value:
    axes, rank = union((left, right)), max(left.rank, right.rank)
    return Value(aligned(left, axes, rank) + aligned(right, axes, rank), axes)
