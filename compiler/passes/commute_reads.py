"""Contract before a table is read: the rows are fewer than the pairs.

Before: `dot(q, table[r])` with r over pairs: N * M * D products
After:  `(table @ q)[r]`: N * rows * D products
"""

from __future__ import annotations

from ...dsl.core import Contract, Kind, Node, ReadDim, Type
from ..program import Program, rewrite


def commute_reads(program: Program) -> Program:
    """Contractions of all but the first dim of a table moved before the read of that dim."""
    return rewrite(program, _rule)


def _rule(node: Node) -> Node:
    if not isinstance(node, Contract):
        return node
    for table, other, table_dims, other_dims in (
        (node.right, node.left, node.right_dims, node.left_dims),
        (node.left, node.right, node.left_dims, node.right_dims),
    ):
        moved = _move(node, table, other, table_dims, other_dims)
        if moved is not None:
            return moved
    return node


def _move(
    node: Contract,
    table: Node,
    other: Node,
    table_dims: tuple[int, ...],
    other_dims: tuple[int, ...],
) -> Node | None:
    if not isinstance(table, ReadDim) or table.index.type.dims:
        return None
    rows = table.arg
    everything = len(rows.type.dims) - 1
    if sorted(table_dims) != list(range(everything)) or len(other_dims) != len(other.type.dims):
        return None
    new_axes = table.index.type.axes - rows.type.axes
    if len([a for a in new_axes if a.role == "token"]) < 2 or new_axes <= other.type.axes:
        return None  # not more rows read than contracted
    size = rows.type.dims[0]
    places = tuple(dim + 1 for dim in table_dims)
    product = Contract(
        Type(Kind.REAL, rows.type.axes | other.type.axes, (size,)),
        rows,
        other,
        places,
        other_dims,
    )
    return ReadDim(Type(Kind.REAL, node.type.axes, ()), product, table.index)
