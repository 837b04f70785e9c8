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
    map_operands,
    operands,
    walk,
)
from ..dsl.elaborate.typing import const, pointwise, real

#: stands for the log-sum-exp of an empty row, and for the largest where every row is empty
LOWEST = -1e30


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
    if inner is None or inner[2:] != (0.0, 1.0) or not _is_sum_of(total, top):
        return None
    return inner[0], inner[1], 1.0, eps


def _is_sum_of(node: Node, arg: Node) -> bool:
    """Whether a node is the sum of something along one axis."""
    return isinstance(node, Reduce) and node.arg is arg and is_row_sum(node, *node.axes[:1])


def is_row_sum(node: Node, *joint: Axis) -> bool:
    """Whether a node is a sum along the axis of the keys."""
    return isinstance(node, Reduce) and (node.op, node.axes, node.dims, node.where) == (
        "sum",
        joint,
        (),
        None,
    )


def plain_sums(node: Node, joint: Axis) -> Node:
    """mean_j z -> safe_div(sum_j z, sum_j 1); sum_j z where c -> sum_j where(c, z, 0)"""
    done: dict[Node, Node] = {}

    def rewritten(item: Node) -> Node:
        if isinstance(item, Scores) or not uses_scores(item):
            return item
        if item not in done:
            made = map_operands(item, rewritten)
            done[item] = _plain_sum(made) if isinstance(made, Reduce) else made
        return done[item]

    def _plain_sum(item: Reduce) -> Node:
        if item.op not in ("sum", "mean") or item.axes != (joint,) or item.dims:
            return item
        if (item.op, item.where) == ("sum", None):
            return item
        own = replace(item, op="sum", where=None)
        if item.where is None:
            same, other = (pointwise(op, item.arg, item.arg) for op in ("==", "!="))
            total, there = own, pointwise("or", same, other)  # of what is no number, too
        else:
            total = replace(own, arg=pointwise("where", item.where, item.arg, const(0.0)))
            there = item.where
        return (
            total
            if item.op == "sum"
            else pointwise("safe_div", total, replace(own, arg=real(there)))
        )

    return rewritten(node)


def quotient(node: Node, joint: Axis) -> tuple[Node, Node, bool] | None:
    """(f, g, guarded) of the weights f / g with g arithmetic of sums over the row; 0 where guarded and g is 0."""
    if not isinstance(node, Map) or softmax_argument(node) is not None:
        return None
    match node.op, node.args:
        case "/" | "safe_div", (top, bottom) if _is_divisor(bottom, joint):
            return top, bottom, node.op == "safe_div"
        case "/" | "safe_div", (top, bottom) if (found := quotient(top, joint)) is not None:
            return pointwise(node.op, found[0], bottom), *found[1:]
        case "neg", (arg,) if (found := quotient(arg, joint)) is not None:
            return pointwise("neg", found[0]), *found[1:]
        case "*", (left, right):
            for one, other in ((left, right), (right, left)):
                if (found := quotient(one, joint)) is not None:
                    return pointwise("*", found[0], other), *found[1:]
    return None


def _is_divisor(node: Node, joint: Axis) -> bool:
    """Whether a node is arithmetic of a row with a sum over it."""
    return uses_scores(node) and _is_of_row(node, joint)


def _is_of_row(node: Node, joint: Axis) -> bool:
    if is_row_sum(node, joint):
        return uses_scores(node)
    if isinstance(node, Scores) or joint in node.type.axes:
        return False
    if not uses_scores(node):
        return True
    return isinstance(node, Map) and all(_is_of_row(arg, joint) for arg in node.args)


def softmax_of(scores: Node, axis: Axis) -> Node:
    """The softmax of scores along an axis, as it is elaborated."""
    row = replace(scores.type, axes=scores.type.axes - {axis})
    largest = Reduce(row, "max", scores, (axis,), (), None)
    raised = pointwise("exp", pointwise("-", scores, largest))
    return pointwise("safe_div", raised, Reduce(row, "sum", raised, (axis,), (), None))


def sink_of(node: Node) -> tuple[Axis, Node, Node] | None:
    """The axis, the sink and c of exp(s - m) / (sum exp(s - m) + c exp(sink - m)), m = max(max s, sink).

    c exp(-m) is that of a sink of 0.
    """
    if not isinstance(node, Map) or node.op != "safe_div":
        return None
    top, bottom = node.args
    if not isinstance(bottom, Map) or bottom.op != "+":
        return None
    for total, extra in (bottom.args, bottom.args[::-1]):
        if isinstance(total, Reduce) and _is_sum_of(total, top):
            found = _sink_in(extra)
            if found is not None and _is_raised(top, *found[1:], total.axes[0]):
                return total.axes[0], found[1], found[0]
    return None


def _sink_in(extra: Node) -> tuple[Node, Node, Node] | None:
    """c, sink and m of c exp(sink - m)."""
    match extra:
        case Map(op="exp", args=(Map(op="-", args=(sink, largest)),)) if not uses_scores(sink):
            return const(1.0), sink, largest
        case Map(op="exp", args=(Map(op="neg", args=(largest,)),)):
            return const(1.0), const(0.0), largest
        case Map(op="*", args=(left, right)):
            for count, other in ((left, right), (right, left)):
                found = None if uses_scores(count) else _sink_in(other)
                if found is not None:
                    return pointwise("*", found[0], count), *found[1:]
    return None


def _is_raised(top: Node, sink: Node, largest: Node, axis: Axis) -> bool:
    """Whether a node is exp(s - m) with m the largest of the scores along an axis and a sink."""
    match top:
        case Map(op="exp", args=(Map(op="-", args=(Scores() as scores, m)),)) if m is largest:
            row = replace(scores.type, axes=scores.type.axes - {axis})
            peak = Reduce(row, "max", scores, (axis,), (), None)
            return largest in (pointwise("max", peak, sink), pointwise("max", sink, peak))
    return False


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
