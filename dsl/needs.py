"""Needs: the entries of the time judgement, and what is done to all of them alike."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from .core import (
    Node,
)
from .support import Literals

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


def literal(node: Node, truth: bool) -> Literals:
    """One condition as a guard. A condition with feature dims says nothing of one element."""
    return frozenset() if node.type.dims else frozenset({(node, truth)})


def guarded(needs: Iterable[Need], guard: Literals) -> Needs:
    """The needs where, besides, the guard holds."""
    if not guard:
        return tuple(needs)
    return tuple(replace(need, guard=need.guard | guard) for need in needs)


def distinct(needs: Iterable[Need]) -> Needs:
    """Without repetitions, and without needs whose guard only adds to that of another."""
    found: dict[tuple[Literals, Node | None], Need] = {}
    for need in needs:
        found.setdefault((need.guard, need.bound), need)
    free = {bound for guard, bound in found if not guard}
    return tuple(need for (guard, bound), need in found.items() if not guard or bound not in free)
