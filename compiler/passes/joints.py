"""Vectors of pairs that are joined, part by part.

dot(tanh(concat(a, b)), c) = dot(tanh(a), c[:n]) + dot(tanh(b), c[n:])
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from ...dsl.core import ConcatDims, Contract, Kind, Map, Node, Range, ReadDim, Transpose, Type
from ...dsl.elaborate.contractions import contract
from ...dsl.elaborate.typing import const, pointwise
from ...dsl.sizes import Size, constant

Span = tuple[int, Size]


def spans(*vectors: Node) -> tuple[Span, ...]:
    """The parts of vectors, from one place where any of them is joined to the next; none where none is."""
    cuts: set[int] = set()
    sizes: dict[tuple[int, int], Size] = {}
    stack = [(node, 0) for node in vectors if len(node.type.dims) == 1]
    while stack:
        node, first = stack.pop()
        if isinstance(node, Map):
            stack.extend((arg, first) for arg in node.args if arg.type.dims)
        elif isinstance(node, ConcatDims):
            for arg in node.args:
                (size,) = arg.type.dims
                stack.append((arg, first))
                sizes.setdefault((first, first + size.value), size)
                cuts |= {first, first + size.value}
                first += size.value
    pairs = pairwise(sorted(cuts))
    return tuple((pair[0], sizes.get(pair, constant(pair[1] - pair[0]))) for pair in pairs)


def part(node: Node, span: Span) -> Node:
    """Some places of a vector."""
    first, size = span
    if not node.type.dims or (first == 0 and node.type.dims == (size,)):
        return node
    if isinstance(node, Map):
        return pointwise(node.op, *(part(arg, span) for arg in node.args))
    if isinstance(node, ConcatDims):
        start = 0
        for arg in node.args:
            end = start + arg.type.dims[0].value
            if start <= first and first + size.value <= end:
                return part(arg, (first - start, size))
            start = end
    return sliced(node, first, size)


def by_parts(node: Contract) -> Node:
    """A product over one dim of either side, of a matrix and a vector or of two vectors."""
    if len(node.left_dims) != 1:
        return node
    found = spans(node.left, node.right)
    sides = ((node.left, node.left_dims[0]), (node.right, node.right_dims[0]))
    if not found or any(len(side.type.dims) > 2 for side, _ in sides):
        return node
    total: Node | None = None
    for span in found:
        left, right = (_some(side, dim, span) for side, dim in sides)
        product = contract(left, right, ((node.left_dims[0], node.right_dims[0]),))
        total = product if total is None else pointwise("+", total, product)
    assert total is not None
    return total


def sliced(array: Node, first: int, size: Size) -> Node:
    """Some places of the first dim of an array."""
    place = pointwise("+", Range(Type(Kind.INT, frozenset(), (size,))), const(first))
    return ReadDim(replace(array.type, dims=(size, *array.type.dims[1:])), array, place)


def matrix_first(node: Contract) -> Contract:
    """A product of a matrix and a vector, as kernels have it."""
    left, right = (len(side.type.dims) for side in (node.left, node.right))
    if (left, right) == (1, 2):
        node = replace(
            node, left=node.right, right=node.left, left_dims=node.right_dims, right_dims=(0,)
        )
    elif (left, right) != (2, 1):
        return node
    if node.left_dims == (0,):
        node = replace(node, left=_transposed(node.left), left_dims=(1,))
    return node


def _transposed(matrix: Node) -> Node:
    if isinstance(matrix, Transpose):
        return matrix.arg
    return Transpose(replace(matrix.type, dims=matrix.type.dims[::-1]), matrix)


def parts(node: Node) -> list[Node]:
    """The parts of a vector; itself where nothing in it is joined."""
    found = spans(node)
    return [part(node, span) for span in found] if found else [node]


def _some(side: Node, dim: int, span: Span) -> Node:
    """Some places of one dim of a vector or a matrix."""
    if len(side.type.dims) == 1:
        return part(side, span)
    return _transposed(sliced(_transposed(side), *span)) if dim == 1 else sliced(side, *span)
