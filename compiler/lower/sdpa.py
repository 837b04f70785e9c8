"""The sdpa lowering: an attend that is softmax attention becomes torch's fused function.

It fits where scores are `c * dot(q, k)` plus what depends on no feature, the normaliser is the softmax, and nothing reads scores or weights.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    Const,
    Contract,
    KvHead,
    Map,
    Node,
    Position,
    Read,
    Scores,
)
from ...dsl.elaborate.typing import pointwise
from ..normalizer import softmax_argument
from ..program import Program
from .emitter import Value, by_rank
from .layout import same_size
from .refusal import Emit, Refusal

if TYPE_CHECKING:
    from .dense import Dense


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


def fit(node: Attend, program: Program, parts: frozenset[str]) -> Emit | Refusal:
    """What emits the fused call, or why it does not fit."""
    found = match(node, program, parts)
    return found if isinstance(found, Refusal) else lambda e: _emit(e, node, found)


def is_streamed(node: Attend, program: Program) -> bool:
    """Whether torch computes it without an array over all pairs: no bias, no mask but a causal one."""
    found = match(node, program, frozenset())
    if isinstance(found, Refusal) or found.bias is not None:
        return False
    given = program.signature.given
    same = "context" not in given and "k_start" not in given
    return found.mask is None or (found.causal and same)


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | Refusal:
    """Whether an attend is what scaled_dot_product_attention computes."""
    if len(node.sources) != 1 or node.sources[0].at is not None:
        return Refusal("it has several sources or a list of keys", node, "one source with a mask")
    source = node.sources[0]
    if source.axes != (node.joint,):
        return Refusal("its keys have two axes", node)
    if parts:
        names = ", ".join(sorted(parts))
        return Refusal(f"its {names} are read", node, f"do not read .{names}")
    if node.dropout and program.signature.training:
        return Refusal("its dropout is drawn by counter, which torch's is not", node, "dropout: 0")
    found = softmax_argument(node.normalize)
    if found is None or not isinstance(found[0], Scores):
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


def _emit(e: Dense, node: Attend, found: Match) -> Value:
    hint, e.hint = e.hint, ""
    query = e.lower(found.query)
    key, grouped_key = _ungrouped(e, found.key)
    value, grouped_value = _ungrouped(e, found.value)
    grouped = grouped_key and grouped_value
    if not grouped:
        key, value = e.lower(found.key), e.lower(found.value)
    batch, head = e.spec.axes["b"], e.spec.axes["h"]
    group = e.spec.axes["g"]
    lead = (batch, head)
    uses_heads = any(
        axis.role in ("head", "group") for axis in (*query.axes, *key.axes, *value.axes)
    )
    args = [_four(e, query, node.query, head if uses_heads else None, batch)]
    for item in (key, value):
        axis = group if grouped and group in item.axes else head
        args.append(_four(e, item, node.joint, axis if uses_heads else None, batch))
    options: dict[str, Any] = {"scale": found.scale}
    same = "context" not in e.program.signature.given and not _offsets(e)
    if found.causal and same and node.joint.base in ("context", "x"):
        options["is_causal"] = True
    elif found.mask is not None or found.bias is not None:
        options["attn_mask"] = _mask(e, node, found, lead if uses_heads else (batch,))
    if grouped:
        options["enable_gqa"] = True
    e.hint = hint
    made = e.call(torch.nn.functional.scaled_dot_product_attention, *args, **options)
    axes = by_rank((batch, *((head,) if uses_heads else ()), node.query))
    return (
        e.arrange(made, (*((batch, head) if uses_heads else (batch,)), node.query), 1)
        if axes
        else Value(made)
    )


def _offsets(e: Dense) -> bool:
    given = e.program.signature.given
    return "k_start" in given


def _ungrouped(e: Dense, node: Node) -> tuple[Value, bool]:
    """The array by key/value heads, where the node only repeats them for the heads."""
    if isinstance(node, Read) and isinstance(node.index, KvHead):
        heads, groups = node.index.axis, node.axis
        if not same_size(heads, groups):
            return e.lower(node.arg), True
    return e.lower(node), False


def _value(node: Node) -> Node:
    """The sequence value that an Arg reads."""
    return node.value if isinstance(node, Arg) else node


def _four(e: Dense, value: Value, tokens: Axis, head: Axis | None, batch: Axis) -> Any:
    """(batch, heads, tokens, width), with size 1 for heads that are missing."""
    axes = (batch, head, tokens) if head is not None else (batch, tokens)
    there = tuple(axis for axis in axes if axis == batch or axis in value.axes)
    spread = e.expand(Value(e.narrowed(value), value.axes, value.dims), there)
    return e.full(Value(spread, there, value.dims), axes)


def _mask(e: Dense, node: Attend, found: Match, lead: tuple[Axis, ...]) -> Any:
    axes = (*lead, node.query, node.joint)
    mask = None if found.mask is None else e.lower(found.mask)
    if found.bias is None:
        assert mask is not None
        return _pairs(e, mask, axes, node)
    bias = e.lower(found.bias)
    node_bias = _pairs(e, bias, axes, node)
    if mask is not None:
        node_bias = e.call(torch.where, _pairs(e, mask, axes, node), node_bias, -math.inf)
    return e.narrowed(Value(node_bias, axes, 0, True))


def _pairs(e: Dense, value: Value, axes: tuple[Axis, ...], node: Attend) -> Any:
    """An array over pairs with both token axes at full size, as the fused kernels want it."""
    needed = [axis for axis in axes if axis in value.axes or axis in (node.query, node.joint)]
    spread = Value(e.expand(value, by_rank(needed)), by_rank(needed))
    order = [spread.axes.index(axis) for axis in needed]
    moved = spread.node if order == sorted(order) else e.method("permute", spread.node, *order)
    slots = [slice(None) if axis in needed else None for axis in axes]
    while slots and slots[0] is None:
        slots.pop(0)
    return (
        moved
        if all(s is not None for s in slots)
        else e.call(operator.getitem, moved, tuple(slots))
    )
