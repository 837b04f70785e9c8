"""What a fused kernel is made of.

    w[i, j] = softmax_j or any function of s[i, j] and of sums over j,  o[i] = sum_j w[i, j] v[j]

A score is arithmetic on numbers of pairs: of its leaves (arrays by query, by key, by pair, by head)
and of its terms (sums over a feature dim, products of queries and keys among them). What a term sums is
made of leaves, too, feature by feature, and of entries, made once for all features: of tables, and of
other terms.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal as Choice

from ...dsl.core import AtDistance, Attend, Axis, Contract, Map, Node, Read, ReadDim
from .weights import Divisor, Prior

#: which tokens an array depends on; apart: how far a query and a key are from each other
Domain = Choice["head", "row", "key", "pair", "apart"]


@dataclass(frozen=True)
class Leaf:
    """An array that a kernel reads.

    node    what it is in pair IR
    domain  the tokens that it depends on
    width   how many numbers a token has, 0 for one without a dim
    table   whether it is read at a place that is computed for each pair
    along   the axis that a table is read along, where that is no feature dim
    """

    node: Node
    domain: Domain
    width: int
    table: bool = False
    along: Axis | None = None


@dataclass(frozen=True)
class Dropped:
    """Dropout of weights: the leaves of its bits by query and of the places of keys, and its rate."""

    rows: Node
    keys: Node
    rate: float


@dataclass(frozen=True)
class Classes:
    """What weights are summed by, beside the values: an int of a pair, and how many there are."""

    place: Node
    count: int


@dataclass(frozen=True)
class Match:
    """What a fused kernel is made of.

    node        the attend, whose normaliser reads the results of `rows`
    score       of a pair, before the normaliser
    mask        bool of a pair, or None
    given       the score as it is given, where it may be -inf: then a pair is not there; else None
    weight      None for softmax, else the weight of a pair, before it is divided
    value       leaf of the values
    leaves      everything that is read, `value` first; an array that the score reads too is there twice
    terms       sums over a feature dim, and extremes without a gradient
    prior       what the weights of a softmax are multiplied with, if they are
    divisor     what the weights of a row are divided by, if they are
    rows        attends over the same pairs whose results are read by query, by kernels too
    dropped     how weights are dropped, if they are
    entries     numbers of a pair that terms read at every feature: of tables, and made of other terms
    layers      products of a matrix and a vector of each pair inside of terms, in that order too
    classes     what the weights of a query are summed by, if they are
    unbounded   reads of tables whose places the length alone bounds, so that calls look whether they are inside
    """

    node: Attend
    query: Axis
    key: Axis
    score: Node
    given: Node | None
    mask: Node | None
    weight: Node | None
    value: Leaf
    leaves: tuple[Leaf, ...]
    terms: tuple[Node, ...]
    entries: tuple[Node, ...]
    layers: tuple[Contract, ...]
    prior: Prior | None
    divisor: Divisor | None
    rows: tuple[tuple[Attend, Match], ...]
    dropped: Dropped | None
    with_lse: bool
    classes: Classes | None
    unbounded: tuple[ReadDim, ...]

    @property
    def root(self) -> Node:
        """What is computed of a pair: its score, of which the softmax is taken, or its weight."""
        return self.score if self.weight is None else self.weight

    @property
    def of_pairs(self) -> tuple[Node, ...]:
        """What is computed of a pair besides: its prior, what is summed over its row, and its class."""
        prior = () if self.prior is None else (self.prior.node,)
        sums = () if self.divisor is None else self.divisor.sums
        place = () if self.classes is None else (self.classes.place,)
        return (*prior, *(node for _, node in sums), *place)

    @property
    def differs_by_query(self) -> bool:
        """Whether the weights of two queries may differ."""
        return any(leaf.domain in ("row", "pair", "apart") for leaf in self.leaves[1:])

    def leaf(self, node: Node) -> Leaf | None:
        """The leaf that a node is, if it is one; of an array that is there twice the score's."""
        return next((leaf for leaf in reversed(self.leaves) if leaf.node is node), None)

    def domain(self, node: Node) -> Domain | None:
        """The tokens that a leaf depends on."""
        found = self.leaf(node)
        return None if found is None else found.domain


def arithmetic(node: Node) -> tuple[Node, ...]:
    """What a number of a pair is computed of, the places of tables included; nothing of a sum."""
    match node:
        case Map(args=args):
            return args
        case AtDistance(arg=arg):
            return (arg,)
        case Read(index=index) | ReadDim(index=index):
            return (index,)
    return ()


def computed(root: Node, ends: Collection[Node] = ()) -> Iterator[Node]:
    """All that a number of a pair is computed of, itself first, each once; ends are not looked into."""
    stack, seen = [root], set[Node]()
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            stack.extend(() if node in ends else arithmetic(node))
