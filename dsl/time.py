"""The time judgement: which tokens of the causal stream an expression depends on.

    needs(e) = { (guard, bound, path) }

A need says: where the guard holds, e depends on no token later than `bound` through `path`. A token
that a reduction ranges over is a fresh axis in guard and bound, free to be any token. An expression
without needs depends on no token at all. Every rule may only enlarge what the rule above it says:
an unknown bound is `None`, read as +infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .core import (
    Attend,
    Axis,
    AxisToDim,
    Choose,
    Kind,
    Node,
    Param,
    Part,
    Recur,
    Reduce,
    Scan,
    Scatter,
    Scores,
    Segment,
    Simplex,
    Sort,
    Stencil,
    Top,
    Use,
    operands,
    walk,
)
from .needs import NOTHING, Need, Needs, distinct, guarded
from .prover import Prover
from .substitution import Fresh, place, pointwise, substitute
from .support import Literals, conjuncts
from .typed import TokenSet, TypedSpec

MOST_NEEDS = 40
FEW_NEEDS = 8
MOST_WORK = 20_000
GATHERING = (Reduce, Scan, Stencil, Attend, Recur, Top, Sort, Scatter, Segment, Use, Part)


@dataclass(slots=True)
class Frame:
    """What stands for the open leaves of an inner expression.

    scores    needs of `Scores` inside a normalize
    joint     the key axis there, and the guard that says which keys are there (None: not stated)
    carries   needs of the carries inside a recur
    local     the nodes whose needs hold in this frame only
    """

    scores: Needs = ()
    joint: Axis | None = None
    visible: Literals = frozenset()
    carries: dict[str, Needs] = field(default_factory=dict)
    local: set[Node] = field(default_factory=set)
    memo: dict[Node, Needs] = field(default_factory=dict)
    outer: Frame | None = None


Rule: TypeAlias = Callable[["Clock", Node], Needs]
UseRule: TypeAlias = Callable[["Clock", Use], Needs]


class Clock:
    """Derives needs for one spec.

    masked        ints, bools and what an attend makes of its scores need nothing
    memory_given  tokens of context are given in advance (cross-attention)
    rule, use     the rule by kind of node, and the one for applied specs
    """

    def __init__(
        self,
        spec: TypedSpec,
        masked: bool,
        memory_given: bool,
        rule: Rule,
        use: UseRule,
        prover: Prover,
    ) -> None:
        self.spec = spec
        self.masked = masked
        self.memory_given = memory_given
        self.rule = rule
        self.use = use
        self.prover = prover
        self.fresh = Fresh()
        self.frame = Frame()
        self.open: dict[Node, frozenset[str]] = {}
        self.work = 0
        self.sets = {axis: item for item in spec.sets.values() for axis in item.axes[:1]}

    # Walking

    def needs(self, root: Node) -> Needs:
        """What an expression depends on, in the frame around."""
        for node in walk(root):
            if node in self.frame.local or not self._leaves(node):
                self.known(node)
        return self.known(root)

    def known(self, node: Node) -> Needs:
        """The needs of a node, derived once in the innermost frame that it belongs to."""
        inside, frame = self.frame, self.frame
        while frame.outer is not None and node not in frame.local:
            frame = frame.outer
        if node not in frame.memo:
            self.frame = frame
            try:
                frame.memo[node] = self._settled(node)
            finally:
                self.frame = inside
        return frame.memo[node]

    def of_all(self, nodes: Iterable[Node]) -> Needs:
        """The needs of several nodes together."""
        return tuple(need for node in nodes for need in self.known(node))

    def enter(self, frame: Frame, *roots: Node) -> None:
        """Make a frame the innermost one; it owns what looks at its leaves or at keys of its own."""
        joint = frame.joint
        only_here = joint is not None and (joint.role == "joint" or joint.name != joint.base)
        for node in walk(*roots):
            own = bool(self._leaves(node) & (frame.carries.keys() or {""}))
            gathers = only_here and joint in gathered(node)
            if own or gathers or any(item in frame.local for item in operands(node)):
                frame.local.add(node)
        frame.outer = self.frame
        self.frame = frame

    def leave(self) -> None:
        """Go back to the frame around."""
        assert self.frame.outer is not None
        self.frame = self.frame.outer

    def _leaves(self, node: Node) -> frozenset[str]:
        """The open leaves of a node: `Scores` of a normalize around, carries of a recur around."""
        if node not in self.open:
            is_next = all(item in self.open for item in operands(node))
            for item in (node,) if is_next else walk(node):
                if item not in self.open:
                    self.open[item] = self._open_leaves(item)
        return self.open[node]

    def _open_leaves(self, node: Node) -> frozenset[str]:
        match node:
            case Scores():
                return frozenset({""})
            case Param(role="carry"):
                return frozenset({node.name})
            case _:
                inner = frozenset[str]().union(*(self.open[item] for item in operands(node)))
                if isinstance(node, Recur):
                    return inner - set(node.names)
                if isinstance(node, Attend):
                    return inner - {""}
                return inner

    def _settled(self, node: Node) -> Needs:
        if self.masked and node.type.kind is not Kind.REAL:
            return NOTHING
        if self.work > MOST_WORK:
            return (Need(frozenset(), None, (node, None), "the spec is too large to follow"),)
        found = distinct(self.rule(self, node))
        if len(found) > (FEW_NEEDS if isinstance(node, Attend | Use) else MOST_NEEDS):
            found = self._widened(node, found)
        self.work += len(found) + 1
        return self._passed(node, found)

    def _passed(self, node: Node, needs: Needs) -> Needs:
        """The needs with the node on their path, where a reader would want to see it."""
        if node not in self.spec.spans and not isinstance(node, GATHERING):
            return needs
        return tuple(replace(need, path=(node, need.path)) for need in needs)

    def _widened(self, node: Node, needs: Needs) -> Needs:
        """Fewer, weaker needs: those provably not after a token of the node are that."""
        kept = ((self.bounded(need, node.type.tokens) or need) for need in needs)
        found = distinct(kept)
        if len(found) <= MOST_NEEDS:
            return found
        return (Need(frozenset(), None, (node, None), "too many ways in to follow"),)

    def bounded(self, need: Need, axes: Iterable[Axis]) -> Need | None:
        """The need as the start or time of a token of the axes that it is provably not after."""
        if need.bound is None:
            return None
        moments = (which(axis) for which in (self.start_of, self.time_of) for axis in axes)
        for moment in dict.fromkeys(moments):
            if moment is not None and self._implied(need.guard, need.bound, moment):
                return replace(need, guard=frozenset(), bound=moment)
        return None

    def _implied(self, guard: Literals, bound: Node, moment: Node) -> bool:
        return bool(self.prover.prove(conjuncts(guard), pointwise("<=", bound, moment)))

    # Tokens

    def set_of(self, axis: Axis) -> TokenSet | None:
        """The token set that an axis runs over."""
        for name in (axis.base, axis.name):
            if name and name in self.spec.sets:
                return self.spec.sets[name]
        return next((item for item in self.sets.values() if axis in item.axes), None)

    def time_of(self, axis: Axis) -> Node | None:
        """When a token of an axis is known; None where it has no time or only at the end."""
        return self._moment(axis, "time")

    def start_of(self, axis: Axis) -> Node | None:
        """The first token that a token of an axis is made of."""
        return self._moment(axis, "start")

    def _moment(self, axis: Axis, which: str) -> Node | None:
        if root_name(axis) in ("x", "context"):
            return place(axis)
        token_set = self.set_of(axis)
        if token_set is None or token_set.unknown:
            return None
        moment: Node | None = getattr(token_set, which)
        if moment is None:
            return None
        return substitute(moment, token_set.axis, place(axis))

    def is_given(self, axis: Axis) -> bool:
        """Whether the tokens of an axis are memory, known before everything."""
        if not self.memory_given:
            return False
        name, seen = root_name(axis), set[str]()
        while name in self.spec.sets and name not in seen:
            seen.add(name)
            if name in ("x", "context"):
                break
            name = self.spec.sets[name].source
        return name == "context"

    def is_slots(self, axis: Axis) -> bool:
        """Whether the tokens of an axis are places without position, before everything."""
        token_set = self.set_of(axis)
        if token_set is None or root_name(axis) in ("x", "context"):
            return False
        return token_set.position is None and not token_set.unknown and axis.size is not None

    def token_needs(self, axis: Axis, which: Callable[[Axis], Node | None]) -> Needs:
        """The need of one token: its time, or its start."""
        if self.is_given(axis) or self.is_slots(axis):
            return NOTHING
        bound = which(axis)
        why = "" if bound is not None else f"tokens of `{axis}` are known only at the end"
        return (Need(frozenset(), bound, None, why),)

    def existence(self, axes: Iterable[Axis], guard: Literals) -> Needs:
        """That a token is there at all reveals its start, where the guard holds."""
        found: list[Need] = []
        for axis in axes:
            if axis.role == "token" and axis.size is None:
                found.extend(self.token_needs(axis, self.start_of))
        return guarded(found, guard)

    # Substitution

    def moved(self, needs: Iterable[Need], axis: Axis, index: Node) -> Needs:
        """The needs at the token that the index names."""
        found = []
        for need in needs:
            guard = frozenset((substitute(node, axis, index), truth) for node, truth in need.guard)
            bound = None if need.bound is None else substitute(need.bound, axis, index)
            found.append(replace(need, guard=guard, bound=bound))
        self.work += len(found)
        return tuple(found)

    def spread(self, needs: Iterable[Need], axes: Iterable[Axis]) -> Needs:
        """The needs for any tokens of the axes: each axis is renamed to a fresh one."""
        found = tuple(needs)
        for axis in axes:
            found = self.moved(found, axis, place(self.fresh.like(axis)))
        return found


def root_name(axis: Axis) -> str:
    return axis.base or axis.name


def gathered(node: Node) -> tuple[Axis, ...]:
    """The axes that a node reads along, beyond the place it is at."""
    match node:
        case Reduce(axes=axes) | Segment(axes=axes) | Sort(axes=axes):
            return axes
        case Scan(axis=axis) | Simplex(axis=axis) | Top(axis=axis) | AxisToDim(axis=axis):
            return (axis,)
        case Choose(axis=axis) if axis is not None:
            return (axis,)
        case _:
            return ()
