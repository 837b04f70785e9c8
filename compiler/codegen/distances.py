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

from ...dsl.core import Const, Node, Read, ReadDim
from ..apart import is_of_distance, steps
from ..matching.match import Match, arithmetic, computed


@dataclass(frozen=True)
class Distance:
    """Says of a function of `row - key` which two leaves number queries and keys."""

    row: Node
    key: Node


def distances(match: Match) -> dict[Node, Distance]:
    """The largest parts of what is computed of a pair that are functions of a distance."""
    found: dict[Node, Distance] = {}
    seen: set[Node] = set()
    parts = (match.root, match.given, match.mask, *match.of_pairs, *match.entries)
    stack = [node for node in parts if node is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        places = frozenset(_places(node, match))
        if len(places) == 2 and is_of_distance(node, match.domain, arithmetic):
            row, key = sorted(places, key=lambda place: match.domain(place) != "row")
            if steps(node, match.domain) is None:  # a difference itself is as fast made as read
                found[node] = Distance(row, key)
        else:
            stack.extend(arithmetic(node))
    return found


def _places(node: Node, match: Match) -> Iterator[Node]:
    """The leaves that number tokens, of a node that reads nothing else by token."""
    for item in computed(node):
        if isinstance(item, Read | ReadDim):
            leaf = item.arg
        elif isinstance(item, Const) or arithmetic(item):
            continue
        else:
            leaf = item
        if match.domain(leaf) != "head":
            yield leaf
