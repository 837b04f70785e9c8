"""Weights summed by class, where values are read from a table at the class of a pair.

Before: `sum_j w[i, j] (v[j] + t[c(i, j)])`, a vector for every pair
After:  `sum_j w[i, j] v[j] + sum_n u[i, n] t[n]` with `u[i, n] = sum_j w[i, j] (c(i, j) == n)`

One attend makes both sums: its values are `concat(v, c == range(size of t))`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeGuard

from ...dsl.core import (
    Attend,
    AttendSource,
    ConcatDims,
    Kind,
    Node,
    Part,
    ReadDim,
    Type,
)
from ...dsl.elaborate.contractions import contract
from ...dsl.elaborate.typing import pointwise
from ...dsl.intervals import bounds
from ...dsl.typed import TypedSpec
from ..apart import is_pair
from ..one_hot import one_hot
from ..program import Program, rewrite
from .hoist import terms_of, total_of
from .joints import sliced

#: a sum for each class is kept for each query
MOST_CLASSES = 256


def values_by_class(program: Program) -> Program:
    """Attends without values that are read from a table by pair."""
    made: dict[Node, Attend] = {}  # the attends of results, for those who read parts of them

    def rule(node: Node) -> Node:
        if isinstance(node, Part) and node.attend in made:
            return replace(node, attend=made[node.attend])
        found = _summed(node, program.spec) if isinstance(node, Attend) else None
        if found is None:
            return node
        made[found[0]] = found[1]
        return found[0]

    return rewrite(program, rule)


def _summed(node: Attend, spec: TypedSpec) -> tuple[Node, Attend] | None:
    """The result of an attend from one that sums its weights by class, and that one."""
    if len(node.sources) > 1 or len(node.type.dims) != 1:
        return None
    (source,) = node.sources
    terms = terms_of(source.value)
    read = [term for term in terms if _is_row(term, node, source)]
    rest = [term for term in terms if term not in read]
    if not rest or any(_over_pairs(term, node, source) for term in rest):
        return None
    value = total_of(rest)
    found = {(term.index, term.arg.type.dims) for term in read}
    if len(found) != 1 or value.type.dims != node.type.dims:
        return None
    ((place, (count, width)),) = found
    if (
        bounds(place, spec)[1] >= count.value
    ):  # what the length alone bounds is checked where it is read
        return None
    table = total_of([term.arg for term in read])
    hot = one_hot(place, count)
    dims = (width + count,)
    joined = ConcatDims(Type(Kind.REAL, value.type.axes | hot.type.axes, dims), (value, hot))
    both = replace(
        node, type=replace(node.type, dims=dims), sources=(replace(source, value=joined),)
    )
    by_class = contract(sliced(both, width.value, count), table, ((0, 0),))
    return pointwise("+", sliced(both, 0, width), by_class), both


def _over_pairs(node: Node, attend: Attend, source: AttendSource) -> bool:
    return is_pair(node, attend.query, frozenset(source.axes))


def _is_row(node: Node, attend: Attend, source: AttendSource) -> TypeGuard[ReadDim]:
    """Whether a term is a row of a table that keys do not differ in, by the class of a pair."""
    if not isinstance(node, ReadDim) or node.index.type.dims or len(node.arg.type.dims) != 2:
        return False
    if node.arg.type.dims[0].value > MOST_CLASSES or node.arg.type.axes & set(source.axes):
        return False
    return _over_pairs(node.index, attend, source)
