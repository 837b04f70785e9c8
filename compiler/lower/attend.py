"""Attends in dense form: the five lines score, mask, normalize, value, sum written over axes."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import Attend, AttendSource, Axis, ConcatDims, Node, Part, Scores, walk
from ...dsl.intervals import bounds
from .. import torch_ops as ops
from ..dropping import key_places, row_bits
from ..normalizer import may_be_absent, softmax_argument
from .contractions import einsum
from .draws import key_of, places_of
from .emitter import Value, by_rank
from .layout import ordered
from .reading import may_be_beyond
from .shaping import joined

if TYPE_CHECKING:
    from .dense import Dense


@dataclass(frozen=True)
class Lowered:
    """The parts of an attend: scores and presence over the joint axis, weights, result.

    present is None where every pair is there.
    """

    scores: Value
    present: Value | None
    weights: Value
    result: Value


def attend(e: Dense, node: Attend) -> Value:
    """The result of an attend, by the lowering that was chosen for it."""
    chosen = e.chosen.get(node)
    if chosen is not None:
        return chosen(e)
    return lowered(e, node).result


def part(e: Dense, node: Part) -> Value:
    """lse, weights or scores of an attend."""
    attend_node = node.attend
    assert isinstance(attend_node, Attend)
    if node.part == "lse" and attend_node in e.chosen:
        e.lower(attend_node)
        return e.lse[attend_node]
    found = lowered(e, attend_node)
    joint = attend_node.joint
    if node.part == "lse":
        present = () if found.present is None else found.present.axes
        axes = by_rank((*found.scores.axes, *present))
        mask = None if found.present is None else e.full(found.present, axes)
        place = axes.index(joint) - len(axes)
        made = e.call(ops.masked_logsumexp, e.full(found.scores, axes), mask, [place])
        kept = tuple(axis for axis in axes if axis != joint)
        return Value(made, kept, 0, found.scores.wide)
    value = found.weights if node.part == "weights" else found.scores
    if node.part == "scores" and found.present is not None:
        axes = by_rank((*value.axes, *found.present.axes))
        made = e.call(torch.where, e.align(found.present, axes), e.align(value, axes), -math.inf)
        value = Value(made, axes, 0, value.wide)
    source = attend_node.sources[0]
    if source.axes == (joint,):
        return value
    order = [axis for axis in value.axes if axis != joint]
    moved = e.method("movedim", value.node, value.axes.index(joint), -1)
    sizes = tuple(e.size(axis) for axis in source.axes)
    made = e.method("unflatten", moved, -1, sizes) if len(sizes) > 1 else moved
    return e.arrange(made, (*order, *source.axes), 0, value.wide)


def lowered(e: Dense, node: Attend) -> Lowered:
    """The parts of an attend, formed once."""
    if node not in e.attends:
        e.attends[node] = _lower(e, node)
    return e.attends[node]


def _lower(e: Dense, node: Attend) -> Lowered:
    hint, e.hint = e.hint, ""
    single = len(node.sources) == 1 and node.sources[0].axes == (node.joint,)
    if single:
        scores, present = _pairs(e, node.sources[0])
    else:
        scores, present = _joined(e, node)
    weights = _normalized(e, node, scores, present)
    weights = _dropped(e, node, weights)
    if single:
        result = _weighted(e, weights, node.sources[0], (node.joint,))
    else:
        result = _sum_of_sources(e, node, weights)
    e.hint = hint
    return Lowered(scores, present, weights, result)


def _pairs(e: Dense, source: AttendSource) -> tuple[Value, Value | None]:
    """Scores and presence of one source, over its own axes."""
    score = e.lower(source.score)
    mask = None if source.mask is None else e.lower(source.mask)
    if mask is not None and mask.is_number:
        mask = None if mask.node is True else Value(_never(e), ())
    axes = by_rank((*score.axes, *source.axes))
    if not all(axis in score.axes for axis in source.axes):
        score = Value(e.expand(score, axes), axes, 0, score.wide)
    if source.at is not None:
        for there in _listed(e, source.at):
            mask = there if mask is None else _and(e, mask, there)
    if may_be_absent(source.score):
        joined = by_rank((*score.axes, *(mask.axes if mask else ())))
        given = None if mask is None else e.full(mask, joined)
        mask = Value(e.call(ops.is_there, e.full(score, joined), given), joined)
    return score, mask


def _listed(e: Dense, at: Node) -> Iterator[Value]:
    """Which entries of a list name a key, where that is not certain."""
    if bounds(at, e.spec)[0] < 0 or may_be_beyond(at):
        places = e.lower(at)
        yield Value(e.call(operator.ge, places.node, 0), places.axes)
    if may_be_beyond(at):
        assert at.type.ref is not None
        yield Value(e.call(operator.lt, places.node, e.whole_size(at.type.ref)), places.axes)


def _never(e: Dense) -> Any:
    return e.call(ops.scalar, False, e.like())


def _and(e: Dense, left: Value, right: Value) -> Value:
    axes = by_rank((*left.axes, *right.axes))
    return Value(e.call(operator.and_, e.align(left, axes), e.align(right, axes)), axes)


def _joined(e: Dense, node: Attend) -> tuple[Value, Value | None]:
    """Scores and presence of all sources, one after the other along the joint axis."""
    pairs = [_pairs(e, source) for source in node.sources]
    keys = {axis for source in node.sources for axis in source.axes}
    rest = by_rank(
        axis
        for score, mask in pairs
        for axis in (*score.axes, *(mask.axes if mask else ()))
        if axis not in keys
    )
    flat_scores, flat_present = [], []
    for (score, mask), source in zip(pairs, node.sources, strict=True):
        flat_scores.append(_flat(e, score, rest, source.axes))
        there = Value(e.call(ops.scalar, True, e.like())) if mask is None else mask
        flat_present.append(_flat(e, there, rest, source.axes))
    axes = (*rest, node.joint)
    wide = any(score.wide for score, _ in pairs)
    scores = e.call(torch.cat, flat_scores, -1) if len(pairs) > 1 else flat_scores[0]
    nothing_hidden = all(mask is None for _, mask in pairs)
    if nothing_hidden:
        return Value(scores, axes, 0, wide), None
    present = e.call(torch.cat, flat_present, -1) if len(pairs) > 1 else flat_present[0]
    return Value(scores, axes, 0, wide), Value(present, axes)


def _flat(e: Dense, value: Value, rest: tuple[Axis, ...], keys: tuple[Axis, ...]) -> Any:
    axes = by_rank((*rest, *keys))
    full = Value(e.expand(value, axes), axes)
    moved = ordered(e, full, (*rest, *keys))
    return e.method("flatten", moved, len(rest)) if len(keys) > 1 else moved


def _normalized(e: Dense, node: Attend, scores: Value, present: Value | None) -> Value:
    """normalize with the leaf Scores bound to the scores; absent pairs get weight 0."""
    leaf = next(item for item in walk(node.normalize) if isinstance(item, Scores))
    plain = softmax_argument(node.normalize)
    filled = scores
    if present is not None and (plain is None or plain[0] is not leaf):
        axes = by_rank((*scores.axes, *present.axes))
        place = axes.index(node.joint) - len(axes)
        made = e.call(ops.fill_rows, e.full(scores, axes), e.full(present, axes), place)
        filled = Value(made, axes, 0, scores.wide)
    e.local.append({leaf: filled})
    if present is not None:
        e.present[node.joint] = present
    try:
        weights = e.lower(node.normalize)
    finally:
        e.local.pop()
        e.present.pop(node.joint, None)
    if present is None or (plain is not None and plain[0] is leaf):
        return weights
    present = _without(e, present, [axis for axis in present.axes if axis not in weights.axes])
    made = e.call(torch.where, e.align(present, weights.axes), weights.node, 0.0)
    return Value(made, weights.axes, 0, weights.wide)


def _without(e: Dense, present: Value, lost: list[Axis]) -> Value:
    """Presence where the normaliser has reduced an axis: there if it is there anywhere along it."""
    for axis in lost:
        node = e.method("any", present.node, present.axes.index(axis))
        present = Value(node, tuple(item for item in present.axes if item != axis))
    return present


def _dropped(e: Dense, node: Attend, weights: Value) -> Value:
    if not node.dropout or not e.program.signature.training:
        return weights
    of_rows = tuple(axis for axis in weights.axes if axis != node.joint)
    rows, keys = dropped_rows(e, node, of_rows), e.lower(key_places(node))
    axes = by_rank((*weights.axes, *rows.axes, *keys.axes))
    kept = e.call(ops.keep_pairs, e.align(rows, axes), e.align(keys, axes), node.dropout)
    made = e.call(ops.drop, e.align(weights, axes), kept, node.dropout)
    return Value(made, axes, 0, weights.wide)


def dropped_rows(e: Dense, node: Attend, axes: tuple[Axis, ...]) -> Value:
    """The random bits of the rows of an attend, over the axes of its weights but the keys."""
    leaf = row_bits(node)
    if leaf not in e.values:
        places = places_of(e, axes, ())
        made = e.call(ops.scattered, e.inputs["call"], key_of(node.name), places)
        e.values[leaf] = Value(made, axes)
    return e.values[leaf]


def _weighted(e: Dense, weights: Value, source: AttendSource, reduced: tuple[Axis, ...]) -> Value:
    """sum over keys of weight * value; of values that are joined one by one."""
    joint = isinstance(source.value, ConcatDims)
    values = source.value.args if isinstance(source.value, ConcatDims) else (source.value,)
    made = [einsum(e, weights, e.lower(value), (), (), reduced) for value in values]
    return joined(e, made) if joint else made[0]


def _sum_of_sources(e: Dense, node: Attend, weights: Value) -> Value:
    """Each source's share of the weights times its values, added up."""
    place = weights.axes.index(node.joint)
    rest = tuple(axis for axis in weights.axes if axis != node.joint)
    moved = e.method("movedim", weights.node, place, -1)
    start: Any = 0
    total: Value | None = None
    for source in node.sources:
        sizes = [e.size(axis) for axis in source.axes]
        count: Any = sizes[0]
        for size in sizes[1:]:
            count = (
                size * count if not _symbolic(size, count) else e.call(operator.mul, count, size)
            )
        share = moved
        if len(node.sources) > 1:
            share = e.method("narrow", moved, -1, start, count)
            start = (
                start + count if not _symbolic(start, count) else e.call(operator.add, start, count)
            )
        if len(sizes) > 1:
            share = e.method("unflatten", share, -1, tuple(sizes))
        own = e.arrange(share, (*rest, *source.axes), 0, weights.wide)
        term = _weighted(e, own, source, source.axes)
        total = term if total is None else _plus(e, total, term)
    assert total is not None
    return total


def _symbolic(*sizes: Any) -> bool:
    return any(isinstance(size, torch.fx.Node) for size in sizes)


def _plus(e: Dense, left: Value, right: Value) -> Value:
    axes = by_rank((*left.axes, *right.axes))
    dims = max(left.dims, right.dims)
    made = e.call(operator.add, e.align(left, axes, dims), e.align(right, axes, dims))
    return Value(made, axes, dims, left.wide or right.wide)
