"""Leaks: the ways by which the future may get into an output, in words and with their path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce

from .core import (
    Attend,
    Axis,
    Choose,
    Const,
    Index,
    Map,
    Node,
    Position,
    Read,
    Recur,
    Reduce,
    Scan,
    Scatter,
    Segment,
    Sort,
    Split,
    Stencil,
    Top,
    Use,
    walk,
)
from .needs import Need
from .source import Span
from .substitution import pointwise
from .support import conjuncts
from .time import GATHERING, Clock

TAP = "tap"


@dataclass(frozen=True, slots=True)
class Step:
    """One station on the way of a leak, from the output inwards."""

    span: Span | None
    text: str


@dataclass(frozen=True, slots=True)
class Leak:
    """A way by which the future may get into an output.

    span             the culprit: what ranges over the tokens that are too late
    unknown          it was neither proved nor shown to be possible
    counterexample   tokens at which the guards hold and the bound is later than the output's
    """

    output: str
    reason: str
    path: tuple[Step, ...]
    span: Span | None
    unknown: bool
    counterexample: Mapping[str, int] | None


def leaks_of(clock: Clock, name: str, node: Node) -> list[Leak]:
    """The needs of an output that may be later than its token, one for each reason."""
    axes = [a for a in node.type.tokens if not clock.is_given(a) and not clock.is_slots(a)]
    moments = [clock.time_of(axis) for axis in axes]
    known = [moment for moment in moments if moment is not None]
    found: dict[str, Leak] = {}
    for need in clock.needs(node):
        leak = _leak(clock, name, need, known)
        if leak is not None:
            found.setdefault(leak.reason, leak)
    return sorted(found.values(), key=lambda leak: leak.unknown)


def _leak(clock: Clock, name: str, need: Need, moments: list[Node]) -> Leak | None:
    """The need as a leak, unless its bound is proved not to be after the token."""
    example, unknown = None, False
    if need.bound is not None and moments:
        goals = [pointwise("<=", need.bound, moment) for moment in moments]
        goal = reduce(lambda a, b: pointwise("or", a, b), goals)
        proof = clock.prover.prove(conjuncts(need.guard), goal)
        if proof:
            return None
        unknown = proof.verdict == "unknown"
        example = _only_tokens(proof.counterexample, need, goal)
    culprit = _culprit(need)
    span = None if culprit is None else clock.spec.spans.get(culprit)
    return Leak(name, _reason(clock, need), _path(clock, need), span, unknown, example)


def _only_tokens(
    example: Mapping[str, int] | None, need: Need, goal: Node
) -> Mapping[str, int] | None:
    """The tokens of a counterexample: members, heads and taps are left out."""
    if example is None:
        return None
    nodes = (goal, *(node for node, _ in need.guard))
    axes = {axis.name for node in nodes for axis in node.type.tokens}
    return {name: token for name, token in example.items() if name in axes}


def _path(clock: Clock, need: Need) -> tuple[Step, ...]:
    """The stations from the output inwards: bindings, and what gathers tokens; each place once."""
    names = {*clock.spec.bindings.values(), *clock.spec.outputs.values()}
    found: dict[object, Step] = {}
    for node in _stations(need):
        if node in names or isinstance(node, GATHERING):
            span = clock.spec.spans.get(node)
            step = Step(span, _describe(clock, node))
            found.setdefault(span or step.text, step)
    return tuple(found.values())


def _stations(need: Need) -> list[Node]:
    """The nodes on the path, from the output inwards."""
    found: list[Node] = []
    path = need.path
    while path is not None:
        node, path = path
        if not found or found[-1] is not node:
            found.append(node)
    return found


def _name(clock: Clock, node: Node) -> str:
    """The binding that a node is, or the text that it was written as."""
    for name, value in clock.spec.bindings.items():
        if value is node:
            return f"`{name}`"
    span = clock.spec.spans.get(node)
    if span is None:
        return f"this {type(node).__name__.lower()}"
    text = " ".join(span.text.split())
    return f"`{text}`" if len(text) <= 60 else f"`{text[:57]}...`"


def _describe(clock: Clock, node: Node) -> str:
    name = _name(clock, node)
    axes = " and ".join(f"`{_tokens(axis)}`" for axis in _gathered_tokens(node))
    match node:
        case Reduce() if axes:
            return f"{name} takes the {node.op} over {axes}"
        case Attend():
            return f"{name} attends to {axes}" if axes else f"{name} attends"
        case Scan(reverse=reverse):
            return f"{name} runs along {axes}" + (" from the end" if reverse else "")
        case Recur():
            return f"{name} recurs over {axes}"
        case Stencil():
            return f"{name} reads neighbours along {axes}"
        case Top() | Choose() | Sort() if axes:
            return f"{name} chooses among {axes}"
        case Use():
            return f"`{node.name}` is applied"
        case _:
            return f"through {name}"


def _tokens(axis: Axis) -> str:
    return (axis.base or axis.name).split("#")[0]


def _gathered_tokens(node: Node) -> list[Axis]:
    axes: tuple[Axis, ...] = ()
    match node:
        case Attend(sources=sources):
            axes = tuple(axis for source in sources for axis in source.axes)
        case Reduce() | Segment() | Stencil() | Sort():
            axes = node.axes
        case Scatter():
            axes = node.source_axes
        case Scan(axis=axis) | Top(axis=axis) | Recur(axis=axis):
            axes = (axis,)
        case Choose(axis=one) if one is not None:
            axes = (one,)
        case _:
            pass
    return [axis for axis in axes if axis.role == "token"]


def _culprit(need: Need) -> Node | None:
    """The innermost node that ranges over the tokens of the bound."""
    if need.bound is None:
        return None
    late = {_tokens(axis) for axis in need.bound.type.axes if "#" in axis.name}
    for node in reversed(_stations(need)):
        if isinstance(node, Stencil) and TAP in late:
            return node
        if any(_tokens(axis) in late for axis in _gathered_tokens(node)):
            return node
    return None


def _reason(clock: Clock, need: Need) -> str:
    """Why the bound may be later than the token, in words."""
    if need.bound is None:
        return need.why
    node = _culprit(need)
    if node is not None:
        return _why(clock, node, bool(need.guard))
    if any(isinstance(item, Split) for item in _stations(need)):
        return "members of a window come after the token that reads it"
    if all(isinstance(item, Map | Index | Position | Const | Read) for item in walk(need.bound)):
        return "a token after i is read"
    return "a token that the data choose is read; nothing says that it is not after i"


def _why(clock: Clock, node: Node, limited: bool) -> str:
    name = _name(clock, node)
    tokens = " and ".join(_tokens(axis) for axis in _gathered_tokens(node))
    tail = "what limits it still lets in tokens after i"
    if not limited:
        tail = "nothing limits it to tokens up to i"
    match node:
        case Reduce():
            return f"{name} takes the {node.op} over `{tokens}`; {tail}"
        case Attend():
            return f"{name} attends to `{tokens}`; {tail}"
        case Scan():
            return f"{name} runs over `{tokens}`; {tail}"
        case Stencil():
            return f"{name} reads cells of `{tokens}` after its own; {tail}"
        case Top() | Choose() | Sort():
            return f"{name} chooses among `{tokens}`; {tail}"
        case _:
            return f"{name} gathers from `{tokens}`; {tail}"
