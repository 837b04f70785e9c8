"""Whether an attend is what torch's FlexAttention computes: a softmax of functions of one dot product.

    s[i, j] = f(q[i] . k[j], what tokens, tables and pairs hold)

FlexAttention is given f as a function of one pair, and the mask as its blocks and another.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Arg, Attend, Contract, Node, walk
from ..program import Program
from . import fused
from .match import Leaf
from .match import Match as KernelMatch
from .refusal import Refusal


@dataclass(frozen=True)
class Match:
    """How an attend fits.

    dot          the product of `query` and `key` in the score
    arrays       what else a score reads, each with what it is read as
    """

    dot: Contract
    query: Node
    key: Node
    value: Node
    score: Node
    arrays: tuple[Leaf, ...]


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | Refusal:
    """Whether FlexAttention computes an attend; it has no log-sum-exp of a row on the CPU."""
    found = fused.match(node, program, parts)
    if isinstance(found, Refusal):
        return found
    if "lse" in parts:
        return Refusal("its lse is read", node, "do not read .lse")
    plain = found.weight is None and found.prior is None
    if not plain or found.classes is not None or found.dropped is not None:
        return Refusal(
            "its weights are no softmax of scores alone", node, "normalize: softmax(s, j)"
        )
    if any(axis.role in ("user", "group") for axis in node.type.axes):
        return Refusal("its result has axes beside those of heads", node)
    in_mask = () if found.mask is None else [found.leaf(item) for item in walk(found.mask)]
    if any(leaf is not None and (leaf.table or leaf.domain == "pair") for leaf in in_mask):
        return Refusal("its mask reads more than what a query and a key say", found.mask)
    sides = _sides(found)
    if isinstance(sides, Refusal):
        return sides
    dot, query, key = sides
    inside = {*walk(found.score)} - {dot, query, key}
    arrays = tuple(leaf for leaf in found.leaves[1:] if leaf.node in inside)
    if any(leaf.width and not leaf.table for leaf in arrays):
        return Refusal("its score reads vectors besides one dot product", found.score)
    return Match(dot, query, key, found.value.node, found.score, arrays)


def _sides(found: KernelMatch) -> tuple[Contract, Node, Node] | Refusal:
    """The one product of something of the query with something of the key."""
    if len(found.terms) == 1 and isinstance(dot := found.terms[0], Contract):
        sides = {found.domain(side): side for side in (dot.left, dot.right)}
        if set(sides) == {"row", "key"} and all(isinstance(s, Arg) for s in sides.values()):
            return dot, sides["row"], sides["key"]
    return Refusal(
        "its score is no function of one dot product",
        found.score,
        "score: dot(q, k) / sqrt(d_head), plus terms without feature dims",
    )
