"""Whether an attend is what torch's scaled_dot_product_attention computes.

It fits where scores are `c * dot(q, k)` plus what depends on no feature, the normaliser is the softmax, and nothing reads scores or weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    Const,
    Contract,
    Map,
    Node,
    Position,
)
from ...dsl.elaborate.typing import pointwise
from ..normalizer import is_softmax
from ..program import Program
from .refusal import Refusal, whole_rows


@dataclass(frozen=True)
class Match:
    """How an attend fits: q and k of the dot product, its scale, what is added, the mask."""

    query: Node
    key: Node
    scale: float
    bias: Node | None
    value: Node
    mask: Node | None
    causal: bool


def is_streamed(found: Match, program: Program) -> bool:
    """Whether torch computes it without an array over all pairs: no bias, no mask but a causal one."""
    given = program.signature.given
    same = "context" not in given and "k_start" not in given
    return found.bias is None and (found.mask is None or (found.causal and same))


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | Refusal:
    """Whether an attend is what scaled_dot_product_attention computes."""
    refusal = whole_rows(node, program, parts)
    if refusal is not None:
        return refusal
    source = node.sources[0]
    if not is_softmax(node.normalize):
        return Refusal(
            "its normaliser is not the softmax", node.normalize, "normalize: softmax(s, j)"
        )
    mask = source.mask
    if isinstance(mask, Const) and mask.value is True:
        mask = None
    return _match_source(node, source.score, mask, source.value)


def _match_source(node: Attend, score: Node, mask: Node | None, value: Node) -> Match | Refusal:
    terms = _terms(score)
    products = [(term, _product(term, node)) for term in terms]
    dots = [(term, found) for term, found in products if found is not None]
    if len(dots) != 1:
        worst = next((term for term, found in products if found is None), score)
        return Refusal(
            "its score is not one scaled dot product"
            if not dots
            else "its score has several dot products",
            worst,
            "score: dot(q, k) / sqrt(d_head), plus terms without feature dims",
        )
    scale, left, right = dots[0][1]
    query, key = (left, right) if node.query in left.type.axes else (right, left)
    if scale <= 0:
        return Refusal(
            "its scale is not positive, which torch's masks take for granted", dots[0][0]
        )
    query, key, value = _value(query), _value(key), _value(value)
    problem = _axes_problem(node, query, key, value)
    if problem is not None:
        return problem
    rest = [term for term in terms if term is not dots[0][0]]
    bias: Node | None = None
    for term in rest:
        bias = term if bias is None else _plus(bias, term)
    causal = bias is None and mask is not None and is_causal(mask, node.query, node.joint)
    return Match(query, key, scale, bias, value, mask, causal)


def _axes_problem(node: Attend, query: Node, key: Node, value: Node) -> Refusal | None:
    for name, array, own in (
        ("query", query, node.query),
        ("key", key, node.joint),
        ("value", value, node.joint),
    ):
        if len(array.type.dims) != 1:
            return Refusal(f"its {name} has {len(array.type.dims)} feature dims", array)
        others = [
            a for a in array.type.axes if a != own and a.role not in ("batch", "head", "group")
        ]
        if own not in array.type.axes or others:
            return Refusal(f"its {name} has other axes than batch, head and tokens", array)
    return None


def _terms(score: Node) -> list[Node]:
    """The summands of a score; a division of a sum by a constant is no sum."""
    if isinstance(score, Map) and score.op == "+":
        return _terms(score.args[0]) + _terms(score.args[1])
    if isinstance(score, Map) and score.op == "-":
        negated = Map(score.args[1].type, "neg", (score.args[1],))
        return [*_terms(score.args[0]), negated]
    return [score]


def _plus(left: Node, right: Node) -> Node:
    return pointwise("+", left, right)


def _product(term: Node, node: Attend) -> tuple[float, Node, Node] | None:
    """A scaled dot product of something of the query with something of the key."""
    found = _scaled_dot(term)
    if found is None:
        return None
    sides = {(node.query in side.type.axes, node.joint in side.type.axes) for side in found[1:]}
    return found if sides == {(True, False), (False, True)} else None


def _scaled_dot(node: Node) -> tuple[float, Node, Node] | None:
    """c * dot(q, k) or dot(q, k) / c for a constant c."""
    if isinstance(node, Contract):
        whole = len(node.left.type.dims) == len(node.right.type.dims) == len(node.left_dims) == 1
        return (1.0, node.left, node.right) if whole else None
    if isinstance(node, Map) and node.op in ("*", "/"):
        left, right = node.args
        if isinstance(right, Const):
            inner = _scaled_dot(left)
            factor = float(right.value)
            if inner is not None and factor:
                return (inner[0] * factor if node.op == "*" else inner[0] / factor, *inner[1:])
        if isinstance(left, Const) and node.op == "*":
            inner = _scaled_dot(right)
            return None if inner is None else (inner[0] * float(left.value), *inner[1:])
    return None


def is_causal(mask: Node, query: Axis, key: Axis) -> bool:
    """Whether a mask is position(j) <= position(i), of the same tokens."""
    if not isinstance(mask, Map) or mask.op != "<=":
        return False
    left, right = mask.args
    return (
        isinstance(left, Position)
        and isinstance(right, Position)
        and left.axis == key
        and right.axis == query
    )


def _value(node: Node) -> Node:
    """The sequence value that an Arg reads."""
    return node.value if isinstance(node, Arg) else node
