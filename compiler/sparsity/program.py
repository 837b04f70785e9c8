"""Masks as programs: steps over arguments, with what is known of their structure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

#: names of the token axes of a mask; its other axes keep the names of the spec
QUERY, KEY = "query#", "key#"
#: conjuncts beyond this share the last bit
MOST_CONJUNCTS = 62


@dataclass(frozen=True)
class Instruction:
    """One step: an operator over earlier results, `input` (args: its number), `const`, `exists` or
    `forall` (a step and the names of axes), or `some` and `any`, a truth value and a number of
    which nothing is known.

    rounds   whether the result is a real that arithmetic rounds
    """

    op: str
    args: tuple[Any, ...]
    rounds: bool = False


@dataclass(frozen=True)
class Diagonal:
    """A truth value that is the same for all pairs of one difference, or of one sum, of places.

    step    the step of the program that it stands for
    steps   the same predicate, of inputs that count tokens and of inputs over no tokens
    sign    1: pairs (i + t, j + t) are alike; -1: pairs (i + t, j - t)
    """

    step: int
    steps: tuple[Instruction, ...]
    sign: int


@dataclass(frozen=True)
class MaskProgram:
    """A mask: its last step is its value, without steps it lets everything in.

    conjuncts   the steps that must hold for a pair to be visible, at most MOST_CONJUNCTS
    diagonals   what depends on a pair through one number alone
    axes        of each input the names of its axes in order; feature dims may follow
    """

    steps: tuple[Instruction, ...] = ()
    conjuncts: tuple[int, ...] = ()
    diagonals: tuple[Diagonal, ...] = ()
    axes: tuple[tuple[str, ...], ...] = ()

    @property
    def reduced(self) -> tuple[str, ...]:
        """The axes over which steps ask whether some or all hold."""
        names = (a for s in self.steps if s.op in ("exists", "forall") for a in s.args[1:])
        return tuple(dict.fromkeys(names))

    @property
    def lead(self) -> tuple[str, ...]:
        """The axes, such as batch and head, over which the mask varies besides its tokens."""
        known = {QUERY, KEY, *self.reduced}
        return tuple(dict.fromkeys(a for axes in self.axes for a in axes if a not in known))

    @property
    def value(self) -> int:
        """The step whose value that of the mask is: the last, unless that repeats another."""
        place = len(self.steps) - 1
        while self.steps[place].op == "and" and len(set(self.steps[place].args)) == 1:
            place = self.steps[place].args[0]
        return place

    def needed(self, roots: Iterable[int], known: Collection[int] = ()) -> tuple[int, ...]:
        """The steps to evaluate for some of them, where some are known."""
        found: set[int] = set()
        waiting = list(roots)
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                if place not in known:
                    waiting += operands(self.steps[place])
        return tuple(sorted(found))


def operands(step: Instruction) -> tuple[int, ...]:
    """The earlier steps that a step reads."""
    if step.op in ("input", "const", "some", "any"):
        return ()
    return step.args[:1] if step.op in ("exists", "forall") else step.args
