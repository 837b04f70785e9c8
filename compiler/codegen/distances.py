"""Functions of how far a query and a key are apart, once for each distance instead of each pair.

    f(i, j) = g(i - j), with i and j the places of the query and the key

Biases by distance, windows and buckets have this form. N queries and M keys in a row have N + M - 1
distances: a kernel makes g of each of them first, in an array where the distances of one query with
WIDTH keys stand side by side, and those of the next query one place before. Where places are given
that are not in a row, g is made pair by pair, in an array of a group and a batch of tiles. Either is
read alike, with another step from query to query. Cotangents are summed in an array of the same form
and go from there to the tables and numbers that g reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeGuard

from ...dsl.core import Const, Index, Kind, Map, Node, Position, Read, ReadDim
from ...dsl.elaborate.typing import pointwise
from ...dsl.operators import COMPARISONS
from ..matching.fused import Match


@dataclass(frozen=True)
class Distance:
    """Says of a function of `row - key` which two leaves number queries and keys."""

    row: Node
    key: Node


def distances(match: Match) -> dict[Node, Distance]:
    """The largest parts of what is computed of a pair that are functions of a distance."""
    found: dict[Node, Distance] = {}
    seen: set[Node] = set()
    parts = (match.root, match.given, match.mask, *match.of_pairs)
    stack = [node for node in parts if node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        places = frozenset(_places(node, match))
        if len(places) == 2 and _is_of_distance(node, match):
            row, key = sorted(places, key=lambda place: match.domain(place) != "row")
            if _steps(node, match) is None:  # a difference itself is as fast made as read
                found[node] = Distance(row, key)
        else:
            stack.extend(_args(node))
    return found


def _args(node: Node) -> tuple[Node, ...]:
    """What a pair's number is made of, place of a table included."""
    if isinstance(node, Map):
        return node.args
    return (node.index,) if isinstance(node, Read | ReadDim) else ()


def _places(node: Node, match: Match) -> Iterator[Node]:
    """The leaves that number tokens, of a node that reads nothing else by token."""
    stack, seen = [node], set[Node]()
    while stack:
        item = stack.pop()
        if item in seen or isinstance(item, Const):
            continue
        seen.add(item)
        below = _args(item)
        if below:
            stack.extend(below)
            table = item.arg if isinstance(item, Read | ReadDim) else None
            if table is not None and match.domain(table) != "head":
                yield table
        elif match.domain(item) != "head":
            yield item


def _is_of_distance(node: Node, match: Match) -> bool:
    """Whether a node over one row's and one key's place reads them by their difference alone."""
    if match.domain(node) == "head" and not isinstance(node, Read | ReadDim):
        return True
    if isinstance(node, Const):
        return True
    grows = _steps(node, match)
    if grows is None and _compares(node):
        grows = _steps(pointwise("-", *node.args), match)
    if grows is not None and (grows[0] or grows[1]):
        return grows[0] == -grows[1]
    below = _args(node)
    return bool(below) and all(_is_of_distance(item, match) for item in below)


def _compares(node: Node) -> TypeGuard[Map]:
    """Whether a node is a test of two whole numbers, which is one of their difference."""
    if not isinstance(node, Map) or node.op not in COMPARISONS:
        return False
    return all(arg.type.kind is Kind.INT for arg in node.args)


def _steps(node: Node, match: Match) -> tuple[Fraction, Fraction] | None:
    """By how much a whole number grows from query to query and from key to key, if it does so."""
    if isinstance(node, Const):
        return Fraction(0), Fraction(0)
    if isinstance(node, Position | Index):
        return (
            (Fraction(1), Fraction(0))
            if match.domain(node) == "row"
            else (Fraction(0), Fraction(1))
        )
    if not isinstance(node, Map) or node.type.kind is not Kind.INT:
        return None
    parts = [_steps(arg, match) for arg in node.args]
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    match node.op, known, node.args:
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
