"""Groups of heads read before pairs are made, not after.

Before: `(first @ tanh(q + k))[kv_head]`, vectors of pairs of which each head reads those of its group
After:  `first @ tanh(q[kv_head] + k[kv_head])`, vectors of pairs of each head

For kernels and tiles, which else were given an array of all pairs; the dense form makes that of groups.
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import (
    Attend,
    ConcatDims,
    Contract,
    KvHead,
    Map,
    Node,
    Norm,
    Read,
    ReadDim,
    Reduce,
    map_operands,
)
from ...dsl.elaborate.typing import read
from ..program import Program, rewrite
from .pairs import rewrite_pairs


def read_inside(program: Program) -> Program:
    """Attends whose pairs are of groups, or of heads, from the arrays on."""
    is_pairwise = program.signature.fused or program.signature.long
    return rewrite(program, _rule) if is_pairwise else program


def _rule(node: Node) -> Node:
    return rewrite_pairs(node, _inside) if isinstance(node, Attend) else node


def _inside(node: Node) -> Node:
    if not isinstance(node, Read) or not isinstance(node.index, KvHead):
        return node
    made, axis, index = node.arg, node.axis, node.index
    if not isinstance(made, Map | Contract | ConcatDims | Norm | Reduce | ReadDim):
        return node
    if len(made.type.tokens) < 2 or (isinstance(made, Reduce) and axis in made.axes):
        return node

    def by_head(item: Node) -> Node:
        return _inside(read(item, axis, index)) if axis in item.type.axes else item

    return replace(map_operands(made, by_head), type=node.type)
