"""The time judgement: which tokens of the causal stream an expression depends on.

    needs(e) = { (guard, bound, path) }

A need says: where the guard holds, e depends on no token later than `bound` through `path`. A token
that a reduction ranges over is a fresh axis in guard and bound, free to be any token. An expression
without needs depends on no token at all. Every rule may only enlarge what the rule above it says:
an unknown bound is `None`, read as +infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .core import (
    Attend,
    AttendSource,
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
    Kind,
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
    TokenSet,
    Top,
    Transpose,
    Tree,
    TypedSpec,
    Use,
    Valid,
    operands,
    walk,
)
from .prover import Prover
from .sizes import constant
from .substitution import Fresh, number, place, pointwise, substitute
from .support import Literals, conjuncts, support

MOST_NEEDS = 40
MOST_WORK = 20_000

Path: TypeAlias = tuple["Node", "Path | None"]


@dataclass(frozen=True, slots=True)
class Need:
    """Where the guard holds, tokens up to `bound` matter (None: all tokens).

    path     the nodes through which they enter, the last one first
    why      the words for a bound of None
    """

    guard: Literals
    bound: Node | None
    path: Path | None = None
    why: str = ""


Needs: TypeAlias = tuple[Need, ...]
NOTHING: Needs = ()


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


UseNeeds: TypeAlias = Callable[["Clock", Use], Needs]


class Clock:
    """Derives needs for one spec.

    masked        ints, bools and what an attend makes of its scores need nothing
    memory_given  tokens of context are given in advance (cross-attention)
    use           the rule for applied specs
    """

    def __init__(
        self, spec: TypedSpec, masked: bool, memory_given: bool, use: UseNeeds, prover: Prover
    ) -> None:
        self.spec = spec
        self.masked = masked
        self.memory_given = memory_given
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

    def _enter(self, frame: Frame, *roots: Node) -> None:
        """Make a frame the innermost one; it owns what looks at its leaves or at its keys."""
        for node in walk(*roots):
            own = bool(self._leaves(node) & (frame.carries.keys() or {""}))
            gathers = frame.joint is not None and frame.joint in _gathered(node)
            if own or gathers or any(item in frame.local for item in operands(node)):
                frame.local.add(node)
        frame.outer = self.frame
        self.frame = frame

    def _leave(self) -> None:
        assert self.frame.outer is not None
        self.frame = self.frame.outer

    def _leaves(self, node: Node) -> frozenset[str]:
        """The open leaves of a node: `Scores` of a normalize around, carries of a recur around."""
        if node not in self.open:
            for item in walk(node):
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
        found = _distinct(self._rule(node))
        if len(found) > MOST_NEEDS:
            found = self._widened(node, found)
        self.work += len(found) + 1
        return self._passed(node, found)

    def _passed(self, node: Node, needs: Needs) -> Needs:
        """The needs with the node on their path, where a reader would want to see it."""
        if node not in self.spec.spans and not isinstance(node, GATHERING):
            return needs
        return tuple(replace(need, path=(node, need.path)) for need in needs)

    def _widened(self, node: Node, needs: Needs) -> Needs:
        """Fewer, weaker needs: those that are provably not after a token of the node are that."""
        kept: list[Need] = []
        for need in needs:
            token = next((t for t in self._tokens(node) if self._not_after(need, t)), None)
            kept.append(need if token is None else replace(need, guard=frozenset(), bound=token))
        found = _distinct(kept)
        if len(found) <= MOST_NEEDS:
            return found
        return (Need(frozenset(), None, (node, None), "too many ways in to follow"),)

    def _tokens(self, node: Node) -> list[Node]:
        found = (self.time_of(axis) for axis in node.type.tokens)
        return [time for time in found if time is not None]

    def _not_after(self, need: Need, token: Node) -> bool:
        if need.bound is None:
            return False
        return bool(self.prover.prove(conjuncts(need.guard), pointwise("<=", need.bound, token)))

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
        if _root_name(axis) in ("x", "context"):
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
        name, seen = _root_name(axis), set[str]()
        while name in self.spec.sets and name not in seen:
            seen.add(name)
            if name in ("x", "context"):
                break
            name = self.spec.sets[name].source
        return name == "context"

    def is_slots(self, axis: Axis) -> bool:
        """Whether the tokens of an axis are places without position, before everything."""
        token_set = self.set_of(axis)
        if token_set is None or _root_name(axis) in ("x", "context"):
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

    # Rules

    def _rule(self, node: Node) -> Needs:
        match node:
            case Param():
                return self._param(node)
            case Valid():
                return self.token_needs(node.axis, self.time_of)
            case Length():
                return (
                    Need(frozenset(), None, None, f"the length of `{node.axis}` is known last"),
                )
            case Tree():
                return self._tree(node)
            case Map():
                return self._map(node)
            case Read():
                return self._read(node)
            case Reduce():
                return self._reduce(node)
            case Scan():
                return self._scan(node)
            case Stencil():
                return self._stencil(node)
            case Split():
                return self._split(node)
            case Top(arg=arg, axis=axis, where=where):
                return self._gather(arg, (axis,), where, "low")
            case Choose():
                return self._choose(node)
            case Sort():
                return self._sort(node)
            case Segment():
                return self._segment(node)
            case Scatter():
                return self._scatter(node)
            case _:
                return self._structure(node)

    def _structure(self, node: Node) -> Needs:
        match node:
            case AxisToDim(arg=arg, axis=axis):
                return self._gather(arg, (axis,), None, "")
            case Simplex():
                whole = self._gather(node.arg, (node.axis,), None, "low")
                return whole + self.known(node.arg) + self.known(node.alpha)
            case StackAxis():
                return self._stack(node)
            case Scores():
                return self._frame_of("").scores
            case Attend():
                return self._attend(node)
            case Part():
                return self._part(node)
            case Recur():
                return self._recur(node)
            case Use():
                return self.use(self, node)
            case _ if isinstance(node, PLAIN):
                return self._all(operands(node))
            case _:
                return (Need(frozenset(), None, (node, None), "no rule says when it is known"),)

    def _all(self, nodes: Iterable[Node]) -> Needs:
        return tuple(need for node in nodes for need in self.known(node))

    def _frame_of(self, leaf: str) -> Frame:
        """The innermost frame that says what an open leaf is; without one nothing is known."""
        frame: Frame | None = self.frame
        while frame is not None:
            if leaf in frame.carries or (not leaf and frame.joint is not None):
                return frame
            frame = frame.outer
        unknown = (Need(frozenset(), None, None, "a value from outside its block"),)
        return Frame(scores=unknown, carries={leaf: unknown})

    def _param(self, node: Param) -> Needs:
        if node.role in ("weight", "buffer", "random"):
            return NOTHING
        if node.role == "carry":
            return self._frame_of(node.name).carries[node.name]
        found: list[Need] = []
        for axis in node.type.tokens:
            found.extend(self.token_needs(axis, self.time_of))
        return tuple(found)

    def _tree(self, node: Tree) -> Needs:
        """Fields of a tree are arithmetic on places; whether a node exists depends on the length."""
        if node.which in ("node", "count"):
            why = "whether a tree node exists depends on the length"
            return (*self._all(node.args), Need(frozenset(), None, None, why))
        return NOTHING

    def _map(self, node: Map) -> Needs:
        match node.op:
            case "where":
                condition, yes, no = node.args
                return (
                    *self.known(condition),
                    *guarded(self.known(yes), literal(condition, True)),
                    *guarded(self.known(no), literal(condition, False)),
                )
            case "and" | "or":
                return self._logic(node)
            case _:
                return self._all(node.args)

    def _logic(self, node: Map) -> Needs:
        """Each part matters only where the parts before it leave the outcome open.

        Parts without needs come first.
        """
        parts = _flat(node, node.op)
        parts.sort(key=lambda part: bool(self.known(part)))
        guard: Literals = frozenset()
        found: list[Need] = []
        for part in parts:
            found.extend(guarded(self.known(part), guard))
            guard |= literal(part, node.op == "and")
        return tuple(found)

    def _read(self, node: Read) -> Needs:
        if node.index.type.dims:
            return (*self.known(node.index), *self.spread(self.known(node.arg), (node.axis,)))
        there: Literals = frozenset()
        if not isinstance(node.index, Index):
            there = literal(pointwise(">=", node.index, number(0)), True)
        moved = guarded(self.moved(self.known(node.arg), node.axis, node.index), there)
        return (*self.known(node.index), *moved)

    def _gather(self, arg: Node, axes: Sequence[Axis], where: Node | None, neutral: str) -> Needs:
        """A reduction over axes of what `where` lets in."""
        known = () if where is None else self.known(where)
        guard = self._present(axes) | (frozenset() if where is None else literal(where, True))
        extra = self._support(arg, neutral)
        inner = (
            *guarded(known, self._present(axes)),
            *guarded(self.known(arg), guard),
            *self.existence(axes, guard | extra),
        )
        return self.spread(inner, axes)

    def _present(self, axes: Iterable[Axis]) -> Literals:
        """Inside a normalize, reductions over the key axis run over the keys that are there."""
        frame: Frame | None = self.frame
        while frame is not None:
            if frame.joint is not None:
                return frame.visible if frame.joint in set(axes) else frozenset()
            frame = frame.outer
        return frozenset()

    def _support(self, node: Node, neutral: str) -> Literals:
        return support(node, neutral) if neutral else frozenset()

    def _reduce(self, node: Reduce) -> Needs:
        neutral = {"sum": "zero", "max": "low", "min": "high", "logsumexp": "low"}
        neutral |= {"any": "false", "all": "true"}
        return self._gather(node.arg, node.axes, node.where, neutral.get(node.op, ""))

    def _scan(self, node: Scan) -> Needs:
        other = self.fresh.like(node.axis)
        op = (">" if node.reverse else "<") + ("" if node.exclusive else "=")
        read_at = pointwise(op, place(other), place(node.axis))
        visible = self._present((node.axis,))
        inner = guarded(self.known(node.arg), visible)
        inner += self.existence((node.axis,), self._support(node.arg, "zero") | visible)
        return guarded(self.moved(inner, node.axis, place(other)), literal(read_at, True))

    def _stencil(self, node: Stencil) -> Needs:
        inner = (
            *self.known(node.arg),
            *self.existence(node.axes, self._support(node.arg, "zero")),
        )
        taps = node.kernel.type.dims[-len(node.axes) :]
        for axis, start, size in zip(node.axes, node.starts, taps, strict=True):
            tap = Axis(f"tap#{next(self.fresh.numbers)}", "user", 0, constant(size.value))
            cell = pointwise("+", pointwise("+", place(axis), place(tap)), number(start))
            inner = guarded(
                self.moved(inner, axis, cell), literal(pointwise(">=", cell, number(0)), True)
            )
        if node.channels is not None:
            inner = self.spread(inner, (node.channels,))
        return (*inner, *self.known(node.kernel))

    def _split(self, node: Split) -> Needs:
        inner = self.known(node.arg)
        inner += self.existence((node.axis,), self._support(node.arg, "zero"))
        first = pointwise("*", place(node.made), number(node.stride))
        return self.moved(inner, node.axis, pointwise("+", first, place(node.member)))

    def _choose(self, node: Choose) -> Needs:
        if node.axis is None:
            where = () if node.where is None else self.known(node.where)
            return (*where, *self.known(node.arg))
        neutral = "low" if node.op == "argmax" else "high"
        return self._gather(node.arg, (node.axis,), node.where, neutral)

    def _sort(self, node: Sort) -> Needs:
        inner = (*self._all(node.keys), *self.existence(node.axes, frozenset()))
        return self.spread(inner, node.axes)

    def _segment(self, node: Segment) -> Needs:
        made = node.label.type.ref
        guard = self._support(node.arg, "zero") if node.op == "sum" else frozenset()
        lands: Literals = frozenset()
        if made is not None and made in node.type.axes:
            lands = literal(pointwise("==", node.label, place(made)), True)
        inner = (
            *guarded(self.known(node.label), guard),
            *guarded(self.known(node.arg), lands),
            *self.existence(node.axes, guard | lands),
        )
        if made is not None and made in node.axes:
            return self.spread(tuple(replace(need, guard=frozenset()) for need in inner), node.axes)
        return self.spread(inner, node.axes)

    def _scatter(self, node: Scatter) -> Needs:
        """What lands at a token was sent by those whose refs name it."""
        away = {axis: self.fresh.like(axis) for axis in node.source_axes}
        lands: Literals = frozenset()
        inner = (*self.known(node.arg), *self.existence(node.source_axes, frozenset()))
        sent: Needs = self._all(node.targets)
        for axis, other in away.items():
            inner, sent = (self.moved(part, axis, place(other)) for part in (inner, sent))
        for axis, target in zip(node.axes, node.targets, strict=True):
            for old, new in away.items():
                target = substitute(target, old, place(new))
            lands |= literal(pointwise("==", target, place(axis)), True)
        return (*guarded(inner, lands), *sent)

    def _stack(self, node: StackAxis) -> Needs:
        found: list[Need] = []
        for n, arg in enumerate(node.args):
            here = pointwise("==", place(node.axis), number(n))
            found.extend(guarded(self.known(arg), literal(here, True)))
        return tuple(found)

    # Attend

    def visible(self, source: AttendSource) -> Literals:
        """The pairs that are there: the mask holds, the ref is not -1, the score is not -inf."""
        return self.admitted(source) | support(source.score, "low")

    def admitted(self, source: AttendSource) -> Literals:
        """The pairs that mask and list let in."""
        found: Literals = frozenset()
        if source.mask is not None:
            found |= literal(source.mask, True)
        if source.at is not None:
            found |= literal(pointwise(">=", source.at, number(0)), True)
        return found

    def _attend(self, node: Attend) -> Needs:
        found: list[Need] = []
        for source in node.sources:
            inner = guarded(self.known(source.value), self.visible(source))
            if not self.masked:
                inner += self._pairs(source)
            found.extend(self.spread(inner, source.axes))
        if not self.masked:
            found.extend(self._normalized(node))
        return tuple(found)

    def _pairs(self, source: AttendSource) -> Needs:
        """What mask, list and score depend on, and that the keys are there, by pair."""
        found = () if source.mask is None else self.known(source.mask)
        if source.at is not None:
            found += self.known(source.at)
        return (
            *found,
            *guarded(self.known(source.score), self.admitted(source)),
            *self.existence(source.axes, self.visible(source)),
        )

    def _normalized(self, node: Attend) -> Needs:
        """What the weights of the visible keys depend on."""
        inner, axes = self._weights(node)
        return self.spread(inner, axes)

    def _weights(self, node: Attend) -> tuple[Needs, tuple[Axis, ...]]:
        """Needs of normalize at a visible key, and the axes that the key has."""
        source = node.sources[0]
        frame = Frame(joint=node.joint)
        if len(node.sources) == 1 and node.joint in source.axes:
            frame.visible = self.visible(source)
            frame.scores = guarded(self.known(source.score), self.admitted(source))
            axes = source.axes
        else:
            frame.scores = self._any_scores(node)
            axes = (node.joint,)
        self._enter(frame, node.normalize)
        try:
            return guarded(self.needs(node.normalize), frame.visible), axes
        finally:
            self._leave()

    def _any_scores(self, node: Attend) -> Needs:
        """What the scores of all keys of all sources depend on."""
        found: list[Need] = []
        for item in node.sources:
            scores = guarded(self.known(item.score), self.admitted(item))
            found.extend(self.spread(scores, item.axes))
        return tuple(found)

    def _part(self, node: Part) -> Needs:
        if self.masked:
            return NOTHING
        attend = node.attend
        assert isinstance(attend, Attend)
        source = attend.sources[0]
        keeps = len(attend.sources) == 1 and node.part != "lse"
        if not keeps:
            inner = tuple(
                need
                for item in attend.sources
                for need in self.spread(self._pairs(item), item.axes)
            )
            return inner + (self._normalized(attend) if node.part == "weights" else ())
        mask = () if source.mask is None else self.known(source.mask)
        mask += () if source.at is None else self.known(source.at)
        if node.part == "scores":
            return mask + guarded(self.known(source.score), self.admitted(source))
        inner, axes = self._weights(attend)
        if axes != source.axes:
            inner = self.spread(inner, axes)
        return mask + inner

    # Recur

    def _recur(self, node: Recur) -> Needs:
        """Carries at a token hold what entered at tokens up to it; the last one, everything.

        Inside the loop a carry may be moved along other axes, so what it holds is spread over all
        of them, and guards that look at a carry are forgotten.
        """
        other = self.fresh.like(node.axis)
        before = literal(pointwise("<", place(other), place(node.axis)), True)
        start = self._freed(node, self._all(node.inits))
        entered = self._body(node, node.nexts, dict.fromkeys(node.names, start))
        entered = self._freed(node, entered)
        held = start + guarded(self.moved(entered, node.axis, place(other)), before)
        if node.which < 0:
            there = self.existence((node.axis,), frozenset())
            return start + self.spread(entered + there, (node.axis,))
        found = self._body(node, (node.yields[node.which],), dict.fromkeys(node.names, held))
        return tuple(self._without_carries(node, need) for need in found)

    def _body(self, node: Recur, parts: Sequence[Node], carries: dict[str, Needs]) -> Needs:
        self._enter(Frame(carries=carries), *parts)
        try:
            return tuple(need for part in parts for need in self.needs(part))
        finally:
            self._leave()

    def _freed(self, node: Recur, needs: Needs) -> Needs:
        """Spread over every axis but that of the loop, without guards that look at a carry."""
        kept = _distinct(self._without_carries(node, need) for need in needs)
        axes = {
            axis
            for need in kept
            for part in (*(item for item, _ in need.guard), need.bound)
            if part is not None
            for axis in part.type.axes
        }
        return self.spread(
            kept, [axis for axis in axes if axis != node.axis and "#" not in axis.name]
        )

    def _without_carries(self, node: Recur, need: Need) -> Need:
        def looks(part: Node) -> bool:
            return any(
                isinstance(item, Param) and item.role == "carry" and item.name in node.names
                for item in walk(part)
            )

        guard = frozenset(item for item in need.guard if not looks(item[0]))
        if need.bound is not None and looks(need.bound):
            return replace(need, guard=guard, bound=None, why="reads at a place that a carry holds")
        return replace(need, guard=guard)


PLAIN: tuple[type[Node], ...] = (
    *(Const, Fill, Index, Position, KvHead, Range, Eye, Draw, Contract, Linear, Norm, ReadDim),
    *(Rank, ConcatDims, DimToAxis, Reshape, Transpose, Dropout),
)
GATHERING = (Reduce, Scan, Stencil, Attend, Recur, Top, Sort, Scatter, Segment, Use, Part)


def literal(node: Node, truth: bool) -> Literals:
    """One condition as a guard. A condition with feature dims says nothing of one element."""
    return frozenset() if node.type.dims else frozenset({(node, truth)})


def guarded(needs: Iterable[Need], guard: Literals) -> Needs:
    """The needs where, besides, the guard holds."""
    if not guard:
        return tuple(needs)
    return tuple(replace(need, guard=need.guard | guard) for need in needs)


def _distinct(needs: Iterable[Need]) -> Needs:
    """Without repetitions, and without needs whose guard only adds to that of another."""
    found: dict[tuple[Literals, Node | None], Need] = {}
    for need in needs:
        found.setdefault((need.guard, need.bound), need)
    free = {bound for guard, bound in found if not guard}
    return tuple(need for (guard, bound), need in found.items() if not guard or bound not in free)


def _flat(node: Node, op: str) -> list[Node]:
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


def _root_name(axis: Axis) -> str:
    return axis.base or axis.name


def _gathered(node: Node) -> tuple[Axis, ...]:
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
