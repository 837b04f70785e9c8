"""Functions of how far a query and a key are apart: f(i, j) = g(i - j), i and j counting tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import TypeAlias, TypeGuard

from ..dsl.core import Axis, Const, Index, Kind, Map, Node, Position
from ..dsl.elaborate.typing import pointwise
from ..dsl.operators import COMPARISONS

#: which tokens a node depends on: "row", "key", "head" for none, or something else
Side: TypeAlias = Callable[[Node], str | None]


def is_of_distance(node: Node, side: Side, below: Callable[[Node], Iterable[Node]]) -> bool:
    """Whether a node over one row's and one key's place reads them by their difference alone.

    below   what a node is made of, empty where that is not to be looked into
    """
    if isinstance(node, Const):
        return True
    grown = steps(node, side)
    if grown is None and _compares(node):
        grown = steps(pointwise("-", *node.args), side)
    if grown is not None and (grown[0] or grown[1]):
        return grown[0] == -grown[1]
    parts = tuple(below(node))
    if not parts:
        return side(node) == "head"
    return all(is_of_distance(item, side, below) for item in parts)


def _compares(node: Node) -> TypeGuard[Map]:
    """Whether a node is a test of two whole numbers, which is one of their difference."""
    if not isinstance(node, Map) or node.op not in COMPARISONS:
        return False
    return all(arg.type.kind is Kind.INT for arg in node.args)


def steps(node: Node, side: Side) -> tuple[Fraction, Fraction] | None:
    """By how much a whole number grows from query to query and from key to key, if it does so."""
    if isinstance(node, Const):
        return Fraction(0), Fraction(0)
    if isinstance(node, Position | Index):
        found = side(node)
        return Fraction(found == "row"), Fraction(found == "key")
    if not isinstance(node, Map) or node.type.kind is not Kind.INT:
        return None
    parts = [steps(arg, side) for arg in node.args]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    match node.op, known, node.args:
        case "as_ref", [only], _:
            return only
        case "neg", [(row, key)], _:
            return -row, -key
        case "+", [(r, k), (row, key)], _:
            return r + row, k + key
        case "-", [(r, k), (row, key)], _:
            return r - row, k - key
        case "*", [(r, k), _], (_, Const(value=by)):
            return r * int(by), k * int(by)
        case "*", [_, (r, k)], (Const(value=by), _):
            return r * int(by), k * int(by)
    return None


def is_pair(node: Node, query: Axis, keys: frozenset[Axis]) -> bool:
    """Whether a value depends on two of a query, a key and how far they are apart."""
    axes = node.type.axes
    by_query, by_key = query in axes, bool(keys & axes)
    if any(axis.role == "distance" for axis in axes):
        return by_query or by_key
    return by_query and by_key
