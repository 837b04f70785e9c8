"""The value of a predicate at given tokens, exactly, in Python integers.

What the prover claims is checked against this; it shares no rule with the translation into formulas
but what counts as opaque.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .affine import Atom
from .core import Axis, Const, Fill, Index, Kind, KvHead, Map, Node, Position, Read
from .operators import COMPARISONS
from .predicates import Translator


@dataclass(frozen=True, slots=True)
class Assignment:
    """Tokens, opaque ints and opaque truth values; what is not mentioned is 0 or False."""

    translator: Translator
    model: Mapping[Atom, int]
    truths: Mapping[int, bool]
    known: dict[Node, int] = field(default_factory=dict)

    def token(self, axis: Axis) -> int:
        return self.model.get(self.translator.token(axis), 0)

    def opaque(self, node: Node) -> int:
        key = self.translator.key(node)
        if node.type.kind is Kind.BOOL:
            return self.truths.get(key, False)
        atom = self.translator.atoms.get(key)
        return 0 if atom is None else self.model.get(atom, 0)


#: what Python's operators mean of ints, and of whatever else has them, such as terms of z3
OVERLOADED: dict[str, Callable[..., Any]] = {
    "neg": operator.neg,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    **COMPARISONS,
    "detach": lambda a: a,
    "as_ref": lambda a: a,
}
OPERATIONS: dict[str, Callable[..., int]] = {
    **OVERLOADED,
    "//": lambda a, b: a // b,
    "%": lambda a, b: a % b,
    "ceil_div": lambda a, b: -(-a // b),
    "min": min,
    "max": max,
    "clip": lambda a, low, high: min(max(a, low), high),
    "abs": abs,
    "not": lambda a: not a,
    "and": lambda a, b: a and b,
    "or": lambda a, b: a or b,
    "where": lambda c, a, b: a if c else b,
    "int": int,
}


def evaluate(node: Node, values: Assignment) -> int:
    """The value of an int or bool node; each node is evaluated once per assignment.

    Raises:
        ZeroDivisionError: the expression divides by an opaque value that is 0.
    """
    if node not in values.known:
        values.known[node] = _value(node, values)
    return values.known[node]


def _value(node: Node, values: Assignment) -> int:
    match node:
        case Const(value=value) | Fill(value=value):
            return int(value)
        case Index() | Position():
            return values.token(node.axis)
        case KvHead():
            return _kv_head(node, values)
        case Read():
            return _read(node, values)
        case Map() if node.op in OPERATIONS and _is_discrete(node):
            return OPERATIONS[node.op](*(evaluate(arg, values) for arg in node.args))
        case _:
            return values.opaque(node)


def _is_discrete(node: Map) -> bool:
    return all(part.type.kind is not Kind.REAL for part in (node, *node.args))


def _kv_head(node: KvHead, values: Assignment) -> int:
    groups = node.type.ref.size if node.type.ref is not None else None
    if node.axis.size is None or groups is None or groups.value <= 0:
        return values.opaque(node)
    return values.token(node.axis) // max(node.axis.size.value // groups.value, 1)


def _read(node: Read, values: Assignment) -> int:
    moved = values.translator.moved(node)
    if moved is None:
        return values.opaque(node)
    if isinstance(node.index, Index):
        return evaluate(moved, values)
    return evaluate(moved, values) if evaluate(node.index, values) >= 0 else 0
