"""Whether an attend can be computed a few rows at a time, and what of it belongs to the rows.

What does not depend on query and key together is computed outside, for all tokens; the rest, the pair loop and the normaliser, is computed tile by tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ...dsl.core import (
    Arg,
    Attend,
    Axis,
    Choose,
    Const,
    Draw,
    Node,
    Param,
    Part,
    Read,
    Recur,
    Reduce,
    Scan,
    Scores,
    Segment,
    Sort,
    Stencil,
    Top,
    Use,
    down_to,
    walk,
)
from ..apart import is_pair
from ..normalizer import uses_scores
from ..program import Program
from .refusal import Refusal

ORDERS = (Scan, Sort, Top, Choose, Segment, Stencil)


@dataclass(frozen=True)
class Match:
    """An attend whose rows can be computed by themselves.

    with_lse           whether its lse is read
    differs_by_query   whether two rows may differ
    """

    with_lse: bool
    differs_by_query: bool


def match(node: Attend, program: Program, parts: frozenset[str]) -> Match | Refusal:
    """Whether the rows of an attend can be computed by themselves."""
    wanted = parts - {"lse"}
    if wanted:
        names = ", ".join(sorted(wanted))
        return Refusal(f"its {names} are read", node, f"do not read .{names}")
    if node.query not in node.type.axes or not (tiled_sources(node) or edges(node)):
        return Refusal("its keys are of a fixed number: nothing to put in tiles", node)
    for item in inside(node):
        if isinstance(item, Use):
            return Refusal("a spec is used for every pair", item)
        if _mixes_rows(item, node.query):
            return Refusal("its rows depend on each other", item)
    return Match("lse" in parts, _differs_by_query(node))


def _differs_by_query(node: Attend) -> bool:
    fields = (f for s in node.sources for f in (s.mask, s.at, s.score, s.value) if f is not None)
    beside = (item for item in walk(node.normalize) if not uses_scores(item))
    return any(node.query in item.type.axes for item in (*fields, *beside))


def tiled_sources(node: Attend) -> dict[int, Axis]:
    """Sources over the tokens of a call, whose keys go into the tiles: place and key axis."""
    found: dict[int, Axis] = {}
    for place, source in enumerate(node.sources):
        axis = source.axes[0]
        plain = source.at is None and len(source.axes) == 1 and axis.size is None
        if plain and axis not in found.values() and axis != node.query:
            found[place] = axis
    return found


def edges(node: Attend) -> frozenset[Axis]:
    """The edge axes of sources that are lists, whose keys are gathered tile by tile."""
    return frozenset(
        axis for source in node.sources if source.at is not None for axis in source.axes
    )


def inside(node: Attend) -> list[Node]:
    """What is computed in the tiles: the pair loop and the normaliser."""
    keys = keys_of(node)
    return [item for item in _reached(node) if not is_outside(item, node.query, keys)]


def arguments(node: Attend) -> list[Node]:
    """What goes into the tiles, each once."""
    keys = keys_of(node)
    return [item for item in _reached(node) if is_outside(item, node.query, keys)]


def _reached(node: Attend) -> Iterator[Node]:
    """The nodes of the fields of an attend, down to those that are computed outside."""
    keys = keys_of(node)
    fields = (f for s in node.sources for f in (s.mask, s.at, s.score, s.value) if f is not None)
    roots = node.normalize, *reversed(list(fields))
    return down_to(lambda item: is_outside(item, node.query, keys), *roots)


def keys_of(node: Attend) -> frozenset[Axis]:
    """The key axes that are met inside tiles; those of a fixed number, too, whose pairs are many."""
    return frozenset({node.joint, *tiled_sources(node).values()}) | edges(node) | _fixed(node)


def _fixed(node: Attend) -> frozenset[Axis]:
    """The key axes of sources of a fixed number of keys, all of which every tile has."""
    sources = (source for source in node.sources if source.at is None)
    return frozenset(axis for source in sources for axis in source.axes if axis.size is not None)


def is_outside(node: Node, query: Axis, keys: frozenset[Axis]) -> bool:
    """Whether a value is an argument of the tiles: all that is not over queries and their keys."""
    if isinstance(node, Scores | Const):
        return False
    if isinstance(node, Part | Attend | Param | Recur | Draw):
        return True
    if isinstance(node, Arg) and not isinstance(node.value, Read):
        return True  # a gather by pairs stays in the tiles
    return not is_pair(node, query, keys) and not uses_scores(node)


def _mixes_rows(node: Node, query: Axis) -> bool:
    match node:
        case Scan(axis=axis) | Choose(axis=axis) | Top(axis=axis):
            return axis == query
        case Stencil(axes=axes) | Sort(axes=axes) | Segment(axes=axes) | Reduce(axes=axes):
            return query in axes
    return False


def orders_keys(node: Attend) -> bool:
    """Whether leaving out keys that are not there could change what is left."""
    keys = keys_of(node)
    for item in inside(node):
        if isinstance(item, ORDERS):
            return True
        # in the normaliser reductions run over what is there
        if isinstance(item, Reduce) and keys & set(item.axes) and not uses_scores(item):
            return True
    return False


def shares_keys(node: Attend) -> bool:
    """Whether two sources have one key axis, of which a tile has but one choice."""
    axes = [axis for source in node.sources if source.at is None for axis in source.axes]
    return len(axes) > len(set(axes))
