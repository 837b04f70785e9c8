"""How many pairs there are where tokens hold values from outside: by how many hold each.

flags    the mask asks of its tokens only whether they hold it: with g that do, each of the four
         answers counts for g^2, g * (n - g) or (n - g)^2 pairs
labels   the mask asks whether both hold the same, and else only who is earlier: tokens of one
         value, s of them, then see each other like a sequence of s
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ..core import Axis, Index, Kind, Map, Node, Param, Read, walk
from ..predicates import read_at
from ..substitution import instead, place, pointwise
from .asking import Asker
from .closed_form import Quadratic, polynomial
from .counting import NotCounted
from .pairs import Pairs
from .repetition import masks_by_head
from .unpadded import FALSE, TRUE
from .worlds import why_not


@dataclass(frozen=True, slots=True)
class FlagForm:
    """seen: by whether the query and the key hold the flag, whether (in how many heads) it is seen."""

    name: str
    seen: dict[tuple[bool, bool], int]

    def at(self, holding: int, others: int) -> int:
        """The number where so many tokens hold the flag, and so many do not."""
        size = {True: holding, False: others}
        return sum(heads * size[one] * size[two] for (one, two), heads in self.seen.items())

    def told(self, n: int | None = None) -> str:
        """`2*n*g - g^2 with g = count(glob)`."""
        none, both = self.seen[False, False], self.seen[True, True]
        one = self.seen[False, True] + self.seen[True, False]
        square, slope = both + none - one, one - 2 * none
        if n is None:
            terms = [(none, "n^2"), (slope, "n*g"), (square, "g^2")]
        else:
            terms = [(square, "g^2"), (slope * n, "g"), (none * n * n, "")]
        text = polynomial([(Fraction(factor), name) for factor, name in terms])
        return f"{text} with g = count({self.name})" if "g" in text else text


@dataclass(frozen=True, slots=True)
class LabelForm:
    """all: pairs whatever the labels; same: what those of one label have more, by their number."""

    name: str
    all: Quadratic
    same: Quadratic

    def at(self, sizes: list[int]) -> int:
        """The number where so many tokens hold each label."""
        return int(self.all.at(sum(sizes)) + sum(self.same.at(size) for size in sizes))

    def told(self, n: int | None = None) -> str:
        """`sum of (s^2 + s)/2, s the number of tokens of each document`."""
        known = _in("n", self.all) if n is None else [(self.all.at(n), "")]
        sign, same = "", self.same
        if same.square < 0 or (same.square == 0 and same.slope < 0):
            sign, same = "-", Quadratic(-same.square, -same.slope, -same.constant)
        text = f"sum of {polynomial(_in('s', same))}"
        if any(factor for factor, _ in known):
            text = f"{polynomial(known)} {sign or '+'} {text}"
        else:
            text = sign + text
        return f"{text}, s the number of tokens of each `{self.name}`"


def _in(name: str, part: Quadratic) -> list[tuple[Fraction, str]]:
    return [(part.square, f"{name}^2"), (part.slope, name), (part.constant, "")]


def held_form(asker: Asker, pairs: Pairs) -> FlagForm | LabelForm:
    """The number of pairs under a mask that reads one value of each token.

    Raises:
        NotCounted: none was derived.
    """
    masks = list(masks_by_head(pairs))
    foot, _ = next(iter(_leaves(pairs.there, pairs).values()))
    if foot.type.kind is Kind.BOOL:
        return _flags(asker, foot.name, masks, pairs)
    return _labels(asker, foot.name, masks, pairs)


def _leaves(there: Node, pairs: Pairs) -> dict[Node, tuple[Param, Axis]]:
    """What the mask reads of inputs: each is held by the query or by the key.

    Raises:
        NotCounted: it reads something else.
    """
    found: dict[Node, tuple[Param, Axis]] = {}
    todo = [there]
    while todo:
        node = todo.pop()
        if isinstance(node, Map):
            todo.extend(node.args)
        elif isinstance(node, Param | Read):
            found[node] = _leaf(node, (pairs.query, pairs.keys[0]))
        elif any(isinstance(part, Param) for part in walk(node)):
            raise NotCounted(why_not(node))
    if len({foot.name for foot, _ in found.values()}) != 1:
        raise NotCounted("it depends on several inputs" if found else "it depends on data")
    return found


def _leaf(node: Node, tokens: tuple[Axis, Axis]) -> tuple[Param, Axis]:
    """The input, and the token that holds it."""
    foot, places = read_at(node)
    axes = [axis for axis in foot.type.axes if axis.role != "batch"]
    if not isinstance(foot, Param) or foot.role != "input" or foot.type.dims or len(axes) != 1:
        raise NotCounted(why_not(foot))
    index = places.get(axes[0], place(axes[0]))
    if not isinstance(index, Index) or index.axis not in tokens:
        raise NotCounted(f"it depends on `{foot.name}` of other tokens")
    return foot, index.axis


def _flags(asker: Asker, name: str, masks: list[Node], pairs: Pairs) -> FlagForm:
    seen = {(one, two): 0 for one in (False, True) for two in (False, True)}
    for there in masks:
        leaves = _leaves(there, pairs)
        for held in seen:
            values = {node: _truth(held[axis != pairs.query]) for node, (_, axis) in leaves.items()}
            seen[held] += _certain(asker, [], instead(there, values), name)
    return FlagForm(name, seen)


def _truth(value: bool) -> Node:
    return TRUE if value else FALSE


def _labels(asker: Asker, name: str, masks: list[Node], pairs: Pairs) -> LabelForm:
    everywhere, same = Quadratic(), Quadratic()
    for there in masks:
        same_label = dict(_comparisons(there, pairs))
        others = {node: _truth(not holds) for node, holds in same_label.items()}
        own = {node: _truth(holds) for node, holds in same_label.items()}
        apart = _ordered(asker, instead(there, others), pairs, name, with_self=False)
        alike = _ordered(asker, instead(there, own), pairs, name, with_self=True)
        everywhere = everywhere.plus(apart)
        same = same.plus(alike).plus(Quadratic(-apart.square, -apart.slope))
    if everywhere != Quadratic():  # the sum of all s is n
        everywhere, same = everywhere.plus(Quadratic(slope=same.slope)), Quadratic(same.square)
    return LabelForm(name, everywhere, same)


def _comparisons(there: Node, pairs: Pairs) -> Iterator[tuple[Node, bool]]:
    """`label[i] == label[j]` or `!=`, and what it is where the labels are the same."""
    leaves = _leaves(there, pairs)
    for node in walk(there):
        match node:
            case Map(op="==" | "!=" as op, args=(left, right)):
                if left in leaves and right in leaves and leaves[left][1] != leaves[right][1]:
                    yield node, op == "=="


def _ordered(asker: Asker, mask: Node, pairs: Pairs, name: str, with_self: bool) -> Quadratic:
    """The pairs of n tokens under a mask that asks only who is earlier; a token is like itself."""
    i, j = place(pairs.query), place(pairs.keys[0])
    orders = ("<", ">", "==") if with_self else ("<", ">")
    seen = [_certain(asker, [pointwise(op, j, i)], mask, name) for op in orders]
    half = Fraction(seen[0] + seen[1], 2)
    return Quadratic(half, sum(seen[2:]) - half)


def _certain(asker: Asker, guards: list[Node], mask: Node, name: str) -> int:
    """1 where the mask holds whenever the guards do, 0 where it never does then."""
    if any(isinstance(node, Param) for node in walk(mask)):
        raise NotCounted(f"it depends on `{name}`")
    if asker.prover.prove(guards, mask):
        return 1
    if asker.prover.prove(guards, pointwise("not", mask)):
        return 0
    raise NotCounted(f"it depends on which tokens hold which `{name}`")
