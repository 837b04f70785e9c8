"""What kind of attend a body is: pairwise, or which operator couples its pairs."""

from __future__ import annotations

from ..dsl.core import (
    Arg,
    Attend,
    Axis,
    Choose,
    Node,
    Reduce,
    Scan,
    Scores,
    Segment,
    Simplex,
    Sort,
    Stencil,
    Top,
    operands,
)


def coupling(attend: Attend) -> str:
    """Why the pairs of an attend cannot be computed one by one; '' where they can.

    A pairwise attend is what fused kernels take: each score from its own row and key.
    """
    for source in attend.sources:
        keys = frozenset(source.axes) | {attend.query}
        for field in (source.mask, source.score, source.value):
            found = "" if field is None else _coupling(field, keys)
            if found:
                return found
    return _row_coupling(attend)


def _coupling(node: Node, tokens: frozenset[Axis]) -> str:
    stack, seen = [node], set()
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, Arg):
            continue
        seen.add(id(item))
        match item:
            case Stencil():
                return "a stencil over pairs"
            case Scan() if item.axis in tokens:
                return "a running sum over pairs"
            case Sort() | Top() | Choose():
                return "an order among pairs"
            case Segment():
                return "a segment reduction of pairs"
            case Reduce() if any(axis.role == "head" for axis in item.axes):
                return "a mix of heads"
            case Reduce() if set(item.axes) & tokens:
                return "a reduction over pairs"
            case _:
                stack.extend(operands(item))
    return ""


def _row_coupling(attend: Attend) -> str:
    heads = {axis for axis in attend.normalize.type.axes if axis.role == "head"}
    stack = [attend.normalize]
    while stack:
        item = stack.pop()
        if isinstance(item, Simplex):
            return "a projection on the simplex, which orders its row"
        if isinstance(item, Scores):
            lost = {axis for axis in item.type.axes if axis.role == "head"} - heads
            if lost:
                return "a mix of heads in the normaliser"
        stack.extend(operands(item))
    return ""
