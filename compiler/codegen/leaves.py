"""How kernels hold each leaf: as arrays of torch, packed by tiles, and as vectors of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Contract, Kind, Node, walk
from ..matching.fused import Leaf, Match

#: the first of WIDTH keys, in tile `t`
KEY = "(t * LANES + c * WIDTH)"
#: floats of the widest vector
VECTOR = 16
STORED = {Kind.REAL: "float", Kind.INT: "int64_t", Kind.BOOL: "uint8_t"}
PACKED = {Kind.REAL: "float", Kind.INT: "int64_t", Kind.BOOL: "int32_t"}
SPREAD = {Kind.REAL: "all", Kind.INT: "whole_all", Kind.BOOL: "mask_all"}


@dataclass(frozen=True)
class Held:
    """A leaf by its place: `a3` the array of torch, `x3` what a kernel reads of it.

    in_mask     the mask reads it, so that its extremes decide whole blocks
    as_rows     a product needs it token by token, too
    """

    place: int
    leaf: Leaf
    in_mask: bool
    as_rows: bool

    @property
    def kind(self) -> Kind:
        return self.leaf.node.type.kind

    @property
    def stored(self) -> str:
        """The C++ type of its numbers in torch."""
        return STORED[self.kind]

    @property
    def packed(self) -> str:
        """The C++ type of its numbers in a kernel."""
        return PACKED[self.kind]

    @property
    def width(self) -> int:
        """Numbers of a token."""
        return max(self.leaf.width, 1)

    @property
    def is_vector(self) -> bool:
        return self.leaf.width > 0

    def array(self) -> str:
        """The declaration of the array."""
        k = self.place
        return f"const Array<{self.stored}> a{k} = array<{self.stored}>(data, strides, {k});"

    def scalar(self, index: str) -> str:
        """The number of a query, of some keys or of a head, for WIDTH pairs."""
        k, spread = self.place, SPREAD[self.kind]
        match self.leaf.domain:
            case "row":
                return f"{spread}(x{k}[r])"
            case "key":
                return f"load(x{k} + {index} * LANES + c * WIDTH)"
            case "pair":
                return f"pairs(x{k} + (first + r) * a{k}.by_row + {KEY}, M - {KEY})"
        return f"{spread}(x{k}[0])"

    def feature(self, index: str) -> str:
        """The same of one feature `d`."""
        if not self.is_vector:
            return self.scalar(index)
        k = self.place
        match self.leaf.domain:
            case "row":
                return f"all(x{k}[r * {padded(self.width)} + d])"
            case "key":
                return f"load(x{k} + ({index} * {self.width} + d) * LANES + c * WIDTH)"
        return f"all(x{k}[d])"

    def gathered(self, index: str) -> str:
        """The start of a call that reads a table, one for all tokens or one for each."""
        match self.leaf.domain:
            case "row":
                return f"gather(x{self.place} + r * {padded(self.width)}"
            case "key":
                at = f"x{self.place} + {index} * {self.width} * LANES + c * WIDTH"
                return f"gather_by_key({at}"
        return f"gather(x{self.place}"

    def load_rows(self) -> str:
        """The numbers of a group of queries."""
        k, at = self.place, f"a{self.place}.of(b, h)"
        if self.kind is Kind.BOOL:
            return f"truths(x{k}, {at}, a{k}.by_row, first, count, GROUP);"
        if self.is_vector:
            width = padded(self.width)
            return f"rows_of(x{k}, {width}, {at}, a{k}.by_row, {self.width}, first, count, GROUP);"
        return f"numbers(x{k}, {at}, a{k}.by_row, first, count, GROUP);"

    def load_keys(self, to: str, at: str, tile: str) -> str:
        """The numbers of a tile of keys."""
        k, key = self.place, f"{tile} * LANES"
        if self.is_vector:
            return f"columns({to}, {at}, a{k}.by_key, {self.width}, {key}, M);"
        load = "truths" if self.kind is Kind.BOOL else "numbers"
        return f"{load}({to}, {at}, a{k}.by_key, {key}, keys_of({tile}, M), LANES);"


def padded(width: int) -> int:
    """A number of floats rounded up to whole vectors, of any machine."""
    return -(-width // VECTOR) * VECTOR


def held(match: Match) -> tuple[Held, ...]:
    """Every leaf of a kernel."""
    in_mask = set() if match.mask is None else set(walk(match.mask))
    products = {side for term in match.terms if is_product(term, match) for side in _sides(term)}
    return tuple(
        Held(place, leaf, place > 0 and leaf.node in in_mask, place > 0 and leaf.node in products)
        for place, leaf in enumerate(match.leaves)
    )


def _sides(term: Node) -> tuple[Node, ...]:
    assert isinstance(term, Contract)
    return (term.left, term.right)


def is_product(term: Node, match: Match) -> bool:
    """Whether a term is the dot product of a query and a key: a matrix product over a block."""
    if not isinstance(term, Contract):
        return False
    return {match.domain(term.left), match.domain(term.right)} == {"row", "key"}


def query_side(term: Contract, match: Match) -> tuple[Node, Node]:
    """The factors of a product: by query, by key."""
    row, key = term.left, term.right
    return (row, key) if match.domain(row) == "row" else (key, row)
