"""Static expressions: dims and choices, decided before anything is typed."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TypeAlias

from .. import sizes, syntax
from ..operators import COMPARISONS
from ..sizes import Size
from ..source import Span
from ..syntax import Expr
from .values import Word

MOST_TERMS = 200

Static: TypeAlias = Size | float | bool | Word


class NotStatic(Exception):
    """An expression that is not known before the call."""

    def __init__(self, span: Span, message: str = "") -> None:
        self.span, self.message = span, message or "this must be known before the call"
        super().__init__(self.message)


_NUMBERS: dict[str, Callable[..., float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_SIZES: dict[str, Callable[[Size, Size], Size]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "//": operator.floordiv,
    "%": operator.mod,
}


def evaluate(expr: Expr, name: Callable[[syntax.Name], Static]) -> Static:
    """The static value of an expression; `name` looks names up."""
    match expr:
        case syntax.Number():
            value = expr.value
            return sizes.constant(value) if isinstance(value, int) else value
        case syntax.Bool():
            return expr.value
        case syntax.Name():
            return name(expr)
        case syntax.Unary():
            operand = evaluate(expr.operand, name)
            if expr.op == "not":
                return not operand
            if isinstance(operand, Size):
                return sizes.constant(0) - operand
            return -number(operand, expr.operand.span)
        case syntax.Binary():
            return _binary(expr, name)
        case syntax.Logic():
            values = [evaluate(item, name) for item in expr.operands]
            return all(values) if expr.op == "and" else any(values)
        case syntax.Compare():
            return _compare(expr, name)
        case syntax.Call():
            return _call(expr, name)
        case _:
            raise NotStatic(expr.span)


def number(value: Static, span: Span) -> float:
    """A static value as a Python number."""
    if isinstance(value, Size):
        return value.value
    if isinstance(value, (Word, bool)):
        raise NotStatic(span, "this is not a number")
    return value


def _binary(expr: syntax.Binary, name: Callable[[syntax.Name], Static]) -> Static:
    left, right = evaluate(expr.left, name), evaluate(expr.right, name)
    if expr.op in ("//", "%", "/") and number(right, expr.right.span) == 0:
        raise NotStatic(expr.right.span, "division by zero")
    if isinstance(left, Size) and isinstance(right, Size):
        if expr.op in _SIZES:
            return _size(expr, left, right)
        if expr.op == "**" and 0 <= right.value <= 16 and abs(left.value) < 1000:
            return sizes.function("pow", (left, right), left.value**right.value)
    if expr.op not in _NUMBERS:
        raise NotStatic(expr.span)
    a, b = float(number(left, expr.left.span)), float(number(right, expr.right.span))
    try:
        return float(_NUMBERS[expr.op](a, b))
    except (ArithmeticError, TypeError):
        raise NotStatic(expr.span, "this number is out of range") from None


def _size(expr: syntax.Binary, left: Size, right: Size) -> Size:
    """Arithmetic of sizes, which neither their values nor their terms may blow up."""
    if expr.op == "*" and len(left.terms) * len(right.terms) > MOST_TERMS:
        raise NotStatic(expr.span, "this size is too complicated; give a part of it a name")
    result = _SIZES[expr.op](left, right)
    if abs(result.value) >= 2**53 or len(result.terms) > MOST_TERMS:
        raise NotStatic(expr.span, "this number is out of range")
    return result


def _compare(expr: syntax.Compare, name: Callable[[syntax.Name], Static]) -> bool:
    values = [evaluate(item, name) for item in expr.operands]
    plain = [value.text if isinstance(value, Word) else value for value in values]
    bare = [value.value if isinstance(value, Size) else value for value in plain]
    pairs = zip(expr.ops, bare, bare[1:], strict=False)
    try:
        return all(COMPARISONS[op](a, b) for op, a, b in pairs)
    except TypeError:
        raise NotStatic(expr.span, "these cannot be compared") from None


def _call(expr: syntax.Call, name: Callable[[syntax.Name], Static]) -> Static:
    function = expr.function.name
    if function == "where" and len(expr.args) == 3:
        return evaluate(expr.args[1 if evaluate(expr.args[0], name) else 2], name)
    values = [evaluate(item, name) for item in expr.args]
    known = [value for value in values if isinstance(value, Size)]
    if len(known) == len(values) and function in ("min", "max", "ceil_div"):
        numbers = [value.value for value in known]
        if function == "ceil_div" and (len(numbers) != 2 or numbers[1] == 0):
            raise NotStatic(expr.span, "division by zero")
        result = -(-numbers[0] // numbers[1]) if function == "ceil_div" else 0
        if function != "ceil_div":
            result = min(numbers) if function == "min" else max(numbers)
        return sizes.function(function, tuple(known), result)
    plain = [number(value, arg.span) for value, arg in zip(values, expr.args, strict=True)]
    functions: dict[str, Callable[..., float]] = {
        "sqrt": math.sqrt,
        "floor": math.floor,
        "ceil": math.ceil,
        "abs": abs,
        "log": math.log,
        "exp": math.exp,
        "min": min,
        "max": max,
    }
    if function == "int" and len(plain) == 1:
        return (
            sizes.function("int", tuple(known), int(plain[0]))
            if known
            else sizes.constant(int(plain[0]))
        )
    if function == "real" and len(plain) == 1:
        return float(plain[0])
    if function not in functions:
        raise NotStatic(expr.span)
    try:
        return float(functions[function](*plain))
    except (ArithmeticError, ValueError, TypeError):
        raise NotStatic(expr.span, "this number is out of range") from None
