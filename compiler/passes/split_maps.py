"""Linear maps of what a query and a key make together, as sums of maps of each.

Before: `w @ concat(q, k)`, a product for every pair
After:  `w[:, :d] @ q + w[:, d:] @ k`, a product for every query and one for every key

Before: `linear(concat(q, k), to=[f])` and `linear(x, to=[1])[0]`, over pairs
After:  the same products, of the layer's weight
"""

from __future__ import annotations

from dataclasses import replace

from ...dsl.core import (
    Attend,
    Const,
    Contract,
    Kind,
    Linear,
    Map,
    Node,
    Param,
    ReadDim,
    Type,
)
from ...dsl.elaborate.contractions import contract
from ...dsl.elaborate.typing import pointwise
from ..program import Program, rewrite
from .joints import by_parts
from .pairs import rewrite_pairs


def split_maps(program: Program) -> Program:
    """The scores, masks and values of every attend, without maps of joined vectors."""
    return rewrite(program, _rule)


def _rule(node: Node) -> Node:
    return rewrite_pairs(node, _split) if isinstance(node, Attend) else node


def _split(node: Node) -> Node:
    match node:
        case Linear(to_axes=(), to_dims=(_,)) if len(node.arg.type.dims) == 1:
            return _layer(node)
        case Contract():
            return by_parts(node)
        case ReadDim(index=Const() as index) if not index.type.dims:
            return _read(node.arg, index)
        case ReadDim(index=index) if not index.type.dims and len(node.arg.type.tokens) > 1:
            return _read_pointwise(node.arg, index)
    return node


def _layer(node: Linear) -> Node:
    """A layer as the product with its weight."""
    (size,) = node.to_dims
    shape = (size, *node.arg.type.dims)
    weight = Param(Type(Kind.REAL, frozenset(), shape), f"{node.name}.weight", "weight")
    made = _split(contract(weight, node.arg, ((1, 0),)))
    if not node.bias:
        return made
    bias = Param(Type(Kind.REAL, frozenset(), (size,)), f"{node.name}.bias", "weight")
    return pointwise("+", made, bias)


def _read_pointwise(node: Node, index: Node) -> Node:
    """One number of a vector of pairs, at a place of each pair, made of numbers of what it is made of."""
    if isinstance(node, Map) and len(node.type.dims) == 1:
        args = (_read_pointwise(arg, index) if arg.type.dims else arg for arg in node.args)
        return pointwise(node.op, *args)
    return ReadDim(
        replace(node.type, axes=node.type.axes | index.type.axes, dims=node.type.dims[1:]),
        node,
        index,
    )


def _read(node: Node, index: Const) -> Node:
    """One number of a vector of pairs: of a product one row."""
    dims = node.type.dims[1:]
    if isinstance(node, Map) and len(node.type.dims) == 1:
        args = (_read(arg, index) if arg.type.dims else arg for arg in node.args)
        return pointwise(node.op, *args)
    if isinstance(node, Contract) and 0 not in node.left_dims and len(node.left.type.dims) > 1:
        row = _read(node.left, index)
        pairs = zip((dim - 1 for dim in node.left_dims), node.right_dims, strict=True)
        return contract(row, node.right, tuple(pairs))
    return ReadDim(replace(node.type, dims=dims), node, index)
