"""When each kind of node is known: one rule for each, with the tokens that it reads along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .core import (
    Attend,
    Axis,
    AxisToDim,
    Choose,
    ConcatDims,
    Const,
    Contract,
    DimToAxis,
    Draw,
    Dropout,
    Eye,
    Fill,
    Index,
    KvHead,
    Length,
    Linear,
    Map,
    Node,
    Norm,
    Param,
    Part,
    Position,
    Range,
    Rank,
    Read,
    ReadDim,
    Recur,
    Reduce,
    Reshape,
    Scan,
    Scatter,
    Scores,
    Segment,
    Simplex,
    Sort,
    Split,
    StackAxis,
    Stencil,
    Top,
    Transpose,
    Tree,
    Use,
    Valid,
    operands,
)
from .needs import NOTHING, Need, Needs, guarded, literal
from .sizes import constant
from .substitution import number, place, pointwise, substitute
from .support import Literals, support
from .time import Clock, Frame
from .time_blocks import attend, part_of_attend, recur

PLAIN: tuple[type[Node], ...] = (
    *(Const, Fill, Index, Position, KvHead, Range, Eye, Draw, Contract, Linear, Norm, ReadDim),
    *(Rank, ConcatDims, DimToAxis, Reshape, Transpose, Dropout),
)


def rule_of(clock: Clock, node: Node) -> Needs:
    """The needs of a node from those of its operands."""
    match node:
        case Param():
            return _param(clock, node)
        case Valid():
            return clock.token_needs(node.axis, clock.time_of)
        case Length():
            return (Need(frozenset(), None, None, f"the length of `{node.axis}` is known last"),)
        case Tree():
            return _tree(clock, node)
        case Map():
            return _map(clock, node)
        case Read():
            return _read(clock, node)
        case Reduce():
            return _reduce(clock, node)
        case Scan():
            return _scan(clock, node)
        case Stencil():
            return _stencil(clock, node)
        case Split():
            return _split(clock, node)
        case Top(arg=arg, axis=axis, where=where):
            return _gather(clock, arg, (axis,), where, "low")
        case Choose():
            return _choose(clock, node)
        case Sort():
            return _sort(clock, node)
        case Segment():
            return _segment(clock, node)
        case Scatter():
            return _scatter(clock, node)
        case _:
            return _structure(clock, node)


def _structure(clock: Clock, node: Node) -> Needs:
    match node:
        case AxisToDim(arg=arg, axis=axis):
            return _gather(clock, arg, (axis,), None, "")
        case Simplex():
            whole = _gather(clock, node.arg, (node.axis,), None, "low")
            return whole + clock.known(node.arg) + clock.known(node.alpha)
        case StackAxis():
            return _stack(clock, node)
        case Scores():
            return frame_of(clock, "").scores
        case Attend():
            return attend(clock, node)
        case Part():
            return part_of_attend(clock, node)
        case Recur():
            return recur(clock, node)
        case Use():
            return clock.use(clock, node)
        case _ if isinstance(node, PLAIN):
            return clock.of_all(operands(node))
        case _:
            return (Need(frozenset(), None, (node, None), "no rule says when it is known"),)


def frame_of(clock: Clock, leaf: str) -> Frame:
    """The innermost frame that says what an open leaf is; without one nothing is known."""
    frame: Frame | None = clock.frame
    while frame is not None:
        if leaf in frame.carries or (not leaf and frame.joint is not None):
            return frame
        frame = frame.outer
    unknown = (Need(frozenset(), None, None, "a value from outside its block"),)
    return Frame(scores=unknown, carries={leaf: unknown})


def _param(clock: Clock, node: Param) -> Needs:
    if node.role in ("weight", "buffer", "random"):
        return NOTHING
    if node.role == "carry":
        return frame_of(clock, node.name).carries[node.name]
    found: list[Need] = []
    for axis in node.type.tokens:
        found.extend(clock.token_needs(axis, clock.time_of))
    return tuple(found)


def _tree(clock: Clock, node: Tree) -> Needs:
    """Fields of a tree are arithmetic on places; whether a node exists depends on the length."""
    if node.which in ("node", "count"):
        why = "whether a tree node exists depends on the length"
        return (*clock.of_all(node.args), Need(frozenset(), None, None, why))
    return NOTHING


def _map(clock: Clock, node: Map) -> Needs:
    match node.op:
        case "where":
            condition, yes, no = node.args
            return (
                *clock.known(condition),
                *guarded(clock.known(yes), literal(condition, True)),
                *guarded(clock.known(no), literal(condition, False)),
            )
        case "and" | "or":
            return _logic(clock, node)
        case _:
            return clock.of_all(node.args)


def _logic(clock: Clock, node: Map) -> Needs:
    """Each part matters only where the parts before it leave the outcome open.

    Parts without needs come first.
    """
    parts = chain(node, node.op)
    parts.sort(key=lambda part: bool(clock.known(part)))
    guard: Literals = frozenset()
    found: list[Need] = []
    for part in parts:
        found.extend(guarded(clock.known(part), guard))
        guard |= literal(part, node.op == "and")
    return tuple(found)


def _read(clock: Clock, node: Read) -> Needs:
    if node.index.type.dims:
        return (*clock.known(node.index), *clock.spread(clock.known(node.arg), (node.axis,)))
    there: Literals = frozenset()
    if not isinstance(node.index, Index):
        there = literal(pointwise(">=", node.index, number(0)), True)
    moved = guarded(clock.moved(clock.known(node.arg), node.axis, node.index), there)
    return (*clock.known(node.index), *moved)


def _gather(
    clock: Clock, arg: Node, axes: Sequence[Axis], where: Node | None, neutral: str
) -> Needs:
    """A reduction over axes of what `where` lets in."""
    known = () if where is None else clock.known(where)
    guard = present(clock, axes) | (frozenset() if where is None else literal(where, True))
    extra = support(arg, neutral) if neutral else frozenset()
    inner = (
        *guarded(known, present(clock, axes) | _by_places(clock, extra)),
        *guarded(clock.known(arg), guard),
        *clock.existence(axes, guard | extra),
    )
    return clock.spread(inner, axes)


def _by_places(clock: Clock, guard: Literals) -> Literals:
    """The conditions of a guard that depend on no token: they are what they are in all data."""
    parts = [
        (part, truth)
        for node, truth in guard
        for part in (chain(node, "and") if truth else (node,))
    ]
    return frozenset((part, truth) for part, truth in parts if not clock.known(part))


def present(clock: Clock, axes: Iterable[Axis]) -> Literals:
    """Inside a normalize, reductions over the key axis run over the keys that are there."""
    frame: Frame | None = clock.frame
    while frame is not None:
        if frame.joint is not None:
            return frame.visible if frame.joint in set(axes) else frozenset()
        frame = frame.outer
    return frozenset()


def _reduce(clock: Clock, node: Reduce) -> Needs:
    neutral = {"sum": "zero", "max": "low", "min": "high", "logsumexp": "low"}
    neutral |= {"any": "false", "all": "true"}
    return _gather(clock, node.arg, node.axes, node.where, neutral.get(node.op, ""))


def _scan(clock: Clock, node: Scan) -> Needs:
    other = clock.fresh.like(node.axis)
    op = (">" if node.reverse else "<") + ("" if node.exclusive else "=")
    read_at = pointwise(op, place(other), place(node.axis))
    visible = present(clock, (node.axis,))
    inner = guarded(clock.known(node.arg), visible)
    inner += clock.existence((node.axis,), support(node.arg, "zero") | visible)
    return guarded(clock.moved(inner, node.axis, place(other)), literal(read_at, True))


def _stencil(clock: Clock, node: Stencil) -> Needs:
    inner = (
        *clock.known(node.arg),
        *clock.existence(node.axes, support(node.arg, "zero")),
    )
    taps = node.kernel.type.dims[-len(node.axes) :]
    for axis, start, size in zip(node.axes, node.starts, taps, strict=True):
        tap = Axis(f"tap#{next(clock.fresh.numbers)}", "user", 0, constant(size.value))
        cell = pointwise("+", pointwise("+", place(axis), place(tap)), number(start))
        inner = guarded(
            clock.moved(inner, axis, cell), literal(pointwise(">=", cell, number(0)), True)
        )
    if node.channels is not None:
        inner = clock.spread(inner, (node.channels,))
    return (*inner, *clock.known(node.kernel))


def _split(clock: Clock, node: Split) -> Needs:
    inner = clock.known(node.arg)
    inner += clock.existence((node.axis,), support(node.arg, "zero"))
    first = pointwise("*", place(node.made), number(node.stride))
    return clock.moved(inner, node.axis, pointwise("+", first, place(node.member)))


def _choose(clock: Clock, node: Choose) -> Needs:
    if node.axis is None:
        where = () if node.where is None else clock.known(node.where)
        return (*where, *clock.known(node.arg))
    neutral = "low" if node.op == "argmax" else "high"
    return _gather(clock, node.arg, (node.axis,), node.where, neutral)


def _sort(clock: Clock, node: Sort) -> Needs:
    inner = (*clock.of_all(node.keys), *clock.existence(node.axes, frozenset()))
    return clock.spread(inner, node.axes)


def _segment(clock: Clock, node: Segment) -> Needs:
    made = node.label.type.ref
    guard = support(node.arg, "zero") if node.op == "sum" else frozenset()
    lands: Literals = frozenset()
    if made is not None and made in node.type.axes:
        lands = literal(pointwise("==", node.label, place(made)), True)
    inner = (
        *guarded(clock.known(node.label), guard),
        *guarded(clock.known(node.arg), lands),
        *clock.existence(node.axes, guard | lands),
    )
    if made is not None and made in node.axes:
        return clock.spread(tuple(replace(need, guard=frozenset()) for need in inner), node.axes)
    return clock.spread(inner, node.axes)


def _scatter(clock: Clock, node: Scatter) -> Needs:
    """What lands at a token was sent by those whose refs name it."""
    away = {axis: clock.fresh.like(axis) for axis in node.source_axes}
    lands: Literals = frozenset()
    inner = (*clock.known(node.arg), *clock.existence(node.source_axes, frozenset()))
    sent: Needs = clock.of_all(node.targets)
    for axis, other in away.items():
        inner, sent = (clock.moved(part, axis, place(other)) for part in (inner, sent))
    for axis, target in zip(node.axes, node.targets, strict=True):
        for old, new in away.items():
            target = substitute(target, old, place(new))
        lands |= literal(pointwise("==", target, place(axis)), True)
    return (*guarded(inner, lands), *sent)


def _stack(clock: Clock, node: StackAxis) -> Needs:
    found: list[Need] = []
    for n, arg in enumerate(node.args):
        here = pointwise("==", place(node.axis), number(n))
        found.extend(guarded(clock.known(arg), literal(here, True)))
    return tuple(found)


def chain(node: Node, op: str) -> list[Node]:
    """The parts of a chain of `and` or of `or`."""
    found: list[Node] = []
    stack = [node]
    while stack:
        item = stack.pop()
        if isinstance(item, Map) and item.op == op:
            stack.extend(reversed(item.args))
        else:
            found.append(item)
    return found
