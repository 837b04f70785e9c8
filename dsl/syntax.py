"""The syntax of expressions: what the grammar yields, before any name is resolved.

Every node carries the span of its text; equality ignores it, so that two spellings of one expression compare equal.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

from .source import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Syntax:
    """Base of every expression node."""

    span: Span = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Number(Syntax):
    """`3` or `1e-5`; an int when it is written as one."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Bool(Syntax):
    """`true` or `false`."""

    value: bool


@dataclass(frozen=True, slots=True)
class Name(Syntax):
    """`window`."""

    name: str


@dataclass(frozen=True, slots=True)
class Unary(Syntax):
    """`-a` or `not a`; op is `-` or `not`."""

    op: str
    operand: Expr


@dataclass(frozen=True, slots=True)
class Binary(Syntax):
    """`a op b` with op one of `+ - * / // % @ **`."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Logic(Syntax):
    """`a and b and c`, `a or b`; op is `and` or `or`; two operands or more."""

    op: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Compare(Syntax):
    """`a < b <= c`: ops has one element less than operands."""

    ops: tuple[str, ...]
    operands: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Call(Syntax):
    """`f(a, b, key=c)`; keywords keep their order and the span of their name."""

    function: Name
    args: tuple[Expr, ...]
    keywords: tuple[tuple[Name, Expr], ...] = ()


@dataclass(frozen=True, slots=True)
class Read(Syntax):
    """`f[a, b]`."""

    operand: Expr
    indices: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Member(Syntax):
    """`f.lse`."""

    operand: Expr
    name: Name


@dataclass(frozen=True, slots=True)
class List(Syntax):
    """`[a, b]`."""

    items: tuple[Expr, ...]


Expr: TypeAlias = (
    Number | Bool | Name | Unary | Binary | Logic | Compare | Call | Read | Member | List
)


def children(expr: Expr) -> tuple[Expr, ...]:
    """The operands of an expression, left to right."""
    match expr:
        case Number() | Bool() | Name():
            return ()
        case Unary():
            return (expr.operand,)
        case Binary():
            return (expr.left, expr.right)
        case Logic() | Compare():
            return expr.operands
        case Call():
            return expr.args + tuple(value for _, value in expr.keywords)
        case Read():
            return (expr.operand, *expr.indices)
        case Member():
            return (expr.operand,)
        case List():
            return expr.items


def substitute(expr: Expr, name: str, value: Expr) -> Expr:
    """The expression with every use of a name replaced by another expression."""

    def inside(item: Expr) -> Expr:
        return substitute(item, name, value)

    match expr:
        case Name():
            return value if expr.name == name else expr
        case Number() | Bool():
            return expr
        case Unary():
            return replace(expr, operand=inside(expr.operand))
        case Binary():
            return replace(expr, left=inside(expr.left), right=inside(expr.right))
        case Logic() | Compare():
            return replace(expr, operands=tuple(inside(item) for item in expr.operands))
        case Call():
            args = tuple(inside(item) for item in expr.args)
            keywords = tuple((key, inside(item)) for key, item in expr.keywords)
            return replace(expr, args=args, keywords=keywords)
        case Read():
            indices = tuple(inside(item) for item in expr.indices)
            return replace(expr, operand=inside(expr.operand), indices=indices)
        case Member():
            return replace(expr, operand=inside(expr.operand))
        case List():
            return replace(expr, items=tuple(inside(item) for item in expr.items))
