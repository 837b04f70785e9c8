"""An attend as pairs of tokens: when one is there, and which tokens there are.

Sequences are without padding and begin at position 0. Context is x, unless the spec says that it is
memory: then it has a length of its own, and is known before everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from ..core import Attend, AttendSource, Axis, Length, Node, Use, walk
from ..needs import NOTHING, Needs
from ..prover import Prover
from ..substitution import number, place, pointwise
from ..support import conjuncts
from ..time import Clock
from ..time_blocks import visible
from ..time_rules import rule_of
from ..typed import TypedSpec
from .unpadded import TRUE, Unpadded, both, length_of


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs of one source of an attend.

    query    the axis of the query; keys: those of the key, one or the places of a list
    there    when a pair is there: the mask holds, the list has an entry, the score is not -inf
    ranges   for each axis with an unknown number of tokens, that number
    now      when the query is known; None: never, or it is no token in time
    known    when the key is known, and first its earliest token; None alike
    length   the number of tokens of x
    always   the keys are known before everything (slots, memory)
    at       for a list, the key that a place of it holds
    """

    query: Axis
    keys: tuple[Axis, ...]
    there: Node
    ranges: dict[Axis, Node]
    now: Node | None
    known: Node | None
    first: Node | None
    always: bool
    at: Node | None
    length: Node

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis that the pairs vary over but the batch, the query first."""
        others = self.there.type.axes - {self.query, *self.keys}
        rest = [axis for axis in others if axis.role != "batch"]
        return (self.query, *self.keys, *sorted(rest, key=lambda axis: (axis.rank, axis.name)))

    @property
    def guards(self) -> list[Node]:
        """The tokens are there, and the pair is."""
        return [*self.tokens, self.there]

    @property
    def tokens(self) -> list[Node]:
        """The tokens are there: each place is below the number of its axis."""
        return [pointwise("<", place(axis), count) for axis, count in self.ranges.items()]

    @property
    def is_counted(self) -> bool:
        """Whether the numbers of queries and keys are known."""
        tokens = (self.query, *self.keys)
        return all(axis.size is not None or axis in self.ranges for axis in tokens)

    @property
    def has_memory(self) -> bool:
        """Whether the keys are tokens of a length of their own."""
        counts = (self.ranges.get(axis) for axis in self.keys)
        return any(isinstance(count, Length) and count is not self.length for count in counts)

    @property
    def is_square(self) -> bool:
        """Whether queries and keys are the same tokens."""
        if len(self.keys) != 1 or self.at is not None:
            return False
        counts = self.ranges.get(self.query), self.ranges.get(self.keys[0])
        named = {_root(self.query), _root(self.keys[0])}
        if named <= {"x", "context"}:
            return counts[0] is not None and counts[0] is counts[1]
        return len(named) == 1


class Reader:
    """Makes pairs of the attends of a spec."""

    def __init__(self, spec: TypedSpec, prover: Prover) -> None:
        self.spec = spec
        self.clock = Clock(spec, False, spec.memory, rule_of, _no_needs, prover)
        self.unpadded = Unpadded(self.count, self.same)

    def pairs(self, attend: Attend) -> list[Pairs]:
        """The pairs of each source."""
        return [self._pairs(attend.query, source) for source in attend.sources]

    def _pairs(self, query: Axis, source: AttendSource) -> Pairs:
        clock, axes = self.clock, [axis for axis in source.axes if axis.role == "token"]
        always = source.at is None and all(clock.is_slots(a) or clock.is_given(a) for a in axes)
        seen = sorted(conjuncts(visible(source)), key=_order)
        there = reduce(both, (self.unpadded(node) for node in seen), TRUE)
        at = None if source.at is None else self.unpadded(source.at)
        if source.at is not None and source.at.type.ref is not None:
            always = clock.is_given(source.at.type.ref)
        known = self._moment(axes, "time") if at is None else at
        first = self._moment(axes, "start") if at is None else at
        ranges = {}
        for axis in dict.fromkeys((query, *source.axes)):
            count = None if axis.size is not None else self.count(axis)
            if count is not None:
                ranges[axis] = count
        now = None if clock.is_slots(query) else clock.time_of(query)
        now = None if now is None else self.unpadded(now)
        length = length_of(self.spec.sets["x"].axis)
        return Pairs(query, source.axes, there, ranges, now, known, first, always, at, length)

    def _moment(self, axes: list[Axis], which: str) -> Node | None:
        if len(axes) != 1:
            return None
        found = self.clock.time_of(axes[0]) if which == "time" else self.clock.start_of(axes[0])
        return None if found is None else self.unpadded(found)

    def count(self, axis: Axis) -> Node | None:
        """How many tokens an axis has; None where that is not known by itself."""
        if axis.size is not None:
            return number(axis.size.value)
        if _root(axis) in ("x", "context"):
            return length_of(self.same(self.spec.sets[_root(axis)].axis))
        found = self.clock.set_of(axis)
        if found is None or found.axes[:1] != (found.axis,) or len(found.axes) > 1:
            return None
        return None if found.count is None else self.unpadded(found.count)

    def same(self, axis: Axis) -> Axis:
        """x for context, where it is not memory."""
        is_context = _root(axis) == "context" and not self.spec.memory
        return self.spec.sets["x"].axis if is_context else axis


def located(spec: TypedSpec, path: str = "") -> dict[str, tuple[TypedSpec, Attend]]:
    """The attends by path, each with the spec that it stands in."""
    found: dict[str, tuple[TypedSpec, Attend]] = {}
    for node in walk(*spec.outputs.values()):
        if isinstance(node, Attend):
            found[path + node.name] = (spec, node)
        elif isinstance(node, Use) and node.name in spec.uses:
            found |= located(spec.uses[node.name], f"{path}{node.name}.")
    return found


def _root(axis: Axis) -> str:
    return axis.base or axis.name


def _order(node: Node) -> str:
    """Masks before what scores say, the same in every run."""
    return f"{type(node).__name__} {node.type}"


def _no_needs(clock: Clock, node: Use) -> Needs:
    return NOTHING
