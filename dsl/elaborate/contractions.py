"""Contractions: sums of products over pairs of feature dims."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core import Contract, Kind, Node, Type
from .typing import TypeMistake, real, union, with_heads
from .values import Value

if TYPE_CHECKING:
    from .arguments import Arguments


def contract(left: Node, right: Node, pairs: tuple[tuple[int, int], ...]) -> Node:
    """Sum of products over pairs of feature dims."""
    left, right = with_heads((real(left), real(right)))
    for a, b in pairs:
        if left.type.dims[a] != right.type.dims[b]:
            raise TypeMistake(
                "ATT502",
                f"cannot contract [{left.type.dims[a]}] with [{right.type.dims[b]}]",
                f"the operands are {left.type} and {right.type}",
            )
    left_dims = tuple(a for a, _ in pairs)
    right_dims = tuple(b for _, b in pairs)
    dims = tuple(d for n, d in enumerate(left.type.dims) if n not in left_dims)
    dims += tuple(d for n, d in enumerate(right.type.dims) if n not in right_dims)
    return Contract(Type(Kind.REAL, union((left, right)), dims), left, right, left_dims, right_dims)


def dot(left: Node, right: Node) -> Node:
    """All feature dims of two operands, which must be equal."""
    if not left.type.dims or not right.type.dims:
        bare = right if left.type.dims else left
        raise TypeMistake("ATT502", f"`dot` contracts feature dims; {bare.type} has none")
    if len(left.type.dims) != len(right.type.dims):
        raise TypeMistake(
            "ATT502",
            f"`dot` contracts all feature dims: {left.type} and {right.type} differ",
            "the operands must have the same feature dims, at least one",
        )
    return contract(left, right, tuple((n, n) for n in range(len(left.type.dims))))


def matmul(left: Node, right: Node) -> Node:
    """Last feature dim of the left with the first of the right."""
    if not left.type.dims or not right.type.dims:
        raise TypeMistake(
            "ATT502", f"`@` contracts a feature dim of each operand: {left.type} and {right.type}"
        )
    return contract(left, right, ((len(left.type.dims) - 1, 0),))


def dot_of(a: Arguments) -> Value:
    """dot(a, b)."""
    return dot(*a.nodes())


def outer(a: Arguments) -> Value:
    """Products of the dims of one operand with the dims of the other."""
    left, right = a.nodes()
    return contract(left, right, ())
