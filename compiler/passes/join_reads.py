"""One read of a table with two indices, where two in a row would read its rows for every pair.

Before: `table[r][c]`, a row of numbers for every pair, then one of them
After:  `flat[r * columns + c]`, a number
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import Attend, Node, ReadDim, Reshape
from ...dsl.elaborate.typing import const, pointwise
from ..program import Program, rewrite
from .pairs import rewrite_pairs


def join_reads(program: Program) -> Program:
    """Attends whose pairs read a table once."""
    return rewrite(program, _rule)


def _rule(node: Node) -> Node:
    return rewrite_pairs(node, _joined) if isinstance(node, Attend) else node


def _joined(node: Node) -> Node:
    match node:
        case ReadDim(arg=ReadDim(arg=table, index=row) as inner, index=column):
            pass
        case _:
            return node
    if row.type.dims or column.type.dims or len(inner.type.tokens) < 2:
        return node
    rows, columns, *rest = table.type.dims
    flat = Reshape(replace(table.type, dims=(rows * columns, *rest)), table)
    place = pointwise("+", pointwise("*", row, const(columns.value)), column)
    return ReadDim(node.type, flat, place)
