"""Pair expressions as C++ statements: over vectors of pairs, or over the intervals of a block."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import count

from ...dsl.core import AtDistance, Const, Contract, Kind, Map, Node, Reduce, down_to, is_given
from ...dsl.operators import COMPARISONS
from .operators import TEXTS

MOST_FACTORS = 8
#: the largest float32
LARGEST = 3.4028234663852886e38
TYPES = {Kind.REAL: "real", Kind.INT: "whole", Kind.BOOL: "mask"}
#: what jumps: the last bit of a number may decide
JUMPS = frozenset(("floor", "ceil", "round", "sign", "int", "//", "%", "ceil_div", *COMPARISONS))


class Code(str):
    """Text of ours: the only kind that templates take."""

    __slots__ = ()


class Statements:
    """Writes each node of an expression once, as `const real v3 = ..;`.

    Each step of what decides a jump is rounded by itself, as in torch: `floor(real(i - j) / 6 + 0.5)`
    is another number where -3 / 6 is a product with 1 / 6 that is added before it is rounded.

    leaf     the text of what is read; None where the node is to be written here
    rounds   whether all products are rounded before they are added to: another kernel that makes the
             same numbers then makes them to the last bit
    """

    def __init__(self, leaf: Callable[[Node], str | None], prefix: str = "v") -> None:
        self.leaf, self.prefix = leaf, prefix
        self.names: dict[Node, str] = {}
        self.lines: list[str] = []
        self.numbers = count()
        #: nodes that have been looked at for jumps, and what decides one
        self.known: set[Node] = set()
        self.decisive: set[Node] = set()
        self.rounds = False

    def value(self, node: Node) -> str:
        """The name that holds a node."""
        if node not in self.known:
            self._look(node)
        if node not in self.names:
            found = self.leaf(node)
            self.names[node] = self._kept(node, self._written(node) if found is None else found)
        return self.names[node]

    def _look(self, root: Node) -> None:
        """Find what decides jumps inside of a node; what was written otherwise is written again."""
        for node in down_to(is_given, root):
            if node in self.known:
                continue
            self.known.add(node)
            if isinstance(node, Map) and node.op in JUMPS:
                self._decide(*node.args)

    def _decide(self, *roots: Node) -> None:
        """Have all steps of some nodes rounded."""
        reals = {item for root in roots for item in down_to(is_given, root) if _is_arithmetic(item)}
        for item in reals - self.decisive:
            self.names.pop(item, None)
        self.decisive |= reals

    def summand(self, term: Node) -> str:
        """What a term sums over features, at one of them."""
        if isinstance(term, Contract):
            return f"{self.value(term.left)} * {self.value(term.right)}"
        assert isinstance(term, Reduce)
        if term.op != "sum":  # others compare it with its features
            self._decide(term.arg)
        return self.value(term.arg)

    @property
    def code(self) -> Code:
        """All statements so far."""
        return Code("\n".join(self.lines))

    def _kept(self, node: Node, text: str) -> str:
        name = f"{self.prefix}{next(self.numbers)}"
        self.lines.append(f"const {self.type_of(node)} {name} = {text};")
        return name

    def type_of(self, node: Node) -> str:
        """The C++ type of a node."""
        return TYPES[node.type.kind]

    def _written(self, node: Node) -> str:
        if isinstance(node, Const):
            return constant(node)
        if isinstance(node, AtDistance):
            return self.value(node.arg)
        assert isinstance(node, Map)
        return self._map(node)

    def _map(self, node: Map) -> str:
        kinds = [arg.type.kind for arg in node.args]
        names = [self.value(arg) for arg in node.args]
        if node.op in ("real", "int"):
            return _cast(names[0], kinds[0], node.type.kind)
        branches = kinds[1:] if node.op == "where" else kinds
        common = Kind.REAL if Kind.REAL in (*branches, node.type.kind) else branches[0]
        first = 1 if node.op == "where" else 0
        names[first:] = [
            _cast(name, kind, common)
            for name, kind in zip(names[first:], kinds[first:], strict=True)
        ]
        decides = node in self.decisive
        is_rounded = decides or (self.rounds and common is Kind.REAL)
        if node.op == "**" and (count := small_power(node)) is not None:
            made = " * ".join([names[0]] * count) if count else _one(common)
            return f"by_itself({made})" if is_rounded else made
        by = node.args[1] if node.op == "/" else None
        if isinstance(by, Const) and by.value and not decides:
            made = f"({names[0]} * {number(1.0 / float(by.value))})"
            return f"by_itself({made})" if is_rounded else made
        row = TEXTS[node.op]
        text = {Kind.REAL: row.real, Kind.INT: row.whole, Kind.BOOL: row.mask}[common]
        made = text.format(*names)
        return f"by_itself({made})" if is_rounded and node.op == "*" else made


class Spans(Statements):
    """The same expressions over the smallest and largest values of a block."""

    def type_of(self, node: Node) -> str:
        return "Span"

    def _written(self, node: Node) -> str:
        if isinstance(node, Const):
            return f"span({float(node.value)!r})" if math.isfinite(node.value) else _unknown(node)
        if isinstance(node, AtDistance):
            return self.value(node.arg)
        if not isinstance(node, Map):
            return _unknown(node)
        names = [self.value(arg) for arg in node.args]
        if node.op in ("real", "int"):
            return _span_cast(node, names[0])
        text = TEXTS[node.op].span
        if not text or (node.op in _OF_INTS and node.type.kind is Kind.REAL):
            return _unknown(node)
        made = text.format(*names)
        if node.type.kind is Kind.REAL and node.op not in _EXACT:
            made = f"wide({made})"
        return f"whole_span({made})" if node.type.kind is Kind.INT and node.op in _WRAPS else made


def _is_arithmetic(node: Node) -> bool:
    return isinstance(node, Map) and node.type.kind is Kind.REAL


#: what floats compute without rounding
_EXACT = frozenset(
    ("neg", "min", "max", "clip", "abs", "where", "floor", "ceil", "round", "detach")
)
#: what of ints may be beyond 64 bits
_WRAPS = frozenset(("neg", "+", "-", "*", "abs"))
#: whose intervals are those of whole numbers
_OF_INTS = frozenset(("//", "%", "ceil_div"))


def _unknown(node: Node) -> str:
    return "any_truth()" if node.type.kind is Kind.BOOL else "any_number()"


def _span_cast(node: Map, name: str) -> str:
    kind = node.args[0].type.kind
    if node.op == "int" and kind is Kind.REAL:
        return f"rounded({name}, [](double a) {{ return std::trunc(a); }})"
    return f"wide({name})" if node.op == "real" and kind is Kind.INT else name


def _cast(name: str, kind: Kind, wanted: Kind) -> str:
    if kind is wanted:
        return name
    if wanted is Kind.REAL:
        return f"to_real({name})"
    if wanted is Kind.INT:
        return f"to_whole({name})"
    return f"(mask)({name} != 0)" if kind is Kind.REAL else f"narrow({name} != 0)"


def constant(node: Const) -> str:
    """A number as a vector of it."""
    if node.type.kind is Kind.BOOL:
        return f"mask_all({'true' if node.value else 'false'})"
    if node.type.kind is Kind.INT:
        return f"whole_all(INT64_C({int(node.value)}))"
    return f"all({number(float(node.value))})"


def number(value: float) -> str:
    """A float, to its last bit as a double."""
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    return f"{value.hex()}f" if abs(value) <= LARGEST else ("INF" if value > 0 else "-INF")


def small_power(node: Map) -> int | None:
    """A small whole exponent, which is repeated multiplication."""
    exponent = node.args[1]
    if isinstance(exponent, Const) and exponent.value in range(MOST_FACTORS + 1):
        return int(exponent.value)
    return None


def _one(kind: Kind) -> str:
    return "all(1.0f)" if kind is Kind.REAL else "whole_all(1)"
