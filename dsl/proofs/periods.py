"""The period of a mask: moving a token by it changes nothing but by a fixed amount.

    place + period     is  place + period
    (e + s) // c       is  e // c + s / c       where c divides s
    (e + s) % c        is  e % c                where c divides s

Only a guess for `counting`, which proves what it needs of a period.
"""

from __future__ import annotations

from math import gcd, lcm

from ..core import Axis, Const, Fill, Index, Map, Node, Position, Read

MOST = 2**20


def period(node: Node, axis: Axis) -> int:
    """By how much a token of an axis is to be moved, at the least."""
    return _moving(node, axis)[0]


def largest_number(node: Node) -> int:
    """The largest number, without its sign, that stands in an expression."""
    match node:
        case Const(value=value) | Fill(value=value):
            return abs(int(value)) if isinstance(value, int) else 0
        case Map(args=args):
            return max((largest_number(arg) for arg in args), default=0)
        case Read(arg=arg, index=index):
            return max(largest_number(arg), largest_number(index))
        case _:
            return 0


def _moving(node: Node, axis: Axis) -> tuple[int, int]:
    """The period p, and by how much the node grows when the token is moved by p."""
    if axis not in node.type.axes:
        return 1, 0
    match node:
        case Index() | Position():
            return 1, 1
        case Map(op="+" | "-" as op, args=(left, right)):
            (p, s), (q, t) = _moving(left, axis), _moving(right, axis)
            both = min(lcm(p, q), MOST)
            return both, s * both // p + (1 if op == "+" else -1) * (t * both // q)
        case Map(op="neg", args=(arg,)):
            p, s = _moving(arg, axis)
            return p, -s
        case Map(op="*", args=(left, right)):
            number = _number(right) or _number(left)
            p, s = _moving(left if axis in left.type.axes else right, axis)
            return p, s * number
        case Map(op="//" | "%" | "ceil_div" as op, args=(arg, by)):
            p, s = _moving(arg, axis)
            number = abs(_number(by)) or 1
            times = number // gcd(s, number)
            return min(p * times, MOST), 0 if op == "%" else s * times // number
        case Map(op="int" | "as_ref" | "detach", args=(arg,)):
            return _moving(arg, axis)
        case Map(args=args):
            return min(lcm(*(_moving(arg, axis)[0] for arg in args)), MOST), 0
        case Read(arg=arg, index=index):
            return min(lcm(_moving(arg, axis)[0], _moving(index, axis)[0]), MOST), 0
        case _:
            return 1, 0


def _number(node: Node) -> int:
    """A constant expression's value, where it is one number; else 0."""
    match node:
        case Const(value=value) | Fill(value=value) if isinstance(value, int):
            return int(value)
        case Map(op="+", args=(left, right)):
            return _number(left) + _number(right)
        case Map(op="-", args=(left, right)):
            return _number(left) - _number(right)
        case Map(op="*", args=(left, right)):
            return _number(left) * _number(right)
        case Map(op="neg", args=(arg,)):
            return -_number(arg)
        case _:
            return 0
