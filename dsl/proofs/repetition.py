"""How many pairs there are at every length, in closed form.

The form is not fitted but follows from a repetition that the prover has shown. With a period P,
an edge T and a width W, for all tokens:

    near the diagonal   m(i + P, j + P) = m(i, j)                  i, j >= T, |i - j| <= W
    far from it         m(i + P, j) = m(i, j) = m(i, j + P)        i, j >= T, |i - j| > W
    at the edges        m(i + P, j) = m(i, j), and the other way   j < T, i >= T + W

Row n (its keys up to n) then gains, from n >= T + W on, a number of keys with each step of P that
depends on n % P alone: the near ones move along, the old far ones stay, and P more are far. The same
for columns. So the count is a polynomial of degree 2 in n for each n % P, and three counts say which.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from itertools import product
from math import lcm, prod

from ..core import Axis, Length, Node, walk
from ..substitution import number, place, pointwise, substitute
from .asking import Asker
from .closed_form import ClosedForm, Quadratic
from .counting import NotCounted
from .grid import Grid
from .order import Reach
from .pairs import Pairs
from .periods import largest_number, period
from .unpadded import TRUE
from .worlds import NotInWorld, why_not

#: pairs that are evaluated to find a closed form
MOST_SAMPLED = 6_000_000
MOST_PERIOD = 1024
MOST_HEADS = 64


@dataclass(frozen=True, slots=True)
class _Shape:
    """Period, edge and width; is_certain: all pairs are known to be near the diagonal."""

    period: int
    edge: int
    width: int
    is_certain: bool = False

    @property
    def start(self) -> int:
        return self.edge + self.width

    @property
    def stop(self) -> int:
        """One more than the lengths at which the count must be known."""
        return self.start + 3 * self.period


def closed_form(asker: Asker, sources: Sequence[Pairs], reach: Sequence[Reach]) -> ClosedForm:
    """The number of pairs as a function of the length, for every length.

    Raises:
        NotCounted: none was derived.
    """
    forms = [_of_source(asker, pairs, reach) for pairs in sources]
    return reduce(lambda a, b: a.plus(b), forms)


def _of_source(asker: Asker, pairs: Pairs, reach: Sequence[Reach]) -> ClosedForm:
    if pairs.there is TRUE:
        return _of_all(pairs)
    forms = [
        of_mask(asker, pairs.query, pairs.keys[0], there, reach) for there in masks_by_head(pairs)
    ]
    return reduce(lambda a, b: a.plus(b), forms)


def masks_by_head(pairs: Pairs) -> Iterator[Node]:
    """The mask of each head that differs, where queries and keys are the tokens of x.

    Raises:
        NotCounted: they are not, or there is more to know than which tokens they are.
    """
    if not pairs.is_square or pairs.ranges.get(pairs.query) is not pairs.length:
        raise NotCounted("queries and keys are not the tokens of x")
    if any(isinstance(node, Length) for node in walk(pairs.there)):
        raise NotCounted("the mask depends on the length")
    free = [axis for axis in pairs.axes[2:] if axis.size is not None]
    if prod(axis.size.value for axis in free if axis.size) > MOST_HEADS:
        raise NotCounted("there are too many heads that differ")
    for heads in product(*(range(axis.size.value) for axis in free if axis.size)):
        there = pairs.there
        for axis, at in zip(free, heads, strict=True):
            there = substitute(there, axis, number(at))
        yield there


def _of_all(pairs: Pairs) -> ClosedForm:
    """Every pair: the product of the numbers of tokens, each fixed or n."""
    fixed, powers = 1, 0
    for axis in (pairs.query, *pairs.keys):
        if axis.size is not None:
            fixed *= axis.size.value
        elif pairs.ranges.get(axis) is pairs.length:
            powers += 1
        else:
            raise NotCounted(f"the number of `{axis.name}` is not the length")
    factors = [Fraction(fixed if power == powers else 0) for power in (2, 1, 0)]
    return ClosedForm((Quadratic(*factors),), 0, ())


def of_mask(
    asker: Asker, query: Axis, key: Axis, there: Node, reach: Sequence[Reach] = ()
) -> ClosedForm:
    """The number of pairs under a mask that says for each two tokens whether one is there.

    Raises:
        NotCounted: none was derived.
    """
    _counts(query, key, there, 2)  # whether it can be counted at all
    for shape in _shapes(query, key, there, reach):
        is_small = shape.period <= MOST_PERIOD and shape.stop**2 <= MOST_SAMPLED
        if is_small and _repeats(asker, query, key, there, shape):
            return _through(shape, _counts(query, key, there, shape.stop))
    raise NotCounted("no repetition of the mask was proved")


def _shapes(query: Axis, key: Axis, there: Node, reach: Sequence[Reach]) -> Iterator[_Shape]:
    """What may repeat: as far as pairs are known to reach, or as the numbers in the mask say."""
    found = lcm(period(there, query), period(there, key))
    known = [item.most for item in reach if item.most is not None]
    if len(known) == 2:
        yield _Shape(found, 0, max(known), is_certain=True)
    width = largest_number(there) + 1
    yield _Shape(found, 0, 0)
    yield _Shape(found, 0, width)
    yield _Shape(found, width, width)
    yield _Shape(found, width, 0)


def _repeats(asker: Asker, query: Axis, key: Axis, there: Node, shape: _Shape) -> bool:
    """Whether the repetition is proved, case by case; a solver is only asked of likely shapes."""
    i, j, by = place(query), place(key), shape.period

    def above(term: Node, least: int) -> Node:
        return pointwise(">=", term, number(least))

    def same(guards: list[Node], moved: Node) -> bool:
        return proves([*guards, there], moved) and proves([*guards, moved], there)

    def proves(guards: list[Node], goal: Node) -> bool:
        proof = asker.prover.prove(guards, goal)
        if proof.verdict != "unknown" or asker.solver is None or not shape.is_certain:
            return bool(proof)
        return asker.solver.decide(guards, goal, asker.prover.translator)[0] == "proved"

    down, right = _moved(there, query, by), _moved(there, key, by)
    along = _moved(down, key, by)
    inside = [above(i, shape.edge), above(j, shape.edge)]
    ahead, behind = pointwise("-", j, i), pointwise("-", i, j)
    far = shape.width + 1
    near = [above(pointwise("neg", item), -shape.width) for item in (ahead, behind)]
    cases = [
        ([*inside, *near], along),
        ([*inside, above(behind, far)], down),
        ([*inside, above(behind, far + by)], right),
        ([*inside, above(ahead, far)], right),
        ([*inside, above(ahead, far + by)], down),
    ]
    if shape.edge:
        cases += [
            ([pointwise("<", j, number(shape.edge)), above(i, shape.start)], down),
            ([pointwise("<", i, number(shape.edge)), above(j, shape.start)], right),
        ]
    return all(same(guards, moved) for guards, moved in cases)


def _moved(node: Node, axis: Axis, by: int) -> Node:
    return substitute(node, axis, pointwise("+", place(axis), number(by)))


def _counts(query: Axis, key: Axis, there: Node, stop: int) -> list[int]:
    """The number of pairs at each length below `stop`."""
    import numpy as np

    tokens = np.arange(stop - 1)
    try:
        seen = Grid({query: tokens[:, None], key: tokens[None, :]}, {}).value(there)
    except NotInWorld as missing:
        raise NotCounted(why_not(missing.node)) from None
    seen = np.broadcast_to(seen, (stop - 1, stop - 1))
    added = np.tril(seen).sum(1) + np.triu(seen, 1).sum(0)
    return [0, *(int(total) for total in np.cumsum(added))]


def _through(shape: _Shape, counts: Sequence[int]) -> ClosedForm:
    """The polynomials through three counts each, and from where on they hold."""
    parts: list[Quadratic] = [Quadratic()] * shape.period
    for first in range(shape.start, shape.start + shape.period):
        xs = [first + n * shape.period for n in range(3)]
        parts[first % shape.period] = Quadratic.through(xs, [Fraction(counts[x]) for x in xs])
    start = shape.start
    while start > 0 and parts[(start - 1) % shape.period].at(start - 1) == counts[start - 1]:
        start -= 1
    return ClosedForm(tuple(parts), start, tuple(counts[:start]))
