"""When attends and recurrences are known: their inner expressions, under what is visible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .core import (
    Attend,
    AttendSource,
    Axis,
    Node,
    Param,
    Part,
    Recur,
    walk,
)
from .needs import NOTHING, Need, Needs, distinct, guarded, literal
from .substitution import number, place, pointwise
from .support import Literals, support
from .time import Clock, Frame


def visible(source: AttendSource) -> Literals:
    """The pairs that are there: the mask holds, the ref is not -1, the score is not -inf."""
    return admitted(source) | support(source.score, "low")


def admitted(source: AttendSource) -> Literals:
    """The pairs that mask and list let in."""
    found: Literals = frozenset()
    if source.mask is not None:
        found |= literal(source.mask, True)
    if source.at is not None:
        found |= literal(pointwise(">=", source.at, number(0)), True)
    return found


def attend(clock: Clock, node: Attend) -> Needs:
    """The values of the visible keys, and unless masked what says how much each counts."""
    found: list[Need] = []
    for source in node.sources:
        inner = guarded(clock.known(source.value), visible(source))
        if not clock.masked:
            inner += _pairs(clock, source)
        found.extend(clock.spread(inner, source.axes))
    if not clock.masked:
        found.extend(_normalized(clock, node))
    return tuple(found)


def _pairs(clock: Clock, source: AttendSource) -> Needs:
    """What mask, list and score depend on, and that the keys are there, by pair."""
    found = () if source.mask is None else clock.known(source.mask)
    if source.at is not None:
        found += clock.known(source.at)
    return (
        *found,
        *guarded(clock.known(source.score), admitted(source)),
        *clock.existence(source.axes, visible(source)),
    )


def _normalized(clock: Clock, node: Attend) -> Needs:
    """What the weights of the visible keys depend on."""
    inner, axes = _weights(clock, node)
    return clock.spread(inner, axes)


def _weights(clock: Clock, node: Attend) -> tuple[Needs, tuple[Axis, ...]]:
    """Needs of normalize at a visible key, and the axes that the key has."""
    source = node.sources[0]
    frame = Frame(joint=node.joint)
    if len(node.sources) == 1 and node.joint in source.axes:
        frame.visible = visible(source)
        frame.scores = guarded(clock.known(source.score), admitted(source))
        axes = source.axes
    else:
        frame.scores = _any_scores(clock, node)
        axes = (node.joint,)
    clock.enter(frame, node.normalize)
    try:
        return guarded(clock.needs(node.normalize), frame.visible), axes
    finally:
        clock.leave()


def _any_scores(clock: Clock, node: Attend) -> Needs:
    """What the scores of all keys of all sources depend on."""
    found: list[Need] = []
    for item in node.sources:
        scores = guarded(clock.known(item.score), admitted(item))
        found.extend(clock.spread(scores, item.axes))
    return tuple(found)


def part_of_attend(clock: Clock, node: Part) -> Needs:
    """The lse of a row, or its weights or scores by key."""
    if clock.masked:
        return NOTHING
    attend = node.attend
    assert isinstance(attend, Attend)
    source = attend.sources[0]
    keeps = len(attend.sources) == 1 and node.part != "lse"
    if not keeps:
        inner = tuple(
            need for item in attend.sources for need in clock.spread(_pairs(clock, item), item.axes)
        )
        return inner + (_normalized(clock, attend) if node.part == "weights" else ())
    mask = () if source.mask is None else clock.known(source.mask)
    mask += () if source.at is None else clock.known(source.at)
    if node.part == "scores":
        return mask + guarded(clock.known(source.score), admitted(source))
    inner, axes = _weights(clock, attend)
    if axes != source.axes:
        inner = clock.spread(inner, axes)
    return mask + inner


# Recur


def recur(clock: Clock, node: Recur) -> Needs:
    """Carries at a token hold what entered at tokens up to it; the last one, everything.

    Inside the loop a carry may be moved along other axes, so what it holds is spread over all
    of them, and guards that look at a carry are forgotten.
    """
    other = clock.fresh.like(node.axis)
    before = literal(pointwise("<", place(other), place(node.axis)), True)
    start = _freed(clock, node, clock.of_all(node.inits))
    entered = _body(clock, node, node.nexts, dict.fromkeys(node.names, start))
    entered = _freed(clock, node, entered)
    held = start + guarded(clock.moved(entered, node.axis, place(other)), before)
    if node.which < 0:
        there = clock.existence((node.axis,), frozenset())
        return start + clock.spread(entered + there, (node.axis,))
    found = _body(clock, node, (node.yields[node.which],), dict.fromkeys(node.names, held))
    return tuple(_without_carries(clock, node, need) for need in found)


def _body(clock: Clock, node: Recur, parts: Sequence[Node], carries: dict[str, Needs]) -> Needs:
    clock.enter(Frame(carries=carries), *parts)
    try:
        return tuple(need for part in parts for need in clock.needs(part))
    finally:
        clock.leave()


def _freed(clock: Clock, node: Recur, needs: Needs) -> Needs:
    """Spread over every axis but that of the loop, without guards that look at a carry."""
    kept = distinct(_without_carries(clock, node, need) for need in needs)
    axes = {
        axis
        for need in kept
        for part in (*(item for item, _ in need.guard), need.bound)
        if part is not None
        for axis in part.type.axes
    }
    return clock.spread(kept, [axis for axis in axes if axis != node.axis and "#" not in axis.name])


def _without_carries(clock: Clock, node: Recur, need: Need) -> Need:
    def looks(part: Node) -> bool:
        return any(
            isinstance(item, Param) and item.role == "carry" and item.name in node.names
            for item in walk(part)
        )

    def kept(guard: Literals) -> Literals:
        return frozenset(item for item in guard if not looks(item[0]))

    free = replace(need, guard=kept(need.guard))
    if need.bound is None or (free.guard == need.guard and not looks(need.bound)):
        return free
    if not looks(need.bound) and clock.bounded(free, (node.axis,)) is not None:
        return free
    now = clock.bounded(need, (node.axis,))
    if now is not None:
        return now
    if looks(need.bound):
        return replace(free, bound=None, why="reads at a place that a carry holds")
    return free
