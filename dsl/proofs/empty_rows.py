"""Rows without a key, found by trying: small lengths one pair at a time, then a long one at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import prod

from ..core import Axis, Length, walk
from ..evaluation import evaluate
from ..substitution import place
from .asking import Answer, Asker, example_of
from .grid import Grid
from .pairs import Pairs
from .periods import largest_number
from .worlds import NotInWorld, World, why_not, world_at

LENGTHS = (1, 2, 3, 4, 5, 7, 12, 17, 33)
MOST_TRIED = 6000
#: up to which length a row is looked for at once, and at how many pairs
LONGEST, MOST_AT_ONCE = 1024, 2**21
NONE_FOUND = "no key was found that is seen from every query"


def empty_row(asker: Asker, sources: Sequence[Pairs]) -> Answer:
    """A row without a key as a refutation, or why none was found."""
    try:
        for search in (_small, _long):
            found = search(asker, sources)
            if found is not None:
                return found
    except NotInWorld as missing:
        return _unknown(why_not(missing.node))
    except (ArithmeticError, RecursionError):
        pass
    return _unknown(NONE_FOUND)


def is_empty(sources: Sequence[Pairs], row: World) -> Answer | None:
    """The row as a refutation, if none of its keys is seen."""
    if any(evaluate(pairs.there, world) for pairs, world in _keys_of(sources, row)):
        return None
    queries = [sources[0].query]
    spoken = [place(queries[0]), *(n for pairs in sources for n in pairs.ranges.values())]
    keys = {axis for pairs in sources for axis in pairs.keys}
    axes = [axis for pairs in sources for axis in pairs.axes if axis not in keys]
    found = example_of(row, queries, spoken)
    more = example_of(row, list(dict.fromkeys(axes)), [pairs.there for pairs in sources])
    return Answer(
        "refuted", replace(more, lengths=found.lengths, places={**found.places, **more.places})
    )


def _small(asker: Asker, sources: Sequence[Pairs]) -> Answer | None:
    """Every row at small lengths; truths of inputs are as by default, then the opposite."""
    tried = 0
    memories = (None, 1) if any(pairs.has_memory for pairs in sources) else (None,)
    for size, memory, turned in product(LENGTHS, memories, (False, True)):
        lengths = {
            node.axis: size if memory is None or node is sources[0].length else memory
            for node in _lengths(sources)
        }
        for row in _rows(asker, sources, lengths, turned):
            tried += size
            if tried > MOST_TRIED:
                return None
            found = is_empty(sources, row)
            if found is not None:
                return found
    return None


def _rows(
    asker: Asker, sources: Sequence[Pairs], lengths: dict[Axis, int], turned: bool
) -> Iterator[World]:
    """Every query, head and so on."""
    keys = {axis for pairs in sources for axis in pairs.keys}
    axes = list(dict.fromkeys(axis for pairs in sources for axis in pairs.axes))
    axes = [axis for axis in axes if axis not in keys]
    empty = world_at(asker.prover.translator, {}, lengths, asker.inputs)
    sizes = [_size(sources, axis, empty) for axis in axes]
    for places in product(*map(range, sizes)):
        found = dict(zip(axes, places, strict=True))
        yield world_at(asker.prover.translator, found, lengths, asker.inputs, turned)


def _keys_of(sources: Sequence[Pairs], row: World) -> Iterator[tuple[Pairs, World]]:
    for pairs in sources:
        sizes = [_size([pairs], axis, row) for axis in pairs.keys]
        for places in product(*map(range, sizes)):
            world = row
            for axis, at in zip(pairs.keys, places, strict=True):
                world = world.moved(axis, at)
            yield pairs, world


def _size(sources: Sequence[Pairs], axis: Axis, world: World) -> int:
    """How many tokens an axis has in a world."""
    if axis.size is not None:
        return axis.size.value
    for pairs in sources:
        if axis in pairs.ranges:
            return evaluate(pairs.ranges[axis], world)
    raise NotInWorld(place(axis))


def _lengths(sources: Sequence[Pairs]) -> list[Length]:
    nodes = walk(*(n for pairs in sources for n in (pairs.there, *pairs.ranges.values())))
    return [node for node in nodes if isinstance(node, Length)]


def _long(asker: Asker, sources: Sequence[Pairs]) -> Answer | None:
    """A row at a length at which every number in the mask counts."""
    if len(sources) != 1 or len(sources[0].keys) != 1:
        return None
    pairs = sources[0]
    length = min(2 * largest_number(pairs.there) + 3, LONGEST)
    lengths = {node.axis: length for node in _lengths(sources)}
    world = world_at(asker.prover.translator, {}, lengths, asker.inputs)
    axes = [pairs.query, *pairs.axes[2:], pairs.keys[0]]
    sizes = [_size(sources, axis, world) for axis in axes]
    if prod(sizes) > MOST_AT_ONCE:
        return None
    import numpy as np

    places = dict(zip(axes, np.ix_(*map(np.arange, sizes)), strict=True))
    seen = np.broadcast_to(Grid(places, lengths).value(pairs.there), sizes).any(-1)
    for row in np.argwhere(~seen)[:1]:
        found = dict(zip(axes[:-1], map(int, row), strict=True))
        return is_empty(sources, world_at(asker.prover.translator, found, lengths, asker.inputs))
    return None


def _unknown(reason: str) -> Answer:
    return Answer("unknown", reason=reason)
