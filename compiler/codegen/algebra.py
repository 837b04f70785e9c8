"""Sums over features that are cheaper than what they say: exponentials of a query and of a key.

    sum_d u_d tanh(a_id + b_jd),  sum_d u_d sigmoid(a_id + b_jd)

Of N queries, M keys and D features, the plain formula takes N M D exponentials. With E = e^(2a) and
F = e^(2b), which are N D and M D of them, made when queries and keys are packed,

    tanh(a + b) = 1 - 2 / (E F + 1)

and with E = e^-a, F = e^-b, sigmoid(a + b) = 1 / (E F + 1). Two such fractions share a reciprocal,
and their weights are divided out before, by the query and by the head:

    u / (E F + 1) + v / (G H + 1) = 1 / s + 1 / t = (s + t) / (s t),  s = (E / u) F + 1 / u

which leaves three multiply-adds for each pair and feature (`FAST`). A reciprocal is that of AVX-512 to
14 bits and one step of Newton's, or a division. Weights are first divided by a power of two to be at
most 1; one below 2^-30 of the largest counts as that, an error far below an ulp of the largest.

Where the range of floats would be left, a group of queries and a tile of keys takes another form; what
decides are the largest exponents of each feature, kept when rows and keys are packed:

    FAST   E F / u up to e^42.8, so that s t is a float
    WIDE   exponents of a query and of a key up to 60; E F + 1 is at most 2^60 (the fraction is then
           nothing beside the 1 of a tanh), and weights are numerators: (u t + v s) / (s t)
    EXACT  anything else, infinities and NaN too: the plain loop; also where a sigmoid may be below
           e^-41, since nothing says that others are larger

Far below 0 an exponent is at least -80: E F is then below e^-20, nothing beside 1. Keys are taken from
the middle of a feature's extremes (where it is 4 or more away from 0), and queries from its opposite:
a = 100 and b = -100 are as good as 0 and 0, and differences of close floats are exact.

1 - 2 / (E F + 1) has an error of some ulps of 1, however small its value. Where it can be small (NEAR:
|tanh a tanh b| at most 0.6 in the whole block), the addition theorem

    tanh(a + b) = (tanh a + tanh b) / (1 + tanh a tanh b)

has the relative error of its numerator, the sum of two rounded numbers, as the plain formula has; its
denominator is at least 0.4, so that it is no worse than a few ulps. sigmoid(x) = 1 / (E F + 1) has a
small relative error wherever E F is a float.

Forms are chosen for the same queries forward and backward, so that the weights of the backward are
those whose sum lse is. Measured (tests/runtime/test_algebra.py): errors of results and gradients are
1 to 2 times those of the plain formula, whatever the size of a and b.

Backward: tanh' = 1 - tanh^2, sigmoid' = s (1 - s), from one reciprocal for each pair and feature, in
the same loop for a, b and u.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Const, Contract, Kind, Map, Node, Reduce
from ..matching.match import Domain, Match
from .levels import is_extreme

#: what has this form: f(x) = a constant + a multiple of 1 / (e^(c x) + 1)
FUNCTIONS = ("tanh", "sigmoid")
#: features below which the plain loop stays: little is saved, and no sum covers the rounding of one
LEAST_WIDTH = 8


@dataclass(frozen=True)
class Part:
    """A leaf times a number."""

    leaf: Node
    factor: float


@dataclass(frozen=True)
class Fractions:
    """sum_d weight_d function(row_id + key_jd); a weight that is None is 1."""

    function: str
    weight: Node | None
    row: Part
    key: Part
    width: int

    @property
    def type(self) -> str:
        """What adds them up in C++."""
        return f"Sums<{'true' if self.function == 'tanh' else 'false'}, {self.width}, GROUP>"


def fractions(term: Node, match: Match) -> Fractions | None:
    """A term as a sum of fractions, where it is one."""
    found = None if is_extreme(term) else _weighed(term)
    if found is None:
        return None
    weight, inner = found
    if not isinstance(inner, Map) or inner.op not in FUNCTIONS:
        return None
    summands = _parts(inner.args[0], 1.0)
    parts = {_domain(part.leaf, match): part for part in summands}
    if set(parts) != {"row", "key"} or len(summands) != 2:
        return None
    if weight is not None and _domain(weight, match) != "head":
        return None
    nodes = [parts["row"].leaf, parts["key"].leaf, *([] if weight is None else [weight])]
    widths = {leaf.width for node in nodes if (leaf := match.leaf(node)) is not None}
    if len(widths) != 1 or any(part.factor == 0 for part in parts.values()):
        return None
    if min(widths) < LEAST_WIDTH:
        return None
    return Fractions(inner.op, weight, parts["row"], parts["key"], widths.pop())


def _domain(node: Node, match: Match) -> Domain | None:
    """The tokens that a real vector depends on."""
    leaf = match.leaf(node)
    if leaf is None or not leaf.width or leaf.table or node.type.kind is not Kind.REAL:
        return None
    return leaf.domain


def _weighed(term: Node) -> tuple[Node | None, Node] | None:
    """Weights and what they weigh, of a sum over features."""
    if isinstance(term, Contract):
        pair = (term.left, term.right)
    elif isinstance(term, Reduce) and isinstance(term.arg, Map) and term.arg.op == "*":
        pair = (term.arg.args[0], term.arg.args[1])
    elif isinstance(term, Reduce):
        return None, term.arg
    else:
        return None
    left, right = pair
    if isinstance(left, Map) and left.op in FUNCTIONS:
        return right, left
    return left, right


def _parts(node: Node, factor: float) -> list[Part]:
    """A sum as multiples of what is no sum."""
    if isinstance(node, Map):
        match node.op, node.args:
            case "+", (left, right):
                return _parts(left, factor) + _parts(right, factor)
            case "-", (left, right):
                return _parts(left, factor) + _parts(right, -factor)
            case "neg", (inner,):
                return _parts(inner, -factor)
            case ("*", (Const(value=number), inner)) | ("*", (inner, Const(value=number))):
                return _parts(inner, factor * float(number))
            case "/", (inner, Const(value=number)) if number:
                return _parts(inner, factor / float(number))
    return [Part(node, factor)]
