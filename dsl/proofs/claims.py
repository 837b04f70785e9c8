"""Claims about two specs: that whoever sees in one sees in the other, attend by attend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..core import Attend
from ..typed import InputInfo, TypedSpec
from .asking import TOO_DEEP, Answer, Asker, all_of
from .facts import Fact
from .pairs import Pairs, Reader, located
from .relations import Unlike, implies
from .solver import Solver
from .words import in_words, names_of

Relation = Literal["implies", "equals"]


class NoMatch(Exception):
    """Attends that stand for each other were not found; the message says why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What was found about two attends."""

    attend: str
    other: str
    fact: Fact

    def to_json(self) -> dict[str, Any]:
        return {"attend": self.attend, "other": self.other, **self.fact.to_json()}


def claims(
    spec: TypedSpec,
    other: TypedSpec,
    relation: Relation,
    attend: str | None = None,
    solver: Solver | None = None,
) -> list[Claim]:
    """The relation between the masks of two specs, for attends of the same name or the only ones.

    Raises:
        NoMatch: an attend has none that it could be compared with.
    """
    mine, theirs = located(spec), located(other)
    found = []
    for name, twin in _matched(mine, theirs, attend):
        fact = _claim(mine[name], theirs[twin], relation, solver)
        found.append(Claim(name, twin, fact))
    return found


Located = Mapping[str, tuple[TypedSpec, Attend]]


def _matched(mine: Located, theirs: Located, attend: str | None) -> Iterator[tuple[str, str]]:
    names = [name for name in mine if attend in (None, name)]
    if not names or not theirs:
        raise NoMatch("there is no attend to compare")
    if len(names) == len(theirs) == 1:
        yield names[0], next(iter(theirs))
        return
    for name in names:
        if name not in theirs:
            there = ", ".join(f"`{item}`" for item in theirs)
            raise NoMatch(f"the other spec has no attend `{name}`; it has {there}")
        yield name, name


def _claim(
    mine: tuple[TypedSpec, Attend],
    theirs: tuple[TypedSpec, Attend],
    relation: Relation,
    solver: Solver | None,
) -> Fact:
    try:
        asker = Asker(_inputs(mine[0], theirs[0]), solver)
        left = Reader(mine[0], asker.prover).pairs(mine[1])
        right = Reader(theirs[0], asker.prover).pairs(theirs[1])
        forth = _all_imply(asker, left, right)
        answers = [(forth, "{i} sees {j} here, but not in the other")]
        if relation == "equals":
            back = _all_imply(asker, right, left)
            answers.append((back, "{i} sees {j} in the other, but not here"))
    except Unlike as reason:
        return Fact(relation, "unknown", str(reason))
    except RecursionError:
        return Fact(relation, "unknown", TOO_DEEP)
    answer = all_of(answer for answer, _ in answers)
    if answer.example is not None:
        told = next(words for item, words in answers if item is answer)
        return Fact(
            relation, "refuted", in_words(answer.example, names_of(left), told), answer.example
        )
    proved = "every pair is seen in the other, too"
    proved = proved if relation == "implies" else "both see the same pairs"
    return Fact(relation, answer.verdict, proved if answer else answer.reason)


def _inputs(spec: TypedSpec, other: TypedSpec) -> dict[str, InputInfo]:
    """The inputs of both; those of one name are one."""
    for name in spec.inputs.keys() & other.inputs.keys():
        one, two = spec.inputs[name], other.inputs[name]
        if (one.type, one.bounds) != (two.type, two.bounds):
            raise Unlike(f"`{name}` is another input in each")
    return {**spec.inputs, **other.inputs}


def _all_imply(asker: Asker, left: list[Pairs], right: list[Pairs]) -> Answer:
    if len(left) != len(right):
        raise Unlike("one attends to more sets of keys than the other")
    return all_of(implies(asker, one, two) for one, two in zip(left, right, strict=True))
