"""What a loop is taken apart into: carries that are advanced over all tokens at once."""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Node, Param, walk


@dataclass(frozen=True)
class Elementwise:
    """A carry with h[t] = decay[t] * h[t-1] + value[t]; decay None: 1.

    carry     the leaf that stands for h[t-1], a sequence once it is solved
    largest   the same with max for the sum and the sum for the product:
              h[t] = max(decay[t] + h[t-1], value[t]); decay None: 0
    """

    name: str
    carry: Param
    decay: Node | None
    value: Node
    largest: bool = False


@dataclass(frozen=True)
class MatrixState:
    """A carry that is read by contraction over one feature dim, decays, and takes outer products.

    key_dim   the dim that reads contract, 0 or 1; rank: how many dims the carry has
    decays    numbers, feature_decays along key_dim; all at least 0
    writes    (base, key): the base None for 0
    reads     (leaf, what it is contracted with): leaf stands for the read of the state before
    feeds     (write, read, factor)
    """

    name: str
    key_dim: int
    rank: int
    decays: tuple[Node, ...]
    feature_decays: tuple[Node, ...]
    writes: tuple[tuple[Node | None, Node], ...]
    reads: tuple[tuple[Param, Node], ...]
    feeds: tuple[tuple[int, int, Node], ...]


@dataclass(frozen=True)
class Solution:
    """The carries in the order in which they can be solved, and the yields over all tokens."""

    steps: tuple[Elementwise | MatrixState, ...]
    yields: tuple[Node, ...]


def carry_in(node: Node, names: frozenset[str]) -> Param | None:
    """The first carry of these names that a node depends on."""
    for item in walk(node):
        if isinstance(item, Param) and item.role == "carry" and item.name in names:
            return item
    return None
