"""Proofs about predicates over tokens: implication, satisfiability, bounds.

    prove(guards, goal)             do the guards imply the goal, for all tokens and all data?
    upper_bound(guards, term)       a number that the term never exceeds where the guards hold

The guards and the negated goal are split into conjunctions of linear constraints and opaque truth
values, and each is refuted. *Proved* is always right. *Refuted* comes with tokens at which the guards
hold and the goal fails, checked by evaluating the predicates; values of opaque expressions in it are
assumed to be possible. *Unknown* is the rest, caps included, and must be treated as not proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal as Choice

from . import affine
from .affine import Atom, Effort, Linear, System
from .core import Const, Kind, Node, Type
from .evaluation import Assignment, evaluate
from .predicates import AtMost, Both, Either, Equal, Formula, Literal, Translator

BRANCH_EFFORT = 10

Verdict = Choice["proved", "refuted", "unknown"]


@dataclass(frozen=True, slots=True)
class Proof:
    """An answer; `counterexample` gives each axis its token.

    found  all that was assumed there, values of opaque expressions among it
    """

    verdict: Verdict
    counterexample: Mapping[str, int] | None = None
    found: Assignment | None = None

    def __bool__(self) -> bool:
        return self.verdict == "proved"


@dataclass(slots=True)
class _Branch:
    """One conjunction under construction."""

    at_most: list[Linear] = field(default_factory=list)
    equal: list[Linear] = field(default_factory=list)
    truths: dict[int, bool] = field(default_factory=dict)
    choices: list[Either] = field(default_factory=list)

    def copy(self) -> _Branch:
        return _Branch(list(self.at_most), list(self.equal), dict(self.truths), list(self.choices))

    def add(self, formula: Formula) -> bool:
        """Conjoin a formula; False when it contradicts what is there."""
        todo = [formula]
        while todo:
            match todo.pop():
                case AtMost(form=form):
                    self.at_most.append(form)
                case Equal(form=form):
                    self.equal.append(form)
                case Literal(key=key, positive=positive):
                    if self.truths.setdefault(key, positive) is not positive:
                        return False
                case Both(parts=parts):
                    todo.extend(parts)
                case Either(parts=parts) as choice:
                    if not parts:
                        return False
                    self.choices.append(choice)
        return True

    @property
    def system(self) -> System:
        return System(tuple(self.at_most), tuple(self.equal))

    def take_choice(self) -> Either:
        """Remove the disjunction with the fewest parts."""
        chosen = min(self.choices, key=lambda choice: len(choice.parts))
        self.choices.remove(chosen)
        return chosen


class Prover:
    """Answers many questions about one set of nodes; translations are kept between them."""

    def __init__(self) -> None:
        self.translator = Translator()
        self.answers: dict[tuple[frozenset[int], int], Proof] = {}

    def prove(self, guards: Sequence[Node], goal: Node) -> Proof:
        """Whether the guards imply the goal for every token and all data."""
        question = (frozenset(id(guard) for guard in guards), id(goal))
        if question not in self.answers:
            self.translator.alive.extend((*guards, goal))
            self.answers[question] = self._prove(guards, goal)
        return self.answers[question]

    def _prove(self, guards: Sequence[Node], goal: Node) -> Proof:
        root = self._root(guards, goal)
        if root is None:
            return Proof("unknown")
        if affine.is_infeasible(root.system):
            return Proof("proved")
        todo, known, effort = [root], True, Effort()
        while todo:
            branch = todo.pop()
            effort.left -= BRANCH_EFFORT
            if effort.left < 0:
                return Proof("unknown")
            if branch.choices:
                todo.extend(_split(branch, effort))
                continue
            model = affine.solve(branch.system, effort)
            if model == "infeasible":
                continue
            known = False
            found = None if model is None else self._check(guards, goal, model, branch.truths)
            if found is not None and model is not None:
                return Proof("refuted", self._tokens(model), found)
        return Proof("proved" if known else "unknown")

    def _root(self, guards: Sequence[Node], goal: Node) -> _Branch | None:
        """Guards and negated goal as one branch; None when they cannot be translated."""
        formulas = self._formulas([(guard, True) for guard in guards] + [(goal, False)])
        return None if formulas is None else _branch_of(formulas)

    def _formulas(self, parts: Sequence[tuple[Node, bool]]) -> list[Formula] | None:
        self.translator.steps = 0
        try:
            return [self.translator.formula(node, positive) for node, positive in parts]
        except RecursionError:
            return None

    def _check(
        self,
        guards: Sequence[Node],
        goal: Node,
        model: Mapping[Atom, int],
        truths: Mapping[int, bool],
    ) -> Assignment | None:
        """What the model assumes, if the predicates themselves agree with it."""
        values = Assignment(self.translator, model, truths)
        try:
            if not all(evaluate(guard, values) for guard in guards) or evaluate(goal, values):
                return None
        except (ArithmeticError, RecursionError):
            return None
        return values

    def _tokens(self, model: Mapping[Atom, int]) -> dict[str, int]:
        atoms = self.translator.axis_atoms()
        return {axis.name: model[atom] for axis, atom in atoms if atom in model}

    def upper_bound(self, guards: Sequence[Node], term: Node) -> int | None:
        """A number that the term never exceeds where the guards hold; None where none is found.

        Where the guards contradict each other, every number would do: None as well.
        """
        formulas = self._formulas([(guard, True) for guard in guards])
        if formulas is None:
            return None
        try:
            cases = self.translator.cases(term)
        except RecursionError:
            return None
        todo = [
            (branch, case.form)
            for case in cases
            if (branch := _branch_of([*formulas, *case.condition])) is not None
        ]
        return _greatest(todo)


def _branch_of(formulas: Sequence[Formula]) -> _Branch:
    branch = _Branch()
    if not all(branch.add(formula) for formula in formulas):
        branch.choices = [Either()]
    return branch


def _split(branch: _Branch, effort: Effort) -> list[_Branch]:
    """One branch for each part of a disjunction, without those that contradict themselves."""
    choice = branch.take_choice()
    found = []
    for part in reversed(choice.parts):
        copy = branch.copy()
        if copy.add(part) and not (copy.choices and affine.is_infeasible(copy.system, effort)):
            found.append(copy)
    return found


def _greatest(todo: list[tuple[_Branch, Linear]]) -> int | None:
    """The greatest bound of a form over all branches that are possible."""
    bounds: list[int] = []
    effort = Effort()
    while todo:
        branch, form = todo.pop()
        effort.left -= BRANCH_EFFORT
        if effort.left < 0:
            return None
        if branch.choices:
            todo.extend((part, form) for part in _split(branch, effort))
            continue
        try:
            bound = affine.upper_bound(branch.system, form, effort)
        except affine.Empty:
            continue
        if bound is None:
            return None
        bounds.append(bound)
    return max(bounds) if bounds else None


def prove(guards: Sequence[Node], goal: Node) -> Proof:
    """Whether the guards imply the goal for every token and all data."""
    return Prover().prove(guards, goal)


def upper_bound(guards: Sequence[Node], term: Node) -> int | None:
    """A number that the term never exceeds where the guards hold; None where none is found."""
    return Prover().upper_bound(guards, term)


def is_satisfiable(guards: Sequence[Node]) -> Verdict:
    """`proved`: tokens were found at which all guards hold; `refuted`: there are none."""
    answer = Prover().prove(guards, Const(Type(Kind.BOOL), False)).verdict
    opposite: dict[Verdict, Verdict] = {"proved": "refuted", "refuted": "proved"}
    return opposite.get(answer, "unknown")
