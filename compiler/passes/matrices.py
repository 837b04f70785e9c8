"""Matrices of pairs, place by place of their first dim.

Before: `max(q @ k, over=last)`, q a matrix of each query
After:  `max(dot(q[0], k), dot(q[1], k), ..)`, rows of q by themselves

What is made of a matrix of a query, of a key or of both, has no form in kernels; its rows are vectors, which
they sum over. A matrix that all pairs of a head share has one, if it meets vectors of pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ...dsl.core import (
    Attend,
    Axis,
    Choose,
    Contract,
    Map,
    Node,
    Norm,
    Range,
    ReadDim,
    Reduce,
    Reshape,
    Transpose,
    Type,
)
from ...dsl.elaborate.contractions import contract
from ...dsl.elaborate.typing import const, pointwise
from ...dsl.sizes import constant
from ..apart import is_pair
from .features import by_sums, count_of, needs_bound, norm_by_sums
from .pairs import rewrite_pairs

#: places of a dim, or of all axes of a reduction together, that are written out
MOST_PLACES = 32
#: dims of which one is written out in each round
MOST_DIMS = 6
#: a number at every place, and where it counts -> what they are together
Together = Callable[[str, Sequence[Node], Sequence[Node]], Node]


class _Whole(Exception):
    """An array cannot be taken apart."""


def by_rows(node: Attend, together: Together) -> Attend:
    """An attend whose reductions of matrices of pairs are those of their rows."""
    keys = frozenset(key for source in node.sources for key in source.axes)
    rules = _Rules(node.query, keys, together)
    for _ in range(MOST_DIMS):
        made = rewrite_pairs(node, rules.rewritten)
        if made is node:
            break
        node = made
    return node


class _Rules:
    """What becomes of a sum or another reduction of pairs."""

    def __init__(self, query: Axis, keys: frozenset[Axis], together: Together) -> None:
        self._query, self._keys, self._together = query, keys, together

    def rewritten(self, node: Node) -> Node:
        try:
            if isinstance(node, Contract) and not node.type.dims and node.left_dims:
                return self._product(node)
            if isinstance(node, Norm) and self._is_of_matrix(node.arg):
                return norm_by_sums(node)
            if isinstance(node, Reduce) and not node.axes and not node.type.dims:
                return self._reduction(node)
            if isinstance(node, Choose) and node.axis is None:
                return self._of_vector(node)
        except _Whole:
            pass
        return node

    def _product(self, node: Contract) -> Node:
        """A product over all dims: of vectors where what is multiplied is as it is given, else by places."""
        sides = node.left, node.right
        if (
            len(node.left_dims) > 1
            and node.left_dims == node.right_dims
            and not any(map(self._is_pair, sides))
        ):
            return contract(_flat(node.left), _flat(node.right), ((0, 0),))
        if len(node.left_dims) == 1 and not any(map(self._is_of_matrix, sides)):
            return node
        left, right = node.left_dims[0], node.right_dims[0]
        count = _places(node.left.type, left)
        rest = [
            (a - (a > left), b - (b > right))
            for a, b in zip(node.left_dims[1:], node.right_dims[1:], strict=True)
        ]
        parts = [
            _multiplied(self.place(node.left, left, n), self.place(node.right, right, n), rest)
            for n in range(count)
        ]
        return self._together("sum", parts, [])

    def _reduction(self, node: Reduce) -> Node:
        return self._of_vector(node) if len(node.arg.type.dims) == 1 else by_sums(node)

    def _of_vector(self, node: Reduce | Choose) -> Node:
        apart = [item for item in (node.arg, node.where) if item is not None]
        if needs_bound(node) or not any(map(self._is_of_matrix, apart)):
            return node
        count = _places(node.arg.type, 0)
        parts, where = (
            [] if item is None else [self._of_dim(item, 0, n) for n in range(count)]
            for item in (node.arg, node.where)
        )
        return self._together(node.op, parts, where)

    def _is_pair(self, node: Node) -> bool:
        return is_pair(node, self._query, self._keys)

    def _is_of_matrix(self, node: Node) -> bool:
        """Whether a vector of pairs is not made feature by feature of vectors."""
        if not node.type.dims or not self._is_pair(node):
            return False
        match node:
            case Map(args=args):
                return any(map(self._is_of_matrix, args))
            case Contract(left=left, right=right):
                vectors = [side for side in (left, right) if self._is_pair(side)]
                is_layer = len(vectors) == 1 and len(vectors[0].type.dims) == 1
                matrix = left if vectors[:1] == [right] else right
                shared = not ({self._query, *self._keys} & matrix.type.axes)
                return not (is_layer and shared) or self._is_of_matrix(vectors[0])
            case Reduce() | Transpose():
                return True
        return False

    def place(self, node: Node, dim: int, n: int) -> Node:
        """An array at one place of one of its dims."""
        dims = tuple(size for at, size in enumerate(node.type.dims) if at != dim)
        kind = replace(node.type, dims=dims)
        if not self._is_pair(node):
            return _read(node, dim, n)
        match node:
            case Map(op=op, args=args):
                return pointwise(op, *(self._of_dim(arg, dim, n) for arg in args))
            case Transpose(arg=arg):
                last = len(node.type.dims) - 1
                other = {last: last - 1, last - 1: last}.get(dim, dim)
                made = self.place(arg, other, n)
                return Transpose(kind, made) if other == dim else made
            case Reduce(arg=arg, dims=over, where=where):
                at = [place for place in range(len(arg.type.dims)) if place not in over][dim]
                rest = tuple(place - (place > at) for place in over)
                where = None if where is None else self._of_dim(where, at, n)
                return Reduce(kind, node.op, self.place(arg, at, n), node.axes, rest, where)
            case Contract():
                return self._place_of_product(node, dim, n)
        raise _Whole

    def _of_dim(self, node: Node, dim: int, n: int) -> Node:
        """The same of what may be a number."""
        return self.place(node, dim, n) if node.type.dims else node

    def _place_of_product(self, node: Contract, dim: int, n: int) -> Node:
        """The dims of a product are what is left of the left side's, then of the right one's."""
        sides, over = [node.left, node.right], [node.left_dims, node.right_dims]
        for side in (0, 1):
            own = [at for at in range(len(sides[side].type.dims)) if at not in over[side]]
            if dim < len(own):
                at = own[dim]
                sides[side] = self.place(sides[side], at, n)
                over[side] = tuple(place - (place > at) for place in over[side])
                left, right = sides
                return _multiplied(left, right, list(zip(*over, strict=True)))
            dim -= len(own)
        raise _Whole


def _multiplied(left: Node, right: Node, over: Sequence[tuple[int, int]]) -> Node:
    """A product over some dims; of a number and an array over none."""
    if over or (left.type.dims and right.type.dims):
        return contract(left, right, tuple(over))
    return pointwise("*", left, right)


def _places(kind: Type, dim: int) -> int:
    count = kind.dims[dim].value
    if not 1 <= count <= MOST_PLACES:
        raise _Whole
    return count


def _read(node: Node, dim: int, n: int) -> Node:
    """A place of an array that is no pair's."""
    if isinstance(node, Range):
        return const(n)
    if dim == 1 and len(node.type.dims) == 2:
        node = Transpose(replace(node.type, dims=node.type.dims[::-1]), node)
    elif dim:
        raise _Whole
    return ReadDim(replace(node.type, dims=node.type.dims[1:]), node, const(n))


def _flat(node: Node) -> Node:
    """An array with one dim."""
    size = constant(count_of(node))
    return Reshape(replace(node.type, dims=(size,)), node)
