"""The sdpa lowering: an attend that is softmax attention becomes torch's fused function."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import torch

from ...dsl.core import Attend, Axis, KvHead, Node, Read
from ..matching.sdpa import Match
from .emitter import Value, by_rank
from .layout import same_size

if TYPE_CHECKING:
    from .dense import Dense


def emit(e: Dense, node: Attend, found: Match) -> Value:
    """The fused call."""
    hint, e.hint = e.hint, ""
    query = e.lower(found.query)
    key, grouped_key = ungrouped(e, found.key)
    value, grouped_value = ungrouped(e, found.value)
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


def ungrouped(e: Dense, node: Node) -> tuple[Value, bool]:
    """The array by key/value heads, where the node only repeats them for the heads."""
    if isinstance(node, Read) and isinstance(node.index, KvHead):
        heads, groups = node.index.axis, node.axis
        if not same_size(heads, groups):
            return e.lower(node.arg), True
    return e.lower(node), False


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
