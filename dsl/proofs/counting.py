"""How many pairs there are at a length, exactly: every one is looked at, some rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from math import prod

from ..core import Axis, Length, walk
from .grid import Grid
from .pairs import Pairs
from .unpadded import TRUE
from .worlds import NotInWorld, why_not

#: pairs that are counted at a length, and those that are looked at at one time
MOST_COUNTED = 2**32
AT_ONCE = 2**20


class NotCounted(Exception):
    """Why pairs were not counted, in words."""


def pairs_at(sources: Sequence[Pairs], length: int) -> int:
    """How many pairs there are at a length, over all heads that differ.

    Raises:
        NotCounted: it follows from data, or there are too many.
    """
    free = free_axes(sources)
    try:
        return sum(_count(pairs, free, length) for pairs in sources)
    except NotInWorld as missing:
        raise NotCounted(why_not(missing.node)) from None


def free_axes(sources: Sequence[Pairs]) -> list[Axis]:
    """The axes that the pairs of some source vary over beside their tokens: heads, and so on."""
    found = {axis for pairs in sources for axis in pairs.axes}
    found -= {axis for pairs in sources for axis in (pairs.query, *pairs.keys)}
    return sorted(found, key=lambda axis: (axis.rank, axis.name))


def _count(pairs: Pairs, free: Sequence[Axis], length: int) -> int:
    import numpy as np

    nodes = walk(pairs.there, *pairs.ranges.values())
    lengths = {node.axis: length for node in nodes if isinstance(node, Length)}
    sizes = {axis: _size(pairs, axis, lengths) for axis in (*free, pairs.query, *pairs.keys)}
    if prod(sizes.values()) > MOST_COUNTED:
        raise NotCounted(f"there are too many pairs to look at at n = {length}")
    rows = max(1, AT_ONCE // max(prod(sizes[axis] for axis in pairs.keys), 1))
    total = 0
    for heads in product(*(range(sizes[axis]) for axis in free)):
        fixed = {axis: np.int64(at) for axis, at in zip(free, heads, strict=True)}
        for first in range(0, sizes[pairs.query], rows):
            here = np.arange(first, min(first + rows, sizes[pairs.query]))
            shape = [len(here), *(sizes[axis] for axis in pairs.keys)]
            places = {**fixed, pairs.query: _along(here, 0, len(shape))}
            for number_, axis in enumerate(pairs.keys, 1):
                places[axis] = _along(np.arange(sizes[axis]), number_, len(shape))
            seen = Grid(places, lengths).value(pairs.there)
            total += int(np.count_nonzero(np.broadcast_to(seen, shape)))
    return total


def _along(places: object, axis: int, count: int) -> object:
    """Places as an array that varies along one of its axes."""
    import numpy as np

    shape = [1] * count
    shape[axis] = -1
    return np.asarray(places).reshape(shape)


def _size(pairs: Pairs, axis: Axis, lengths: Mapping[Axis, int]) -> int:
    if axis.size is not None:
        return axis.size.value
    if axis not in pairs.ranges:
        raise NotCounted(f"it is not known how many tokens `{axis.name}` has")
    return int(Grid({}, lengths).value(pairs.ranges[axis]))


def is_all_of_memory(sources: Sequence[Pairs]) -> bool:
    """Whether every token of x sees all of a memory, and nothing else."""
    return (
        all(
            pairs.there is TRUE
            and pairs.has_memory
            and pairs.ranges.get(pairs.query) is pairs.length
            for pairs in sources
        )
        and len(sources) == 1
    )
