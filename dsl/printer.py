"""Syntax -> text, with no more brackets than the grammar needs.

Parsing what is printed gives an equal expression.
"""

from __future__ import annotations

from .syntax import (
    Binary,
    Bool,
    Call,
    Compare,
    Expr,
    List,
    Logic,
    Member,
    Name,
    Number,
    Read,
    Unary,
)

# The rules of grammar.lark, from the loosest: a rule takes operands of its own level or tighter.
_OR, _AND, _NOT, _COMPARE, _SUM, _TERM, _MINUS, _POWER, _POSTFIX, _ATOM = range(10)
_LOGIC = {"or": _OR, "and": _AND}
_UNARY = {"not": _NOT, "-": _MINUS}
_BINARY = {
    "+": _SUM,
    "-": _SUM,
    "*": _TERM,
    "/": _TERM,
    "//": _TERM,
    "%": _TERM,
    "@": _TERM,
    "**": _POWER,
}


def format_expression(expr: Expr) -> str:
    """The text of an expression, as `attnc fmt` writes it."""
    return _text(expr, _OR)


def _text(expr: Expr, level: int) -> str:
    """The text of an operand, in brackets where the rule around it needs a tighter level."""
    text = _bare(expr)
    return f"({text})" if _level(expr) < level else text


def _level(expr: Expr) -> int:
    match expr:
        case Logic():
            return _LOGIC[expr.op]
        case Unary():
            return _UNARY[expr.op]
        case Compare():
            return _COMPARE
        case Binary():
            return _BINARY[expr.op]
        case Call() | Read() | Member():
            return _POSTFIX
        case Number():
            return _MINUS if expr.value < 0 else _ATOM
        case Bool() | Name() | List():
            return _ATOM


def _bare(expr: Expr) -> str:
    match expr:
        case Number():
            return repr(expr.value)
        case Bool():
            return "true" if expr.value else "false"
        case Name():
            return expr.name
        case List():
            return f"[{_commas(expr.items)}]"
        case Logic():
            return f" {expr.op} ".join(_text(item, _level(expr) + 1) for item in expr.operands)
        case Compare():
            return _compare(expr)
        case Unary():
            space = " " if expr.op == "not" else ""
            return expr.op + space + _text(expr.operand, _level(expr))
        case Binary():
            return _binary(expr)
        case Call() | Read() | Member():
            return _postfix(expr)


def _commas(items: tuple[Expr, ...]) -> str:
    return ", ".join(_text(item, _OR) for item in items)


def _compare(expr: Compare) -> str:
    first, *rest = (_text(operand, _SUM) for operand in expr.operands)
    return first + "".join(f" {op} {text}" for op, text in zip(expr.ops, rest, strict=True))


def _binary(expr: Binary) -> str:
    """a - (b - c) keeps its brackets; powers take a sign on the right and none on the left."""
    level = _level(expr)
    if expr.op == "**":
        return f"{_text(expr.left, _POSTFIX)} ** {_text(expr.right, _MINUS)}"
    return f"{_text(expr.left, level)} {expr.op} {_text(expr.right, level + 1)}"


def _postfix(expr: Call | Read | Member) -> str:
    match expr:
        case Call():
            named = [f"{name.name}={_text(value, _OR)}" for name, value in expr.keywords]
            arguments = [_text(value, _OR) for value in expr.args] + named
            return f"{expr.function.name}({', '.join(arguments)})"
        case Read():
            return f"{_operand(expr.operand)}[{_commas(expr.indices)}]"
        case Member():
            return f"{_operand(expr.operand)}.{expr.name.name}"


def _operand(expr: Expr) -> str:
    """What is read or has a member; `1.x` would be read as the number `1.` and a name."""
    return f"({_bare(expr)})" if isinstance(expr, Number) else _text(expr, _POSTFIX)
