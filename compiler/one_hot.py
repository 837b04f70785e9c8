"""Vectors of 0 with a 1 at one place: as values of pairs, their weighted sum is that of each place."""

from __future__ import annotations

from ..dsl.core import Arg, Kind, Map, Node, Range, Type
from ..dsl.elaborate.typing import pointwise
from ..dsl.sizes import Size


def one_hot(place: Node, size: Size) -> Node:
    """real(place == range(size))"""
    places = Range(Type(Kind.INT, frozenset(), (size,)))
    return pointwise("real", pointwise("==", place, places))


def place_of(node: Node) -> Node | None:
    """The place of a vector that is made so."""
    match node:
        case Map(op="real", args=(Map(op="==", args=(place, Range() | Arg(value=Range()))),)):
            return None if place.type.dims else place
    return None
