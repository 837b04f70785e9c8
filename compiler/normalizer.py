"""What a normaliser is made of: its softmax, its scores, and whether a score can be absent."""

from __future__ import annotations

import math

from ..dsl.core import (
    Attend,
    Axis,
    Const,
    Fill,
    Kind,
    Map,
    Node,
    Param,
    Part,
    Reduce,
    Scores,
    operands,
    walk,
)


def softmax_argument(node: Node) -> tuple[Node, Axis] | None:
    """What a node is the softmax of, and over which axis."""
    if not isinstance(node, Map) or node.op != "safe_div":
        return None
    top, bottom = node.args
    if not isinstance(bottom, Reduce) or bottom.op != "sum" or bottom.arg is not top:
        return None
    if len(bottom.axes) != 1 or bottom.dims or bottom.where is not None:
        return None
    if not isinstance(top, Map) or top.op != "exp":
        return None
    inner = top.args[0]
    if not isinstance(inner, Map) or inner.op != "-":
        return None
    arg, largest = inner.args
    right = (
        isinstance(largest, Reduce)
        and largest.op == "max"
        and largest.arg is arg
        and largest.axes == bottom.axes
        and largest.where is None
    )
    return (arg, bottom.axes[0]) if right else None


def uses_scores(node: Node) -> bool:
    """Whether a node belongs to a normaliser, outside of which it means nothing."""
    stack, seen = [node], set()
    while stack:
        item = stack.pop()
        if isinstance(item, Scores):
            return True
        if id(item) in seen or isinstance(item, Attend | Part):
            continue
        seen.add(id(item))
        stack.extend(operands(item))
    return False


def may_be_absent(node: Node) -> bool:
    """Whether a score can be -inf: from a logarithm, an lse, a max, an input or a stream."""
    for item in walk(node):
        if (
            isinstance(item, Param)
            and item.role in ("input", "stream", "argument")
            and (
                item.type.kind is Kind.REAL
                and item.name not in ("x", "context")
                and not item.type.dims
            )
        ):
            return True
        if isinstance(item, Const | Fill) and item.value in (math.inf, -math.inf):
            return True
        if isinstance(item, Map) and item.op in ("log", "log1p", "exp"):
            return True
        if isinstance(item, Map) and item.op == "/" and not isinstance(item.args[1], Const):
            return True
        if isinstance(item, Part) and item.part != "weights":
            return True
        if isinstance(item, Reduce) and item.op in ("max", "min", "logsumexp"):
            return True
    return False
