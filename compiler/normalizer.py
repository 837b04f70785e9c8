"""What a normaliser is made of: its softmax, its scores, and whether a score can be absent."""

from __future__ import annotations

import math
from dataclasses import replace

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
from ..dsl.elaborate.typing import pointwise


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


def is_softmax(node: Node) -> bool:
    """Whether a normaliser is the softmax of the scores as they are."""
    found = softmax_argument(node)
    return found is not None and isinstance(found[0], Scores)


def reweighted_softmax(node: Node) -> tuple[Node, Node, float, float] | None:
    """(s, m, a, b) of the weights e m / (a sum(e m) + b sum(e)) with e = exp(s) and m without scores.

    softmax(s) m has a = 0, b = 1; renormalised, with eps added to its sum, a = 1, b = eps.
    """
    if not isinstance(node, Map):
        return None
    if node.op == "*":
        for left, right in (node.args, node.args[::-1]):
            found = softmax_argument(left)
            if found is not None and not uses_scores(right):
                return found[0], right, 0.0, 1.0
    if node.op != "safe_div":
        return None
    top, total = node.args
    eps = 0.0
    if isinstance(total, Map) and total.op == "+":
        total, added = total.args
        if not isinstance(added, Const):
            return None
        eps = float(added.value)
    inner = reweighted_softmax(top)
    if inner is None or inner[2:] != (0.0, 1.0) or not _is_row_sum(total, top):
        return None
    return inner[0], inner[1], 1.0, eps


def _is_row_sum(node: Node, arg: Node) -> bool:
    """Whether a node is the sum of something along one axis."""
    return (
        isinstance(node, Reduce)
        and (node.op, node.dims, node.where) == ("sum", (), None)
        and node.arg is arg
        and len(node.axes) == 1
    )


def softmax_of(scores: Node, axis: Axis) -> Node:
    """The softmax of scores along an axis, as it is elaborated."""
    row = replace(scores.type, axes=scores.type.axes - {axis})
    largest = Reduce(row, "max", scores, (axis,), (), None)
    raised = pointwise("exp", pointwise("-", scores, largest))
    return pointwise("safe_div", raised, Reduce(row, "sum", raised, (axis,), (), None))


def sink_of(node: Node) -> tuple[Axis, Node] | None:
    """The axis and the sink of exp(s - m) / (sum exp(s - m) + exp(sink - m)), m = max(max s, sink)."""
    if not isinstance(node, Map) or node.op != "safe_div":
        return None
    top, bottom = node.args
    if not isinstance(bottom, Map) or bottom.op != "+":
        return None
    for total, extra in (bottom.args, bottom.args[::-1]):
        if not isinstance(total, Reduce) or len(total.axes) != 1 or not isinstance(extra, Map):
            continue
        difference = extra.args[0]
        if extra.op != "exp" or not isinstance(difference, Map) or difference.op != "-":
            continue
        (axis,), sink = total.axes, difference.args[0]
        if node is _with_sink(top, axis, sink):
            return axis, sink
    return None


def _with_sink(top: Node, axis: Axis, sink: Node) -> Node | None:
    """The softmax with a sink whose numerator is given, as it is elaborated."""
    scores = next((item for item in walk(top) if isinstance(item, Scores)), None)
    if scores is None or uses_scores(sink):
        return None
    row = replace(scores.type, axes=scores.type.axes - {axis})
    largest = pointwise("max", Reduce(row, "max", scores, (axis,), (), None), sink)
    raised = pointwise("exp", pointwise("-", scores, largest))
    total = Reduce(row, "sum", raised, (axis,), (), None)
    extra = pointwise("exp", pointwise("-", sink, largest))
    return pointwise("safe_div", raised, pointwise("+", total, extra))


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
