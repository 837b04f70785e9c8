"""How many pairs there are where a number from outside cuts the tokens in two.

With p tokens before the cut and r = n - p behind it, the pairs fall in four cells. The prover shows
that in each of them the mask no longer asks for the number:

    both before    a mask of its own: counted as that of a sequence of p tokens
    both behind    one that moving both tokens by one does not change: that of r tokens
    one of each    one that only asks how far apart they are, and not even that from W on: all or none
                   of p * r, but for a fixed number of pairs that are nearer
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..core import Axis, Const, Kind, Map, Node, Param, walk
from ..substitution import instead, number, place, pointwise, substitute
from .asking import Asker
from .closed_form import Quadratic, polynomial
from .counting import NotCounted
from .grid import Grid
from .pairs import Pairs
from .periods import largest_number
from .repetition import MOST_PERIOD, masks_by_head, of_mask
from .worlds import NotInWorld, why_not

NO_CUT = "the mask is not proved to ask of `{}` only who is before it"


@dataclass(frozen=True, slots=True)
class CutForm:
    """A number for every length and every value of an input.

    before, behind   what depends on p and on r = n - p alone
    across           the factor of p * r
    cut              p before it is clipped to 0 .. n, as text
    least            the least p and r for which the number holds
    """

    before: Quadratic
    behind: Quadratic
    across: int
    cut: str
    least: tuple[int, int]

    def plus(self, other: CutForm) -> CutForm:
        """The sum of both, for the same cut."""
        return CutForm(
            self.before.plus(other.before),
            self.behind.plus(other.behind),
            self.across + other.across,
            self.cut,
            (max(self.least[0], other.least[0]), max(self.least[1], other.least[1])),
        )

    def at(self, before: int, behind: int) -> int:
        """The number with so many tokens before the cut and behind it."""
        alone = self.before.at(before) + self.behind.at(behind)
        return int(alone + self.across * before * behind)

    def told(self, n: int | None = None) -> str:
        """`(n^2 + n + p^2 - p)/2 with p = clip(prefix, 0, n)`; at a length, with its number for n."""
        one, two = self.before, self.behind
        square = (two.square, Fraction(self.across) - 2 * two.square)
        last = (one.square + two.square - self.across, one.slope - two.slope)
        rest = one.constant + two.constant
        if n is None:
            terms = [
                (square[0], "n^2"),
                (square[1], "n*p"),
                (two.slope, "n"),
                (last[0], "p^2"),
                (last[1], "p"),
                (rest, ""),
            ]
        else:
            known = square[0] * n * n + two.slope * n + rest
            terms = [(last[0], "p^2"), (last[1] + square[1] * n, "p"), (known, "")]
        length = "n" if n is None else f"{n}"
        return f"{polynomial(terms)} with p = clip({self.cut}, 0, {length}){self._tail(length)}"

    def _tail(self, length: str) -> str:
        before, behind = self.least
        found = [f"p >= {before}"] if before > 0 else []
        found += [f"{length} - p >= {behind}"] if behind > 0 else []
        return f", for {' and '.join(found)}" if found else ""


def cut_form(asker: Asker, pairs: Pairs) -> CutForm:
    """The number of pairs under a mask that reads one number from outside.

    Raises:
        NotCounted: none was derived.
    """
    cut = _only_number(pairs.there)
    masks = list(masks_by_head(pairs))
    for shift in _shifts(pairs.there, cut):
        forms = [_Cells(asker, pairs, there, cut, shift).form for there in masks]
        known = [form for form in forms if form is not None]
        if len(known) == len(forms):
            total = known[0]
            for form in known[1:]:
                total = total.plus(form)
            return total
    raise NotCounted(NO_CUT.format(cut.name))


def _only_number(there: Node) -> Param:
    """The one number that the mask reads."""
    found = {node for node in walk(there) if isinstance(node, Param)}
    others = [node for node in found if not _is_number(node)]
    if others or len(found) != 1:
        raise NotCounted(why_not(others[0]) if others else "it depends on data")
    cut = found.pop()
    assert isinstance(cut, Param)
    return cut


def has_number(there: Node) -> bool:
    """Whether the mask reads one number for all tokens."""
    return any(_is_number(node) for node in walk(there))


def _is_number(node: Node) -> bool:
    is_one = isinstance(node, Param) and node.role == "input" and not node.type.dims
    return is_one and node.type.kind is Kind.INT and all(a.role == "batch" for a in node.type.axes)


def _shifts(there: Node, cut: Param) -> list[int]:
    """How far from the number the cut may be: it is `j < cut + shift`, or `j <= cut + shift - 1`."""
    found = [0, 1]
    for node in walk(there):
        match node:
            case Map(op="+" | "-" as op, args=(left, Const(value=int(value)))) if left is cut:
                by = int(value) if op == "+" else -int(value)
                found += [by, by + 1]
    return list(dict.fromkeys(found))


class _Cells:
    """The four cells of a mask that a cut makes, at `cut + shift`."""

    def __init__(self, asker: Asker, pairs: Pairs, there: Node, cut: Param, shift: int) -> None:
        self.asker = asker
        self.query, self.key = pairs.query, pairs.keys[0]
        self.there = there
        self.cut, self.shift = cut, shift

    @property
    def form(self) -> CutForm | None:
        """The number of pairs; None where the mask asks for more than who is before the cut.

        Raises:
            NotCounted: a cell has no closed form.
        """
        i, j = place(self.query), place(self.key)
        after = (_plus(pointwise("max", i, j), 1), _plus(i, 1), _plus(j, 1))
        both = self._cell(True, True, after[0])
        neither = self._cell(False, False, number(0))
        upper = self._cell(True, False, after[1])
        lower = self._cell(False, True, after[2])
        if both is None or neither is None or upper is None or lower is None:
            return None
        self._check_moves(neither, [])
        one, two = self._alone(both), self._alone(neither)
        corners = [
            self._across(upper, self.query, self.key),
            self._across(lower, self.key, self.query),
        ]
        nearer = sum(corner[1] for corner in corners)
        least = max(corner[2] for corner in corners)
        return CutForm(
            one[0].plus(Quadratic(constant=Fraction(nearer))),
            two[0],
            sum(corner[0] for corner in corners),
            _shifted(self.cut.name, self.shift),
            (max(one[1], least), max(two[1], least)),
        )

    def _cell(self, first: bool, second: bool, cut: Node) -> Node | None:
        """The mask of a cell without the number: another cut is as good there."""
        edge = _plus(self.cut, self.shift)
        guards = [
            pointwise("<" if is_before else ">=", place(axis), edge)
            for axis, is_before in ((self.query, first), (self.key, second))
        ]
        mask = instead(self.there, {self.cut: _plus(cut, -self.shift)})
        return mask if self._same(guards, self.there, mask) else None

    def _same(self, guards: Sequence[Node], one: Node, two: Node) -> bool:
        prove = self.asker.prover.prove
        return bool(prove([*guards, one], two)) and bool(prove([*guards, two], one))

    def _check_moves(self, mask: Node, guards: Sequence[Node]) -> None:
        """That moving both tokens changes nothing."""
        moved = mask
        for axis in (self.query, self.key):
            moved = substitute(moved, axis, _plus(place(axis), 1))
        if not self._same(guards, mask, moved):
            raise NotCounted("no repetition of the mask was proved")

    def _alone(self, mask: Node) -> tuple[Quadratic, int]:
        """The number of pairs of a cell that is a square, and from which size on."""
        form = of_mask(self.asker, self.query, self.key, mask)
        if len(set(form.parts)) > 1:
            raise NotCounted(f"it depends on `{self.cut.name}` % {form.period}")
        return form.parts[0], form.start

    def _across(self, mask: Node, low: Axis, high: Axis) -> tuple[int, int, int]:
        """Whether those far apart are there, how many more the near ones are, and how near these are."""
        apart = pointwise("-", place(high), place(low))
        width = largest_number(mask) + 1
        if width > MOST_PERIOD:
            raise NotCounted("no repetition of the mask was proved")
        self._check_moves(mask, [pointwise(">=", apart, number(1))])
        far = pointwise(">", apart, number(width))
        is_there = bool(self.asker.prover.prove([far], mask))
        if not is_there and not self.asker.prover.prove([far], pointwise("not", mask)):
            raise NotCounted("no repetition of the mask was proved")
        others = [d for d in range(1, width + 1) if self._at(mask, low, high, d) is not is_there]
        more = sum(others) * (-1 if is_there else 1)
        return int(is_there), more, max(others, default=0)

    def _at(self, mask: Node, low: Axis, high: Axis, apart: int) -> bool:
        import numpy as np

        try:
            return bool(Grid({low: np.int64(0), high: np.int64(apart)}, {}).value(mask))
        except NotInWorld as missing:
            raise NotCounted(why_not(missing.node)) from None


def _plus(node: Node, by: int) -> Node:
    return node if by == 0 else pointwise("+", node, number(by))


def _shifted(name: str, by: int) -> str:
    return name if by == 0 else f"{name} {'+' if by > 0 else '-'} {abs(by)}"
