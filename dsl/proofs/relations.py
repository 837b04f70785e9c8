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
    return asker.ask(pairs.guards, swapped, pairs.axes, pairs.is_counted)


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
    return asker.ask(left.guards, goal, tuple(axes), left.is_counted)


def equal(asker: Asker, left: Pairs, right: Pairs) -> Answer:
    """Whether both have the same pairs.

    Raises:
        Unlike: their tokens are not the same.
    """
    return all_of((implies(asker, left, right), implies(asker, right, left)))


def aligned(pairs: Pairs, other: Pairs) -> Node:
    """When a pair is there, in the axes of another attend.

    Raises:
        Unlike: their tokens are not the same.
    """
    if len(pairs.keys) != 1 or len(other.keys) != 1 or pairs.at or other.at:
        raise Unlike("lists of keys are not compared")
    twins = {pairs.query: other.query, pairs.keys[0]: other.keys[0]}
    for axis, like in twins.items():
        _check_same_tokens(pairs, axis, other, like)
    theirs = {axis.name: axis for axis in other.axes}
    for axis in pairs.axes[2:]:
        like = theirs.get(axis.name, axis)
        if _size(like) != _size(axis):
            raise Unlike(f"`{axis}` has size {_size(like)} in one and {_size(axis)} in the other")
        twins[axis] = like
    node = pairs.there
    for axis, like in twins.items():
        node = substitute(node, axis, place(like))
    return node


def _check_same_tokens(pairs: Pairs, axis: Axis, other: Pairs, like: Axis) -> None:
    if _root(axis) != _root(like):
        raise Unlike(f"one has pairs with `{_root(like)}`, the other with `{_root(axis)}`")
    if _size(axis) != _size(like) or pairs.ranges.get(axis) is not other.ranges.get(like):
        raise Unlike(f"there are more `{_root(axis)}` in one than in the other")
    known = pairs.known if axis in pairs.keys else pairs.now
    theirs = other.known if like in other.keys else other.now
    if (known is None) != (theirs is None) or (
        known is not None and substitute(known, axis, place(like)) is not theirs
    ):
        raise Unlike(f"`{_root(axis)}` are other tokens in each")


def _root(axis: Axis) -> str:
    return axis.base or axis.name


def _size(axis: Axis) -> int | None:
    return None if axis.size is None else axis.size.value
