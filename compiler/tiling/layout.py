"""What tiles are made of."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..sparsity import MaskProgram


@dataclass(frozen=True)
class Input:
    """How an argument goes into a tile.

    axes    names of its index axes in order; `inner` the same inside the tile, with the block axis;
            without names where every tile gets the whole
    sized   the names in any case
    """

    axes: tuple[str, ...]
    inner: tuple[str, ...]
    sized: tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """What a tile is made of: names of the axes of queries, keys, and blocks.

    keys      the key axis of each source whose keys may be left out
    masks     for each of them its mask and the arguments that the mask reads
    results   the axes of each result inside a tile, with block and query
    orders    the arguments by which queries are sorted, then the keys of each source; none: as is
    listed    numbers that each query gathers from lists, and its keys of a fixed number, as pairs
    beside    other axes over tokens that a query meets
    apart     axes of distances, each with its key axis
    width     numbers that the pair loop holds for a pair
    skips     whether keys may be left out; else every tile sees all of them
    is_whole  whether `keys` are all that a query can see; else no query is passed over
    """

    query: str
    keys: tuple[str, ...]
    block: str
    inputs: tuple[Input, ...]
    results: tuple[tuple[str, ...], ...]
    masks: tuple[tuple[MaskProgram, tuple[int, ...]], ...]
    orders: tuple[tuple[int, ...], ...]
    listed: int
    beside: tuple[str, ...]
    apart: tuple[tuple[str, str], ...]
    width: int
    skips: bool
    is_whole: bool


@dataclass(frozen=True)
class Span:
    """Tokens next to each other, of which a tile has a view and no copy."""

    start: int
    size: int


@dataclass(frozen=True)
class Tile:
    """Rows (blocks, queries) of a tile, and per source its keys (blocks, keys), None for all.

    queries   how many there are in all
    there   per source which of its keys are there, None for all
    is_open   whether every mask lets everything in
    """

    rows: Tensor
    queries: int
    keys: tuple[Tensor | Span | None, ...]
    there: tuple[Tensor | None, ...]
    is_open: bool = False
