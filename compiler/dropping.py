"""Dropout of weights by counter: which pairs are kept follows from bits of their query and the place of their key.

So it is the same in whatever blocks weights are made, and can be made again in a backward.
"""

from __future__ import annotations

from ..dsl.core import Attend, Index, Kind, Node, Param, Position, Type


def row_bits(node: Attend) -> Param:
    """The random bits of the rows of an attend, over all axes of its weights but its keys."""
    axes = node.normalize.type.axes | {node.query}
    for source in node.sources:
        for item in (source.score, source.mask):
            axes |= frozenset() if item is None else item.type.axes
        axes -= set(source.axes)
    return Param(Type(Kind.INT, axes - {node.joint}), f"{node.name}.dropped", "carry")


def key_places(node: Attend) -> Node:
    """The places of the keys, positions where they have them."""
    axis = node.joint
    if axis.base in ("x", "context"):
        return Position(Type(Kind.INT, frozenset({axis})), axis)
    return Index(Type(Kind.INT, frozenset({axis}), (), axis), axis)
