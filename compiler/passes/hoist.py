"""Hoist by index set: what depends only on the query or only on the key leaves the pair loop.

Before: `score: dot(u, tanh(q + k + c))`
After:  `score: dot(a0, tanh(a1 + a2))` with `a0 = u`, `a1 = q + c`, `a2 = k`

What is left in the fields of an attend is pair IR: `Arg`s (sequence values, read at the axes that they have), constants, positions, and what combines them. So it is in the normaliser, around the scores.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from ...dsl.core import (
    Arg,
    Attend,
    AttendSource,
    Axis,
    Const,
    Index,
    KvHead,
    Map,
    Node,
    Part,
    Position,
    Read,
    map_operands,
)
from ...dsl.elaborate.typing import pointwise
from ..apart import is_pair
from ..normalizer import uses_scores
from ..program import Program, rewrite

Axes: TypeAlias = frozenset[Axis]
LEAVES = (Const, Index, Position, KvHead)


def hoist(program: Program) -> Program:
    """The fields of every attend in terms of Args."""
    return rewrite(program, lambda node: hoisted(node) if isinstance(node, Attend) else node)


def hoisted(node: Attend) -> Attend:
    """The fields of an attend in terms of Args."""
    sources = tuple(_hoist_source(source, node.query) for source in node.sources)
    normalize = _normalizer(node.normalize, node.query, frozenset({node.joint}), {})
    return replace(node, sources=sources, normalize=normalize)


def _normalizer(node: Node, query: Axis, keys: Axes, memo: dict[Node, Node]) -> Node:
    """A normaliser whose operands beside the scores are pair IR."""
    if not uses_scores(node):
        return _body(node, query, keys, memo)
    if node not in memo:
        memo[node] = map_operands(node, lambda item: _normalizer(item, query, keys, memo))
    return memo[node]


def _hoist_source(source: AttendSource, query: Axis) -> AttendSource:
    keys = frozenset(source.axes)
    memo: dict[Node, Node] = {}

    def body(node: Node | None) -> Node | None:
        return None if node is None else _body(node, query, keys, memo)

    score, value = body(source.score), body(source.value)
    assert score is not None
    assert value is not None
    return replace(source, mask=body(source.mask), score=score, value=value)


def _body(node: Node, query: Axis, keys: Axes, memo: dict[Node, Node]) -> Node:
    if node in memo:
        return memo[node]
    if isinstance(node, (LEAVES, Arg)):
        made: Node = node
    elif not is_pair(node, query, keys):
        made = Arg(node.type, node)
    elif isinstance(node, Part):
        made = Arg(node.type, node)  # weights of another attend: an array over pairs
    elif isinstance(node, Read) and not is_pair(node.index, query, keys):
        made = Arg(node.type, node)  # a gather of rows: read whole, outside
    else:
        grouped = _grouped(node, query, keys)
        made = map_operands(grouped, lambda item: _body(item, query, keys, memo))
    memo[node] = made
    return made


def _grouped(node: Node, query: Axis, keys: Axes) -> Node:
    """A sum with its terms of the query, of the key and of the pair added up separately first."""
    if not isinstance(node, Map) or node.op != "+":
        return node
    groups: dict[str, list[Node]] = {"query": [], "key": [], "pair": []}
    for term in terms_of(node):
        if is_pair(term, query, keys):
            groups["pair"].append(term)
        else:
            groups["key" if keys & term.type.axes else "query"].append(term)
    if max(len(groups["query"]), len(groups["key"])) < 2:
        return node
    sums = [total_of(terms) for terms in groups.values() if terms]
    return total_of(sums)


def terms_of(node: Node) -> list[Node]:
    """What a sum is made of."""
    if isinstance(node, Map) and node.op == "+":
        return terms_of(node.args[0]) + terms_of(node.args[1])
    return [node]


def total_of(terms: list[Node]) -> Node:
    """The sum again."""
    total = terms[0]
    for term in terms[1:]:
        total = pointwise("+", total, term)
    return total
