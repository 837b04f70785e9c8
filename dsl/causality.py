"""Causality contracts: what a spec derives, what it declares, and the path of a leak.

    strict   no output at a token depends on later tokens
    masked   choices and weights may look ahead, values may not
    none     otherwise

The needs of every output (`time.py`) become obligations *guard implies bound <= time(i)*, and the
prover answers them. What it cannot prove is refused: a leak with `unknown` set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal as Choice

from .core import (
    Attend,
    AttendSource,
    Axis,
    AxisToDim,
    Choose,
    Length,
    Node,
    Read,
    Recur,
    Reduce,
    Scan,
    Scatter,
    Segment,
    Simplex,
    Sort,
    Stencil,
    Top,
    Tree,
    Use,
    Valid,
    walk,
)
from .diagnostics import Note, Report
from .leaks import Leak, leaks_of
from .needs import Need, Needs, guarded, literal
from .prover import Prover
from .source import Source, Span
from .substitution import place, pointwise
from .support import conjuncts
from .time import Clock
from .time_blocks import visible
from .time_rules import rule_of
from .typed import TypedSpec

Contract = Choice["strict", "masked", "none"]
ORDER: tuple[Contract, ...] = ("none", "masked", "strict")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a contract is kept by every output over tokens, and if not, why."""

    leaks: tuple[Leak, ...]

    @property
    def holds(self) -> bool:
        return not self.leaks

    def holds_for(self, output: str) -> bool:
        """Whether one output keeps the contract."""
        return not any(leak.output == output for leak in self.leaks)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is derived of a spec.

    memory_given       tokens of context were taken as given before everything
    batch_coupled      some output reduces over b
    length_dependent   some output reads the length of a token set, as `length(x)` does
    look_back          the largest i - start(j) over visible pairs of all attends, where proved
    """

    strict: Verdict
    masked: Verdict
    memory_given: bool
    batch_coupled: bool
    length_dependent: bool
    look_back: int | None

    @property
    def derived(self) -> Contract:
        """The strongest contract that holds."""
        if self.strict.holds:
            return "strict"
        return "masked" if self.masked.holds else "none"

    def keeps(self, contract: Contract) -> bool:
        """Whether a declared contract is kept."""
        return ORDER.index(self.derived) >= ORDER.index(contract)


def judge(spec: TypedSpec, memory_given: bool = False) -> Judgement:
    """Derive the contracts that a spec keeps.

    memory_given: the tokens of context are declared given, as in cross-attention. By default
    context is taken to be x.
    """
    return _Judge().judgement(spec, memory_given)


@dataclass(slots=True)
class _Judge:
    """One judgement of a spec and of the specs that it uses; each is judged once."""

    prover: Prover = field(default_factory=Prover)
    verdicts: dict[tuple[int, bool, bool], Verdict] = field(default_factory=dict)
    clocks: dict[tuple[int, bool, bool], Clock] = field(default_factory=dict)

    def judgement(self, spec: TypedSpec, memory_given: bool) -> Judgement:
        nodes = list(walk(*spec.outputs.values()))
        strict = self.verdict(spec, False, memory_given)
        masked = strict if strict.holds else self.verdict(spec, True, memory_given)
        inner = [self.judgement(used, False) for used in _applied(spec, nodes)]
        return Judgement(
            strict,
            masked,
            memory_given,
            any(_couples(node) for node in nodes) or any(item.batch_coupled for item in inner),
            any(_reads_length(node) for node in nodes)
            or any(item.length_dependent for item in inner),
            self._look_back(spec, memory_given, nodes, inner),
        )

    # Contracts

    def verdict(self, spec: TypedSpec, masked: bool, memory_given: bool) -> Verdict:
        key = (id(spec), masked, memory_given)
        if key not in self.verdicts:
            clock = self.clock(spec, masked, memory_given)
            leaks: list[Leak] = []
            for name, node in spec.outputs.items():
                if node.type.tokens or name in spec.streams or name == "x":
                    leaks.extend(leaks_of(clock, name, node))
            self.verdicts[key] = Verdict(tuple(leaks))
        return self.verdicts[key]

    def clock(self, spec: TypedSpec, masked: bool, memory_given: bool) -> Clock:
        key = (id(spec), masked, memory_given)
        if key not in self.clocks:
            self.clocks[key] = Clock(spec, masked, memory_given, rule_of, self.used, self.prover)
        return self.clocks[key]

    def used(self, clock: Clock, node: Use) -> Needs:
        """An applied spec that keeps the contract reads its arguments at tokens up to now."""
        args = dict(zip(node.keys, node.args, strict=True))
        now = _token_axis(args.get("x"))
        bounded = self._bounded(clock, node, args, now)
        found: list[Need] = []
        for arg in node.args:
            found.extend(_read_up_to(clock, arg, now, bounded))
        return tuple(found)

    def _bounded(
        self, clock: Clock, node: Use, args: Mapping[str, Node], now: Axis | None
    ) -> frozenset[Axis]:
        """The token axes of the arguments that are read at tokens up to now only."""
        spec = clock.spec.uses.get(node.name)
        if spec is None or now is None or now not in node.type.axes:
            return frozenset()
        if node.output not in spec.outputs:
            return frozenset()
        other = _token_axis(args.get("context"))
        if self.verdict(spec, clock.masked, False).holds_for(node.output):
            return frozenset({now} if other is None else {now, other})
        if other is None or other == now:
            return frozenset()
        if self.verdict(spec, clock.masked, True).holds_for(node.output):
            return frozenset({now})
        return frozenset()

    # Look-back

    def _look_back(
        self, spec: TypedSpec, memory_given: bool, nodes: list[Node], inner: list[Judgement]
    ) -> int | None:
        clock = self.clock(spec, False, memory_given)
        bounds: list[int | None] = [item.look_back for item in inner]
        for node in nodes:
            if isinstance(node, Attend):
                bounds.extend(_reach(clock, node, source) for source in node.sources)
            elif isinstance(node, Use) and node.name not in spec.uses:
                bounds.append(None)
        known = [bound for bound in bounds if bound is not None]
        return max(known, default=0) if len(known) == len(bounds) else None


def _applied(spec: TypedSpec, nodes: list[Node]) -> list[TypedSpec]:
    """The specs that are applied in the graph, each once."""
    names = dict.fromkeys(node.name for node in nodes if isinstance(node, Use))
    found = {id(spec.uses[name]): spec.uses[name] for name in names if name in spec.uses}
    return list(found.values())


def _token_axis(arg: Node | None) -> Axis | None:
    tokens = () if arg is None else arg.type.tokens
    return tokens[0] if len(tokens) == 1 else None


def _read_up_to(clock: Clock, arg: Node, now: Axis | None, bounded: frozenset[Axis]) -> Needs:
    """The needs of an argument at any tokens; those of bounded axes not after `now`."""
    inner = clock.known(arg)
    free = [axis for axis in arg.type.axes if axis not in bounded]
    inner += clock.existence(free, frozenset())
    guards = frozenset[tuple[Node, bool]]()
    for axis in sorted(bounded & arg.type.axes, key=lambda axis: axis.name):
        other = clock.fresh.like(axis)
        inner = clock.moved(inner, axis, place(other))
        assert now is not None
        guards |= literal(pointwise("<=", place(other), place(now)), True)
    return clock.spread(guarded(inner, guards), free)


def _couples(node: Node) -> bool:
    """Whether a node mixes examples of the batch."""
    match node:
        case Reduce(axes=axes) | Segment(axes=axes) | Sort(axes=axes):
            return any(axis.role == "batch" for axis in axes)
        case Scatter(source_axes=axes):
            return any(axis.role == "batch" for axis in axes)
        case Scan(axis=axis) | Top(axis=axis) | Simplex(axis=axis) | AxisToDim(axis=axis):
            return axis.role == "batch"
        case Read(axis=axis):
            return axis.role == "batch"
        case Choose(axis=one) if one is not None:
            return one.role == "batch"
        case _:
            return False


def _reads_length(node: Node) -> bool:
    match node:
        case Length():
            return True
        case Tree(which=which):
            return which in ("count", "node")
        case Reduce(op="count", arg=Valid()):
            return True
        case _:
            return False


def _reach(clock: Clock, node: Attend, source: AttendSource) -> int | None:
    """How far back a source looks: an upper bound of time(i) - start(j) over visible pairs.

    None where there is no bound, or where a score gathers over other pairs of its row.
    """
    axes = [axis for axis in source.axes if axis.role == "token"]
    if source.at is None and all(clock.is_slots(axis) or clock.is_given(axis) for axis in axes):
        return 0
    if _gathers_pairs(node, source):
        return None
    now = clock.time_of(node.query)
    first = source.at if source.at is not None else clock.start_of(axes[0])
    if now is None or first is None or len(axes) > 1:
        return None
    guard = conjuncts(visible(source))
    bound = clock.prover.upper_bound(guard, pointwise("-", now, first))
    return None if bound is None else max(bound, 0)


def _gathers_pairs(node: Attend, source: AttendSource) -> bool:
    """Whether a score or value is made of other pairs than its own (`cumsum`, `stencil`)."""
    pair = {node.query, *source.axes}
    return any(
        pair <= item.type.axes and isinstance(item, Scan | Stencil | Recur | Top | Sort | Use)
        for item in walk(source.score, source.value)
    )


# Contracts against declarations

HELP = {
    "strict": "conjoin `causal`, which is time(j) <= time(i) and costs nothing, to the mask or the "
    "`where` that lets the future in",
    "masked": "values must be limited to tokens up to i: conjoin `causal` to the mask",
}


def check_contract(spec: TypedSpec, report: Report, memory_given: bool = False) -> Judgement:
    """Compare what a spec declares with what is derived; report each way the future gets in."""
    judgement = judge(spec, memory_given)
    declared = spec.causality
    if declared == "strict" and not judgement.strict.holds:
        _report(spec, report, "strict", judgement.strict, judgement.derived)
    elif declared == "masked" and judgement.derived == "none":
        _report(spec, report, "masked", judgement.masked, judgement.derived)
    return judgement


def _report(
    spec: TypedSpec, report: Report, contract: str, verdict: Verdict, derived: Contract
) -> None:
    for leak in verdict.leaks:
        code = "ATT603" if leak.unknown else "ATT601" if contract == "strict" else "ATT602"
        word = "may see" if leak.unknown else "sees"
        message = f"`{leak.output}` {word} the future, so the spec is not {contract}: {leak.reason}"
        if leak.counterexample:
            message += f" ({_tokens_of(leak)})"
        first = leak.span or _span_of(spec, leak)
        spans = [step for step in leak.path if step.span not in (None, first)]
        notes = tuple(Note(step.span, step.text) for step in spans if step.span is not None)
        help = f"{HELP[contract]}; or declare `causality: {derived}`"
        report.error(code, message, first, help, notes)


def _tokens_of(leak: Leak) -> str:
    """The counterexample in words, token axes first by name."""
    assert leak.counterexample is not None
    shown = [f"{name.split('#')[0]} {value}" for name, value in leak.counterexample.items()]
    return "for example " + ", ".join(dict.fromkeys(shown))


def _span_of(spec: TypedSpec, leak: Leak) -> Span:
    """The innermost place on the path, else the output."""
    spans = [step.span for step in leak.path if step.span is not None]
    found = spans[-1] if spans else spec.spans.get(spec.outputs[leak.output])
    return found if isinstance(found, Span) else Span(Source(spec.name, ""), 0, 0)
