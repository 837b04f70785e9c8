"""In which order numbers of a pair are made: sums over features may read what is made of other sums.

    s[i, j] = sum_d f(x[i, j, d], e[i, j]),  e[i, j] = g(sum_d h(x[i, j, d]))

A term is a sum, or an extreme, over features; an entry a number that terms read at every feature: of a
table, or made of earlier terms. The backward goes the other way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...dsl.core import Node, Reduce, down_to, is_given, operands
from ..matching.match import Match, computed


@dataclass(frozen=True)
class Step:
    """A term, or an entry; a sum that others read as it is is both."""

    node: Node
    is_entry: bool


def steps(match: Match) -> tuple[Step, ...]:
    """All entries and terms, each after what it is made of."""
    found: dict[Step, None] = {}

    def add(step: Step) -> None:
        if step in found:
            return
        if step.is_entry:
            for term in terms_of(step.node, match):
                add(Step(term, False))
        else:
            for node in inside(step.node, match):
                if node in entries:
                    add(Step(node, True))
        found[step] = None

    entries = set(match.entries)
    for term in match.terms:
        add(Step(term, False))
    return tuple(found)


def inside(term: Node, match: Match) -> Iterator[Node]:
    """What a term is made of, down to arrays and entries."""
    entries = set(match.entries)
    return down_to(lambda node: node in entries or is_given(node), *operands(term))


def terms_of(entry: Node, match: Match) -> list[Node]:
    """The terms that an entry is made of."""
    terms = set(match.terms)
    return [node for node in computed(entry, terms) if node in terms]


def is_extreme(term: Node) -> bool:
    """Whether a term is the largest or smallest feature: a number without a gradient."""
    return isinstance(term, Reduce) and term.op != "sum"
