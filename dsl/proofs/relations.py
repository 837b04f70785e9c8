"""How masks stand to each other: symmetry, inclusion, equality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..core import Axis, Node
from ..substitution import place, substitute
from .asking import Answer, Asker, all_of
from .pairs import Pairs


def symmetric(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """Whether j is seen from i wherever i is seen from j."""
    if len(sources) != 1 or not sources[0].is_square:
        return Answer("unknown", reason="queries and keys are not the same tokens")
    pairs = sources[0]
    swapped = exchanged(pairs.there, pairs.query, pairs.keys[0])
    return asker.ask(pairs.guards, swapped, pairs.axes)


def exchanged(node: Node, first: Axis, second: Axis) -> Node:
    """The node with two axes of tokens taking each other's place."""
    aside = replace(first, name=f"{first.name}~", base=first.base or first.name)
    node = substitute(node, first, place(aside))
    node = substitute(node, second, place(first))
    return substitute(node, aside, place(second))


class Unlike(Exception):
    """Two attends whose pairs cannot be compared; the message says why."""


def implies(asker: Asker, left: Pairs, right: Pairs) -> Answer:
    """Whether every pair of the left is one of the right.

    Raises:
        Unlike: their tokens are not the same.
    """
    goal = aligned(right, left)
    axes = dict.fromkeys((*left.axes, *(axis for axis in right.axes if axis in goal.type.axes)))
    return asker.ask(left.guards, goal, tuple(axes))


def equal(asker: Asker, left: Pairs, right: Pairs) -> Answer:
    """Whether both have the same pairs.

    Raises:
        Unlike: their tokens are not the same.
    """
    return all_of((implies(asker, left, right), implies(asker, right, left)))


def aligned(pairs: Pairs, other: Pairs) -> Node:
    """When a pair is there, in the axes of another attend."""
    if len(pairs.keys) != 1 or len(other.keys) != 1 or pairs.at or other.at:
        raise Unlike("lists of keys cannot be compared with each other")
    named = [(axis.base or axis.name) for axis in (pairs.query, pairs.keys[0])]
    wanted = [(axis.base or axis.name) for axis in (other.query, other.keys[0])]
    if named != wanted:
        raise Unlike(
            f"one has pairs of `{wanted[0]}` and `{wanted[1]}`, the other of "
            f"`{named[0]}` and `{named[1]}`"
        )
    theirs = {axis.name: axis for axis in other.axes}
    for axis in pairs.axes:
        like = theirs.get(axis.name)
        if like is not None and axis.role != "token" and _size(like) != _size(axis):
            raise Unlike(
                f"`{axis.name}` has size {_size(like)} in one and {_size(axis)} in the other"
            )
    node = pairs.there
    twins = (pairs.query, *pairs.keys), (other.query, *other.keys)
    for axis, like in zip(*twins, strict=True):
        node = substitute(node, axis, place(like))
    for axis in pairs.axes:
        like = theirs.get(axis.name)
        if like is not None and like != axis and axis not in twins[0]:
            node = substitute(node, axis, place(like))
    return node


def _size(axis: Axis) -> int | None:
    return None if axis.size is None else axis.size.value
