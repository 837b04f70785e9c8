"""Sizes: static integers that remember how they were written.

A size is a polynomial over named dims with an integer value beside it. Two feature dims agree when their polynomials do, so `d_align` and `d_head` stay different dims even where their present values are equal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Monomial: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Size:
    """sum of coefficient * product of atoms; `value` is what it amounts to at the present dims."""

    terms: tuple[tuple[Monomial, int], ...]
    value: int

    def __add__(self, other: Size) -> Size:
        terms = dict(self.terms)
        for monomial, coefficient in other.terms:
            terms[monomial] = terms.get(monomial, 0) + coefficient
        return _size(terms, self.value + other.value)

    def __sub__(self, other: Size) -> Size:
        return self + constant(-1) * other

    def __mul__(self, other: Size) -> Size:
        terms: dict[Monomial, int] = {}
        for left, a in self.terms:
            for right, b in other.terms:
                monomial = tuple(sorted(left + right))
                terms[monomial] = terms.get(monomial, 0) + a * b
        return _size(terms, self.value * other.value)

    def __floordiv__(self, other: Size) -> Size:
        exact = _exact_quotient(self, other)
        return exact if exact is not None else _opaque("//", self, other, int.__floordiv__)

    def __mod__(self, other: Size) -> Size:
        if _exact_quotient(self, other) is not None:
            return constant(0)
        return _opaque("%", self, other, int.__mod__)

    def __str__(self) -> str:
        if not self.terms:
            return "0"
        text = " + ".join(_term_text(monomial, factor) for monomial, factor in self.terms)
        return text.replace("+ -", "- ")


def _size(terms: dict[Monomial, int], value: int) -> Size:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    return Size(tuple(sorted(kept.items())), value)


def constant(value: int) -> Size:
    """A size that is a plain number."""
    return _size({(): value}, value)


def symbol(name: str, value: int) -> Size:
    """A size that is known by a name."""
    return _size({(name,): 1}, value)


def function(name: str, args: tuple[Size, ...], value: int) -> Size:
    """A size that is an opaque function of others, such as `min(a, b)`."""
    if all(not monomial for arg in args for monomial, _ in arg.terms):
        return constant(value)
    return symbol(f"{name}({', '.join(str(arg) for arg in args)})", value)


def _opaque(op: str, left: Size, right: Size, apply: Callable[[int, int], int]) -> Size:
    value = apply(left.value, right.value)
    if all(not monomial for size in (left, right) for monomial, _ in size.terms):
        return constant(value)
    return symbol(f"({left}){op}({right})", value)


def _exact_quotient(left: Size, right: Size) -> Size | None:
    """left / right where right is one term that divides every term of left."""
    if len(right.terms) != 1:
        return None
    divisor, factor = right.terms[0]
    terms: dict[Monomial, int] = {}
    for monomial, coefficient in left.terms:
        rest = _without(monomial, divisor)
        if rest is None or coefficient % factor:
            return None
        terms[rest] = coefficient // factor
    return _size(terms, left.value // right.value if right.value else 0)


def _without(monomial: Monomial, divisor: Monomial) -> Monomial | None:
    rest = list(monomial)
    for atom in divisor:
        if atom not in rest:
            return None
        rest.remove(atom)
    return tuple(rest)


def _term_text(monomial: Monomial, factor: int) -> str:
    if not monomial:
        return str(factor)
    product = "*".join(monomial)
    return product if factor == 1 else f"-{product}" if factor == -1 else f"{factor}*{product}"
