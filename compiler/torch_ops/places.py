"""Where tokens, pairs, heads and nodes of trees are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .numbers import ceil_divide


def positions(like: Tensor, length: int, start: int | Tensor = 0) -> Tensor:
    """Global positions 0 .. length-1 plus a start; int64.

    start   a number: result (length,); per example (B,): result (B, length); positions
            themselves (B, length) are returned as they are
    """
    places = torch.arange(length, device=like.device)
    if not isinstance(start, Tensor):
        return places + start if start else places
    if start.dim() == 0:
        return places + start
    return start if start.dim() == 2 else start[:, None] + places


def token_positions(like: Tensor, length: int, start: int | Tensor) -> Tensor:
    """Global positions of tokens with a batch dim: (1, length) or (B, length)."""
    places = positions(like, length, start)
    return places if places.dim() == 2 else places[None]


def distances(
    like: Tensor, queries: int, keys: int, first: int | Tensor = 0, first_key: int | Tensor = 0
) -> Tensor:
    """How far queries are behind keys, from the first key and the last query on; int64.

    first, first_key   the positions of the first query and key
    """
    return positions(like, queries + keys).neg() + (first - first_key + queries - 1)


def apart(rows: Tensor, keys: Tensor) -> Tensor:
    """Places of pairs among the distances that some rows and keys have.

    rows, keys   places (.., N) and (.., M); result (.., N, M)
    """
    if rows.numel() and keys.numel():
        rows = rows.amax(-1, keepdim=True) - rows
        keys = keys - keys.amin(-1, keepdim=True)
    return rows[..., :, None] + keys[..., None, :]


def flat_place(first: Tensor, second: Tensor, rows: int, columns: int) -> Tensor:
    """The row-major place of a pair of places; -1 where one of them is outside."""
    inside = (first >= 0) & (first < rows) & (second >= 0) & (second < columns)
    return torch.where(inside, first * columns + second, -1)


def expand_heads(value: Tensor, heads: int, dim: int) -> Tensor:
    """Key/value heads repeated for their groups of query heads: head h reads h // (H / G)."""
    groups = value.shape[dim]
    if heads == groups:
        return value
    return value.repeat_interleave(heads // groups, dim)


def group_of_heads(like: Tensor, heads: int, groups: int) -> Tensor:
    """The group of each head, h // (H / G)."""
    return torch.arange(heads, device=like.device) // (heads // groups)


def tree_sizes(leaves: int, fanout: int, levels: int) -> list[int]:
    """How many nodes each level of a tree has, up to the root."""
    sizes = [leaves]
    while len(sizes) < levels and sizes[-1] > 1:
        sizes.append(ceil_divide(sizes[-1], fanout))
    return sizes


def tree_count(leaves: int, fanout: int, levels: int) -> int:
    """How many nodes a tree has."""
    return sum(tree_sizes(leaves, fanout, levels))


def tree_field(like: Tensor, which: str, leaves: int, fanout: int, levels: int) -> Tensor:
    """level, index in the level, first and last leaf of every node, level by level."""
    parts = []
    for level, size in enumerate(tree_sizes(leaves, fanout, levels)):
        place = torch.arange(size, device=like.device)
        if which == "level":
            place = torch.full_like(place, level)
        elif which == "first":
            place = place * fanout**level
        elif which == "last":
            place = ((place + 1) * fanout**level - 1).clamp(max=leaves - 1)
        parts.append(place)
    return torch.cat(parts)


def tree_node(level: Any, place: Any, leaves: int, fanout: int, levels: int) -> Tensor:
    """The number of the node at a place of a level; -1 where there is none."""
    sizes = tree_sizes(leaves, fanout, levels)
    device = next(item.device for item in (level, place) if isinstance(item, Tensor))
    counts = torch.tensor([*sizes, 0], device=device)
    starts = torch.cumsum(counts, 0) - counts
    level = torch.as_tensor(level, device=device).clamp(max=len(sizes))
    there = (place >= 0) & (place < counts[level.clamp(min=0)]) & (level >= 0)
    return torch.where(there, starts[level.clamp(min=0)] + place, -1)
