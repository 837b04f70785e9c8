"""How kernels hold each leaf: as arrays of torch, packed by tiles, and as vectors of pairs."""

from __future__ import annotations

from dataclasses import dataclass

from ...dsl.core import Contract, Kind, Node, walk
from ..matching.match import Leaf, Match
from .levels import inside

#: the first of WIDTH keys, in tile `t`
KEY = "(t * LANES + c * WIDTH)"
#: floats of the widest vector
VECTOR = 16
STORED = {Kind.INT: "int64_t", Kind.BOOL: "uint8_t"}
PACKED = {Kind.REAL: "float", Kind.INT: "int64_t", Kind.BOOL: "int32_t"}
SPREAD = {Kind.REAL: "all", Kind.INT: "whole_all", Kind.BOOL: "mask_all"}


@dataclass(frozen=True)
class Held:
    """A leaf by its place: `a3` the array of torch, `x3` what a kernel reads of it.

    in_mask     a number that the mask reads, so that its extremes decide whole blocks
    as_rows     a product needs it token by token, too
    factors     of what only products read: all that it is multiplied with, itself included
    """

    place: int
    leaf: Leaf
    in_mask: bool
    as_rows: bool
    factors: tuple[int, ...]

    @property
    def kind(self) -> Kind:
        return self.leaf.node.type.kind

    @property
    def stored(self) -> str:
        """The C++ type of its numbers in torch; that of reals differs by call."""
        return STORED.get(self.kind, f"TYPE_{self.place}")

    @property
    def packed(self) -> str:
        """The C++ type of its numbers in a kernel."""
        return f"factor_{self.factors[0]}" if self.factors else PACKED[self.kind]

    @property
    def factor(self) -> str:
        """The declaration of that type, where a product is the reason for it."""
        if self.place not in self.factors[:1]:
            return ""
        types = ", ".join(f"TYPE_{place}" for place in self.factors)
        return f"typedef Factor<{types}> {self.packed};"

    @property
    def steps(self) -> str:
        """Numbers of a token, or pairs of them."""
        return f"steps<{self.packed}>({self.width})" if self.factors else str(self.width)

    @property
    def padded(self) -> str:
        """The same in whole vectors."""
        width = padded(self.width)
        return f"steps<{self.packed}>({width})" if self.factors else str(width)

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
            case "apart":
                return f"load({self.apart(f'x{k}')})"
        return f"{spread}(x{k}[0])"

    def of_row(self) -> str:
        """The number of query `row`, or of its head, straight from the array."""
        at = f"({self.packed})a{self.place}.of(b, h)[row * a{self.place}.by_row]"
        return f"{SPREAD[self.kind]}({at})"

    def feature(self, index: str) -> str:
        """The same of one feature `d`."""
        if not self.is_vector:
            return self.scalar(index)
        k, spread = self.place, SPREAD[self.kind]
        match self.leaf.domain:
            case "row":
                return f"{spread}(x{k}[r * {padded(self.width)} + d])"
            case "key":
                return f"load(x{k} + ({index} * {self.width} + d) * LANES + c * WIDTH)"
            case "apart":
                return f"load({self.apart(f'x{k} + d * size_{k}')})"
        return f"{spread}(x{k}[d])"

    @staticmethod
    def apart(start: str) -> str:
        """Where the distances of WIDTH pairs stand."""
        return f"{start} - first - r + {KEY}"

    def added_apart(self, part: str) -> str:
        """Add the cotangents of WIDTH pairs to those of their distances; of a vector at feature `d`."""
        k = self.place
        at = self.apart(f"grad_{k} + d * size_{k}" if self.is_vector else f"grad_{k}")
        return f"store({at}, load({at}) + {part});"

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
        if self.is_vector:
            return f"rows_of(x{k}, {self.padded}, {at}, a{k}.by_row, {self.width}, first, count, GROUP);"
        load = "truths" if self.kind is Kind.BOOL else "numbers"
        return f"{load}(x{k}, {at}, a{k}.by_row, first, count, GROUP);"

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
    factors = _factors(match)
    return tuple(
        Held(
            place,
            leaf,
            place > 0 and leaf.node in in_mask and leaf.width == 0,
            place > 0 and leaf.node in products,
            factors[place],
        )
        for place, leaf in enumerate(match.leaves)
    )


def _factors(match: Match) -> tuple[tuple[int, ...], ...]:
    """For each leaf, those that products multiply it with, and in turn those with them.

    None where any of them is read otherwise. Values are multiplied with weights.
    """
    places = {leaf.node: place for place, leaf in enumerate(match.leaves)}
    found = [{place} for place in range(len(match.leaves))]
    others: set[int] = set()
    for term in match.terms:
        if not is_product(term, match):
            others |= {places[node] for node in inside(term, match) if node in places}
            continue
        left, right = (found[places[side]] for side in _sides(term))
        left |= right
        for place in left:
            found[place] = left
    return tuple(
        tuple(sorted(group)) if place == 0 or (len(group) > 1 and group.isdisjoint(others)) else ()
        for place, group in enumerate(found)
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
