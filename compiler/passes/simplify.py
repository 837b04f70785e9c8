"""Algebra that never changes a value: constants folded, neutral elements dropped.

Before: `x + 0`, `1 * x`, `true and p`, `not (not p)`
After:  `x`, `x`, `p`, `p`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ...dsl.core import (
    Axis,
    Const,
    Kind,
    KvHead,
    Length,
    Map,
    Node,
    Read,
    Reduce,
    Type,
    map_operands,
)
from ...dsl.elaborate.typing import const, pointwise
from ..program import Program, rewrite

Rule: TypeAlias = Callable[[Node], "Node | None"]


def fold(node: Node) -> Node | None:
    """op of constants -> the constant; where(true, a, b) -> a; true and p -> p."""
    if not isinstance(node, Map) or node.op == "as_ref":
        return None
    if not any(isinstance(arg, Const) for arg in node.args):
        return None
    folded = pointwise(node.op, *node.args)
    same = isinstance(folded, Map) and folded.op == node.op and folded.args == node.args
    return None if same else folded


def drop_neutral(node: Node) -> Node | None:
    """x + 0, x - 0, x * 1, x / 1 -> x"""
    if not isinstance(node, Map) or len(node.args) != 2:
        return None
    left, right = node.args
    neutral = {"+": 0, "-": 0, "*": 1, "/": 1}.get(node.op)
    if neutral is None:
        return None
    if isinstance(right, Const) and right.value == neutral and left.type.kind is node.type.kind:
        return left
    if node.op in "+*" and isinstance(left, Const) and left.value == neutral:
        return right if right.type.kind is node.type.kind else None
    return None


def drop_double_negation(node: Node) -> Node | None:
    """not (not p) -> p"""
    if isinstance(node, Map) and node.op == "not":
        inner = node.args[0]
        if isinstance(inner, Map) and inner.op == "not":
            return inner.args[0]
    return None


def drop_repeated(node: Node) -> Node | None:
    """p and p -> p; p or p -> p"""
    if isinstance(node, Map) and node.op in ("and", "or") and node.args[0] is node.args[1]:
        return node.args[0]
    return None


def drop_remainder(node: Node) -> Node | None:
    """x % 1 in a comparison -> 0; elsewhere its axes may be wanted"""
    if not isinstance(node, Map) or node.op not in ("==", "!=", "<", "<=", ">", ">="):
        return None
    args = [const(0) if _is_whole_remainder(arg) else arg for arg in node.args]
    return None if tuple(args) == node.args else pointwise(node.op, *args)


def _is_whole_remainder(node: Node) -> bool:
    """Whether a node is what is left over from an int divided by 1."""
    if not isinstance(node, Map) or node.op != "%" or node.type.kind is not Kind.INT:
        return False
    divisor = node.args[1]
    return isinstance(divisor, Const) and divisor.value == 1 and not node.type.dims


def separate_residues(node: Node) -> Node | None:
    """(a - b) % n == 0 -> a % n == b % n, each a number of one token"""
    if not isinstance(node, Map) or node.op != "==":
        return None
    left, zero = node.args
    if not (isinstance(zero, Const) and zero.value == 0 and isinstance(left, Map)):
        return None
    if left.op != "%" or left.type.kind is not Kind.INT:
        return None
    gap, size = left.args
    if not (isinstance(size, Const) and size.value > 0 and isinstance(gap, Map) and gap.op == "-"):
        return None
    a, b = gap.args
    if isinstance(a, Const) or isinstance(b, Const):
        return None
    return pointwise("==", pointwise("%", a, size), pointwise("%", b, size))


def join_digits(node: Node) -> Node | None:
    """e // n * n + e % n -> e"""
    if not isinstance(node, Map) or node.op != "+" or node.type.kind is not Kind.INT:
        return None
    for high, low in (node.args, node.args[::-1]):
        if isinstance(low, Map) and low.op == "%":
            whole, size = low.args
            part = pointwise("//", whole, size)
            if high in (pointwise("*", part, size), pointwise("*", size, part)):
                return whole
    return None


def drop_true_where(node: Node) -> Node | None:
    """A reduction of what `true` lets in -> the reduction."""
    if isinstance(node, Reduce) and isinstance(node.where, Const) and node.where.value is True:
        missing = [axis for axis in node.axes if axis not in node.arg.type.axes]
        if not missing:
            return Reduce(node.type, node.op, node.arg, node.axes, node.dims, None)
    return None


def count_everything(node: Node) -> Node | None:
    """count(true, over=x) -> length of x"""
    if not isinstance(node, Reduce) or node.op != "count" or len(node.axes) != 1:
        return None
    arg, axis = node.arg, node.axes[0]
    if node.where is None and isinstance(arg, Const) and arg.value is True:
        if axis.size is not None:
            return const(axis.size.value)
        return Length(Type(node.type.kind), axis) if _is_base(axis) else None
    return None


def _is_base(axis: Axis) -> bool:
    return axis.name == axis.base


def read_constant(node: Node) -> Node | None:
    """A constant read anywhere -> the constant."""
    return node.arg if isinstance(node, Read) and isinstance(node.arg, Const) else None


def read_heads_inside(node: Node) -> Node | None:
    """(a == b) of a group, read by its heads -> a by its heads == b; where it is over pairs."""
    if not isinstance(node, Read) or not isinstance(node.index, KvHead):
        return None
    return _by_head(node.arg, node) if _is_over_pairs(node.arg) else None


def _is_over_pairs(node: Node) -> bool:
    return len(node.type.tokens) > 1 and isinstance(node, Map | Reduce)


def _by_head(node: Node, read: Read) -> Node:
    """What `read` makes of an expression."""
    if read.axis not in node.type.axes:
        return node
    kind = replace(node.type, axes=(node.type.axes - {read.axis}) | read.index.type.axes)
    if not _is_over_pairs(node):
        return Read(kind, node, read.axis, read.index)
    return replace(map_operands(node, lambda item: _by_head(item, read)), type=kind)


RULES: tuple[Rule, ...] = (
    fold,
    drop_neutral,
    drop_double_negation,
    drop_repeated,
    drop_remainder,
    separate_residues,
    join_digits,
    drop_true_where,
    count_everything,
    read_constant,
    read_heads_inside,
)


def simplify(program: Program) -> Program:
    """Every rule at every node, until none applies."""

    def apply(node: Node) -> Node:
        changed = True
        while changed:
            changed = False
            for rule in RULES:
                found = rule(node)
                if found is not None and found is not node:
                    node, changed = found, True
        return node

    return rewrite(program, apply)
