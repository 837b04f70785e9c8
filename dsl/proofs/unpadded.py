"""Rewrites predicates for sequences without padding, whose lengths are unknowns.

Before: valid(x) and any(i == j + 2 * e, over=e) and pos(token(context, j + 1)) <= i
After:  (i == j or i == j + 2) and where(j + 1 < n, j + 1, 0) <= i

Then every token is there; `count(x)` is the length; `any`, `all` and `count` of arithmetic
over a few fixed places are written out; and what is read beyond the last token is 0, as it is when the spec runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from itertools import product
from math import prod

from ..core import (
    Axis,
    Const,
    Fill,
    Index,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Param,
    Position,
    Read,
    Reduce,
    Type,
    Valid,
    map_operands,
)
from ..substitution import number, pointwise, substitute

MOST_WRITTEN_OUT = 64
TRUE: Node = Const(Type(Kind.BOOL), True)
FALSE: Node = Const(Type(Kind.BOOL), False)


class Unpadded:
    """The rewriting.

    count  how many tokens an axis has (None: not known)
    same   the axis whose tokens those of another are, such as x for context
    """

    def __init__(self, count: Callable[[Axis], Node | None], same: Callable[[Axis], Axis]) -> None:
        self.count = count
        self.same = same
        self.done: dict[Node, Node] = {}

    def __call__(self, node: Node) -> Node:
        """The node as it is without padding; what is neither logic nor arithmetic stays."""
        stack = [node]
        while node not in self.done:
            item = stack[-1]
            waiting = [part for part in _parts(item) if part not in self.done]
            if waiting:
                stack.extend(waiting)
            else:
                self.done[stack.pop()] = self._rewritten(item)
        return self.done[node]

    def _rewritten(self, node: Node) -> Node:
        match node:
            case Valid():
                return TRUE
            case Length(axis=axis):
                return length_of(self.same(axis))
            case Map():
                return simpler(map_operands(node, self))
            case Read():
                return self._read(node)
            case Reduce(op="any" | "all" | "count"):
                return self._reduced(node)
            case _:
                return node

    def _read(self, node: Read) -> Node:
        arg, index = self(node.arg), plain(self(node.index))
        beyond = self._within(node.axis, index) if may_be_beyond(index) else TRUE
        if arg in (TRUE, FALSE):
            there = both(pointwise(">=", index, number(0)), beyond)
            return FALSE if arg is FALSE else TRUE if isinstance(index, Index) else there
        read = node
        if arg is not node.arg or index is not node.index:
            read = Read(node.type, arg, node.axis, index)
        if beyond is TRUE or node.type.kind is Kind.REAL:
            return read
        if node.type.kind is Kind.BOOL:
            return both(read, beyond)
        return Map(node.type, "where", (beyond, read, number(0)))

    def _within(self, axis: Axis, index: Node) -> Node:
        count = number(axis.size.value) if axis.size is not None else self.count(axis)
        return TRUE if count is None else pointwise("<", index, count)

    def _reduced(self, node: Reduce) -> Node:
        arg = self(node.arg)
        where = TRUE if node.where is None else self(node.where)
        sizes = [axis.size.value for axis in node.axes if axis.size is not None]
        if node.op == "count" and arg is TRUE and where is TRUE and len(node.axes) == 1:
            counted = self.count(node.axes[0])
            return node if counted is None else counted
        if node.dims or len(sizes) < len(node.axes) or prod(sizes) > MOST_WRITTEN_OUT:
            return node
        if not (is_arithmetic(arg) and is_arithmetic(where)):  # it would only grow
            return node
        return _written_out(node, arg, where, sizes)


def _parts(node: Node) -> tuple[Node, ...]:
    """The operands that are rewritten with a node."""
    match node:
        case Map(args=args):
            return args
        case Read(arg=arg, index=index):
            return arg, index
        case Reduce(op="any" | "all" | "count", arg=arg, where=where):
            return (arg,) if where is None else (arg, where)
        case _:
            return ()


def _written_out(node: Reduce, arg: Node, where: Node, sizes: list[int]) -> Node:
    """any(p, over=e) = p[e := 0] or p[e := 1] or ...; `all` and `count` alike."""
    parts = []
    for places in product(*map(range, sizes)):
        here, there = arg, where
        for axis, at in zip(node.axes, places, strict=True):
            here = substitute(here, axis, number(at))
            there = substitute(there, axis, number(at))
        parts.append(implied(there, here) if node.op == "all" else both(there, here))
    if node.op == "any":
        return reduce(either, parts, FALSE)
    if node.op == "all":
        return reduce(both, parts, TRUE)
    ones = (pointwise("int", part) for part in parts)
    return reduce(lambda a, b: pointwise("+", a, b), ones, number(0))


def is_arithmetic(node: Node) -> bool:
    """Whether a predicate is made of places, lengths, numbers and inputs alone."""
    match node:
        case Map(args=args):
            discrete = all(item.type.kind is not Kind.REAL for item in (node, *args))
            return discrete and all(map(is_arithmetic, args))
        case Read(arg=arg, index=index):
            return is_arithmetic(arg) and is_arithmetic(index)
        case Param(role=role):
            return role == "input"
        case _:
            return isinstance(node, Index | Position | Const | Fill | Length | KvHead)


def length_of(axis: Axis) -> Length:
    """How many tokens x or context has."""
    return Length(Type(Kind.INT), axis)


def may_be_beyond(index: Node) -> bool:
    """Whether a ref is made by arithmetic, which may name a place after the last one."""
    if isinstance(index, Map) and index.op == "as_ref":
        return not isinstance(index.args[0], Index)
    return isinstance(index, Map) and any(may_be_beyond(arg) for arg in index.args)


def plain(index: Node) -> Node:
    """A place as such, though it is taken as a ref to other tokens; other refs as they are."""
    inner = index
    while isinstance(inner, Map) and inner.op in ("as_ref", "detach"):
        inner = inner.args[0]
    return inner if isinstance(inner, Index) else index


def simpler(node: Node) -> Node:
    """true and a -> a; not true -> false; where(true, a, b) -> a"""
    match node:
        case Map(op="and", args=(left, right)):
            return both(left, right)
        case Map(op="or", args=(left, right)):
            return either(left, right)
        case Map(op="not", args=(arg,)):
            return negated(arg)
        case Map(op="where", args=(condition, yes, no)) if isinstance(condition, Const | Fill):
            return yes if condition.value else no
        case _:
            return node


def both(left: Node, right: Node) -> Node:
    """Both hold. true and a -> a; false and a -> false"""
    if FALSE in (left, right):
        return FALSE
    if left is TRUE or right is TRUE:
        return right if left is TRUE else left
    return pointwise("and", left, right)


def either(left: Node, right: Node) -> Node:
    """One of them holds. false or a -> a; true or a -> true"""
    if TRUE in (left, right):
        return TRUE
    if left is FALSE or right is FALSE:
        return right if left is FALSE else left
    return pointwise("or", left, right)


def negated(node: Node) -> Node:
    """It does not hold."""
    if node in (TRUE, FALSE):
        return FALSE if node is TRUE else TRUE
    return pointwise("not", node)


def implied(guard: Node, goal: Node) -> Node:
    """The goal holds where the guard does."""
    return either(negated(guard), goal)


def in_range(index: Node, count: Node) -> Node:
    """The index names a token of `count` of them."""
    return both(
        pointwise("<=", number(0), index) if not isinstance(index, Index) else TRUE,
        pointwise("<", index, count),
    )
