"""Questions to the prover, to small cases and to an SMT solver: whether guards imply a goal.

Proved is said by the prover or the solver alone. Refuted is said only of a world (lengths, tokens
and inputs) in which the guards were evaluated to hold and the goal to fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

from ..core import Axis, Kind, Length, Node, walk
from ..evaluation import Assignment, evaluate
from ..prover import Prover, Verdict
from ..typed import InputInfo
from .inputs import data_facts
from .solver import Found, Solver
from .worlds import Contradiction, NotInWorld, World, holds, why_not, world_at, world_of

#: lengths at which small cases are tried, and how many cases in all
SMALL = (1, 2, 3, 5, 8)
MOST_CASES = 600
TOO_HARD = "it is too hard for the prover"
TOO_DEEP = "the mask is nested too deeply"


@dataclass(frozen=True, slots=True)
class Example:
    """A counterexample: lengths by token set, tokens by axis, and elements of inputs by name."""

    lengths: Mapping[str, int]
    places: Mapping[str, int]
    inputs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """Proved, refuted with an example, or unknown for a reason."""

    verdict: Verdict
    example: Example | None = None
    reason: str = ""

    def __bool__(self) -> bool:
        return self.verdict == "proved"


PROVED = Answer("proved")


def all_of(answers: Iterable[Answer]) -> Answer:
    """The first that is refuted, else the first that is unknown, else proved."""
    found = list(answers)
    for verdict in ("refuted", "unknown"):
        for answer in found:
            if answer.verdict == verdict:
                return answer
    return PROVED


class Asker:
    """Answers questions about the predicates of one spec, or of two."""

    def __init__(self, inputs: Mapping[str, InputInfo], solver: Solver | None = None) -> None:
        self.inputs = inputs
        self.solver = solver
        self.prover = Prover()

    def ask(
        self, guards: Sequence[Node], goal: Node, axes: Sequence[Axis], is_counted: bool
    ) -> Answer:
        """Whether the guards imply the goal, for all tokens of the axes, lengths and inputs.

        is_counted: the guards say how many tokens there are; else nothing is refuted, since those
        of a counterexample may not exist.
        """
        try:
            answer = self._ask(list(guards), goal, axes)
        except RecursionError:
            return Answer("unknown", reason=TOO_DEEP)
        if answer.verdict == "refuted" and not is_counted:
            return Answer("unknown", reason="it is not known how many tokens there are")
        return answer

    def proves(self, guards: Sequence[Node], goal: Node) -> bool:
        """Whether our own prover shows it, with what is known of inputs."""
        if self.prover.prove(guards, goal):
            return True
        facts = data_facts((*guards, goal), self.inputs)
        return bool(facts) and bool(self.prover.prove([*guards, *facts], goal))

    def _ask(self, guards: list[Node], goal: Node, axes: Sequence[Axis]) -> Answer:
        reason = ""
        facts = data_facts((*guards, goal), self.inputs)
        for known in ([], facts) if facts else ([],):
            proof = self.prover.prove([*guards, *known], goal)
            if proof:
                return PROVED
            if proof.found is not None:
                world = world_or_none(self, proof.found)
                example, reason = self._real(world, guards, goal, axes)
                if example is not None:
                    return Answer("refuted", example)
        return self._harder(guards, goal, axes, reason)

    def _harder(self, guards: list[Node], goal: Node, axes: Sequence[Axis], reason: str) -> Answer:
        """What the prover does not know: small cases, then the solver."""
        for world in self.small_worlds(axes, (*guards, goal)):
            example, why = self._real(world, guards, goal, axes)
            if example is not None:
                return Answer("refuted", example)
            reason = reason or why
            if why:
                break
        if self.solver is not None:
            verdict, found = self.solver.decide(guards, goal, self.prover.translator)
            if verdict == "proved":
                return PROVED
            if found is not None:
                world = self.world(found)
                example, why = self._real(world, guards, goal, axes)
                if example is not None:
                    return Answer("refuted", example)
                reason = reason or why
        return Answer("unknown", reason=reason or TOO_HARD)

    def world(self, found: Found) -> World:
        """The world of a model that the solver found."""
        return World(
            self.prover.translator,
            found.model,
            {},
            lengths=found.lengths,
            inputs=self.inputs,
            cells=dict(found.cells),
        )

    def small_worlds(self, axes: Sequence[Axis], nodes: Sequence[Node]) -> Iterator[World]:
        """Every choice of tokens at small lengths, up to a number of them."""
        lengths = {node.axis: 0 for node in walk(*nodes) if isinstance(node, Length)}
        left = MOST_CASES
        for size in SMALL:
            sizes = [size if axis.size is None else axis.size.value for axis in axes]
            left -= prod(sizes)
            if left < 0:
                return
            for places in product(*map(range, sizes)):
                yield world_at(
                    self.prover.translator,
                    dict(zip(axes, places, strict=True)),
                    dict.fromkeys(lengths, size),
                    self.inputs,
                )

    def _real(
        self, world: World | None, guards: Sequence[Node], goal: Node, axes: Sequence[Axis]
    ) -> tuple[Example | None, str]:
        """The world as a counterexample, or why it is none."""
        if world is None or not world.is_legal:
            return None, ""
        try:
            if not holds(guards, world) or evaluate(goal, world):
                return None, ""
        except NotInWorld as missing:
            return None, why_not(missing.node)
        except (ArithmeticError, RecursionError):
            return None, TOO_HARD
        return example_of(world, axes, (*guards, goal)), ""


def world_or_none(asker: Asker, found: Assignment) -> World | None:
    """The world of an assignment that the prover found; None where it contradicts itself."""
    translator = found.translator
    lengths = {
        node.axis: found.model[atom]
        for atom, node in translator.opaque.items()
        if isinstance(node, Length) and atom in found.model
    }
    try:
        return world_of(found, lengths, asker.inputs)
    except (Contradiction, ArithmeticError):
        return None


def example_of(world: World, axes: Sequence[Axis], nodes: Sequence[Node]) -> Example:
    """A world in names: only the axes and lengths that the predicates speak of."""
    used = frozenset[Axis]().union(*(node.type.axes for node in nodes))
    places = {axis.name: world.token(axis) for axis in axes if axis in used}
    spoken = {node.axis for node in walk(*nodes) if isinstance(node, Length)}
    lengths = {axis.name: world.lengths[axis] for axis in world.lengths if axis in spoken}
    return Example(lengths, places, dict(_elements(world)))


def _elements(world: World) -> Iterator[tuple[str, int]]:
    """`glob[3]` and its value, for the elements of inputs that matter."""
    for (name, at), value in world.cells.items():
        places = ", ".join(str(place) for axis, place in at if axis != "b")
        is_bool = world.inputs[name].type.kind is Kind.BOOL
        yield f"{name}[{places}]" if places else name, bool(value) if is_bool else value
