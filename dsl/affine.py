"""Linear integer constraints: decided by elimination, with a witness where they can be met.

A constraint is a linear form that must be at most 0, or equal to 0. `solve` substitutes equalities
that have a unit coefficient, eliminates the rest by Fourier-Motzkin with integer tightening, and
walks back to integers. *Infeasible* is always right; where elimination finds no contradiction but no
integers are found either, or a cap is hit, the answer is None: not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Literal, TypeAlias

MOST_CONSTRAINTS = 150
MOST_TRIALS = 200
MOST_EFFORT = 6000


@dataclass(frozen=True, eq=False, slots=True)
class Atom:
    """An integer unknown between low and high (None: no bound). Compared by identity."""

    label: str
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Linear:
    """sum of coefficient * atom, plus a constant. Invariant: no coefficient is 0."""

    terms: Mapping[Atom, int]
    constant: int = 0

    def __add__(self, other: Linear) -> Linear:
        terms = dict(self.terms)
        for atom, factor in other.terms.items():
            total = terms.get(atom, 0) + factor
            if total:
                terms[atom] = total
            else:
                del terms[atom]
        return Linear(terms, self.constant + other.constant)

    def __sub__(self, other: Linear) -> Linear:
        return self + other.times(-1)

    def times(self, factor: int) -> Linear:
        """Every coefficient and the constant multiplied by a number."""
        if factor == 0:
            return Linear({})
        scaled = {atom: factor * value for atom, value in self.terms.items()}
        return Linear(scaled, factor * self.constant)

    def plus(self, number: int) -> Linear:
        """The form with a number added."""
        return Linear(self.terms, self.constant + number)

    def value(self, model: Mapping[Atom, int]) -> int:
        """What the form amounts to; an atom that the model lacks counts as 0."""
        return self.constant + sum(c * model.get(atom, 0) for atom, c in self.terms.items())

    def __str__(self) -> str:
        parts = [f"{factor}*{atom.label}" for atom, factor in self.terms.items()]
        return " + ".join([*parts, str(self.constant)])


@dataclass(frozen=True, slots=True)
class System:
    """Forms that are at most 0 and forms that equal 0."""

    at_most: tuple[Linear, ...] = ()
    equal: tuple[Linear, ...] = ()

    def holds(self, model: Mapping[Atom, int]) -> bool:
        """Whether integers meet every constraint."""
        return all(form.value(model) <= 0 for form in self.at_most) and all(
            form.value(model) == 0 for form in self.equal
        )


@dataclass(slots=True)
class Effort:
    """How many constraints one question may still make, over all its systems."""

    left: int = MOST_EFFORT

    def spend(self, amount: int) -> None:
        self.left -= amount
        if self.left < 0:
            raise _TooLarge


Model: TypeAlias = dict[Atom, int]
Answer: TypeAlias = Model | Literal["infeasible"] | None


class _Infeasible(Exception):
    """A contradiction was derived."""


class _TooLarge(Exception):
    """Elimination made more constraints than the cap allows."""


def constant(value: int) -> Linear:
    """A form without atoms."""
    return Linear({}, value)


def variable(atom: Atom) -> Linear:
    """The form that is one atom."""
    return Linear({atom: 1})


def solve(system: System, effort: Effort | None = None) -> Answer:
    """Integers that meet every constraint, `infeasible`, or None where neither was found."""
    try:
        steps = _eliminate(system, None, effort or Effort())[0]
    except _Infeasible:
        return "infeasible"
    except _TooLarge:
        return None
    model = _walk_back(steps)
    return model if model is not None and system.holds(model) else None


def is_infeasible(system: System, effort: Effort | None = None) -> bool:
    """Whether a contradiction can be derived (False: it cannot, or not within the caps)."""
    try:
        _eliminate(system, None, effort or Effort())
    except _Infeasible:
        return True
    except _TooLarge:
        return False
    return False


def upper_bound(system: System, form: Linear, effort: Effort | None = None) -> int | None:
    """A number that the form never exceeds; None where no such number was derived.

    Raises:
        Empty: the system is infeasible.
    """
    target = Atom("target")
    extended = System(system.at_most, (*system.equal, variable(target) - form))
    try:
        left = _eliminate(extended, target, effort or Effort())[1]
    except _Infeasible:
        raise Empty from None
    except _TooLarge:
        return None
    found = [
        -(item.constant // item.terms[target]) if item.terms[target] > 0 else None for item in left
    ]
    # a * t + c <= 0 with a > 0 is t <= floor(-c / a); tightening has made a = 1.
    bounds = [number for number in found if number is not None]
    return min(bounds) if bounds else None


class Empty(Exception):
    """There is nothing to bound: the constraints contradict each other."""


_Step: TypeAlias = tuple[Atom, Linear | None, tuple[Linear, ...]]


def _eliminate(
    system: System, keep: Atom | None, effort: Effort
) -> tuple[list[_Step], list[Linear]]:
    """Remove every atom but `keep`; how each went, in order, and what is left."""
    equal, at_most = list(system.equal), list(system.at_most)
    at_most.extend(_ranges(_atoms((*equal, *at_most))))
    steps: list[_Step] = []
    while equal:
        form = _divided(equal.pop())
        if form is None:
            continue
        atom = _unit(form, keep)
        if atom is None:
            at_most += [form, form.times(-1)]
            continue
        solved = _solved(form, atom)
        steps.append((atom, solved, ()))
        equal = [_substitute(item, atom, solved) for item in equal]
        at_most = [_substitute(item, atom, solved) for item in at_most]
    left = _tightened(at_most)
    while (chosen := _cheapest(left, keep)) is not None:
        effort.spend(len(left))
        used = tuple(form for form in left if chosen in form.terms)
        steps.append((chosen, None, used))
        left = _tightened(
            [form for form in left if chosen not in form.terms] + _combined(used, chosen, effort)
        )
    return steps, left


def _atoms(forms: Iterable[Linear]) -> dict[Atom, None]:
    return {atom: None for form in forms for atom in form.terms}


def _ranges(atoms: Iterable[Atom]) -> list[Linear]:
    """The known bounds of atoms, as constraints."""
    facts = []
    for atom in atoms:
        if atom.low is not None:
            facts.append(Linear({atom: -1}, atom.low))
        if atom.high is not None:
            facts.append(Linear({atom: 1}, -atom.high))
    return facts


def _divided(form: Linear) -> Linear | None:
    """An equality divided by the gcd of its coefficients; None when it is 0 = 0."""
    if not form.terms:
        if form.constant:
            raise _Infeasible
        return None
    divisor = gcd(*form.terms.values())
    if form.constant % divisor:
        raise _Infeasible
    terms = {atom: factor // divisor for atom, factor in form.terms.items()}
    return Linear(terms, form.constant // divisor)


def _unit(form: Linear, keep: Atom | None) -> Atom | None:
    """An atom with coefficient 1 or -1, by which an equality is solved over the integers."""
    for atom, factor in form.terms.items():
        if factor in (1, -1) and atom is not keep:
            return atom
    return None


def _solved(form: Linear, atom: Atom) -> Linear:
    """form = 0 as atom = ..."""
    factor = form.terms[atom]
    rest = Linear({key: c for key, c in form.terms.items() if key is not atom}, form.constant)
    return rest.times(-factor)


def _substitute(form: Linear, atom: Atom, solved: Linear) -> Linear:
    factor = form.terms.get(atom)
    if factor is None:
        return form
    rest = Linear({key: c for key, c in form.terms.items() if key is not atom}, form.constant)
    return rest + solved.times(factor)


def _tightened(forms: Iterable[Linear]) -> list[Linear]:
    """Each form divided by its gcd and rounded; of two with the same terms the stronger."""
    best: dict[frozenset[tuple[Atom, int]], Linear] = {}
    for form in forms:
        if not form.terms:
            if form.constant > 0:
                raise _Infeasible
            continue
        divisor = gcd(*form.terms.values())
        if divisor > 1:
            terms = {atom: factor // divisor for atom, factor in form.terms.items()}
            form = Linear(terms, -(-form.constant // divisor))
        key = frozenset(form.terms.items())
        if key not in best or best[key].constant < form.constant:
            best[key] = form
    if len(best) > MOST_CONSTRAINTS:
        raise _TooLarge
    return list(best.values())


def _cheapest(forms: Sequence[Linear], keep: Atom | None) -> Atom | None:
    """The atom whose elimination makes the fewest new constraints."""
    above: dict[Atom, int] = {}
    below: dict[Atom, int] = {}
    for form in forms:
        for atom, factor in form.terms.items():
            side = above if factor > 0 else below
            side[atom] = side.get(atom, 0) + 1
    atoms = [atom for atom in {**above, **below} if atom is not keep]
    if not atoms:
        return None
    return min(atoms, key=lambda atom: above.get(atom, 0) * below.get(atom, 0))


def _combined(forms: Sequence[Linear], atom: Atom, effort: Effort) -> list[Linear]:
    """Every pair of an upper and a lower bound of the atom, added so that it vanishes."""
    uppers = [form for form in forms if form.terms[atom] > 0]
    lowers = [form for form in forms if form.terms[atom] < 0]
    effort.spend(len(uppers) * len(lowers))
    return [
        upper.times(-lower.terms[atom]) + lower.times(upper.terms[atom])
        for upper in uppers
        for lower in lowers
    ]


def _walk_back(steps: Sequence[_Step]) -> Model | None:
    """Integers for the atoms in the opposite order of their elimination, with few retries."""
    order = steps[::-1]
    trials = MOST_TRIALS

    def choose(place: int, model: Model) -> Model | None:
        nonlocal trials
        while place < len(order) and order[place][1] is not None:
            atom, solved, _ = order[place]
            assert solved is not None
            model = {**model, atom: solved.value(model)}
            place += 1
        if place == len(order):
            return model
        atom, _, forms = order[place]
        for value in _candidates(atom, forms, model):
            trials -= 1
            if trials < 0:
                return None
            found = choose(place + 1, {**model, atom: value})
            if found is not None:
                return found
        return None

    return choose(0, {})


def _candidates(atom: Atom, forms: Sequence[Linear], model: Model) -> list[int]:
    """The whole numbers that the constraints leave, those nearest to 0 first, at most four."""
    low: int | None = None
    high: int | None = None
    for form in forms:
        factor = form.terms[atom]
        rest = form.value(model) - factor * model.get(atom, 0)
        if factor > 0:
            bound = -rest // factor
            high = bound if high is None else min(high, bound)
        else:
            bound = -(-rest // -factor)
            low = bound if low is None else max(low, bound)
    if low is not None and high is not None and low > high:
        return []
    first = max(low, 0) if low is not None else 0
    first = min(first, high) if high is not None else first
    near = [first, first + 1, first - 1, first + 2]
    return [n for n in near if (low is None or n >= low) and (high is None or n <= high)]
