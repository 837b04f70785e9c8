"""Hierarchies: level 0 are the n leaves; level l has ceil(n / fanout**l) nodes, until one is left.

The nodes of a tree are numbered level by level from the leaves, and by place within a level.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def level_sizes(leaves: int, fanout: int, levels: int) -> list[int]:
    """The number of nodes of each level, at most `levels` of them; the root ends the tree."""
    sizes = [leaves]
    while len(sizes) < levels and sizes[-1] > 1:
        sizes.append(-(-leaves // fanout ** len(sizes)))
    return sizes


def tree_field(which: str, leaves: int, fanout: int, levels: int, args: Sequence[Tensor]) -> Tensor:
    """count, a field over the nodes, or with (level, place) the number of that node, else -1."""
    sizes = level_sizes(leaves, fanout, levels)
    if which == "count":
        return torch.tensor(sum(sizes))
    if which == "node":
        return _node(sizes, *args)
    nodes = [(level, place) for level, size in enumerate(sizes) for place in range(size)]
    fields = {
        "level": [level for level, _ in nodes],
        "index": [place for _, place in nodes],
        "first": [place * fanout**level for level, place in nodes],
        "last": [min((place + 1) * fanout**level, leaves) - 1 for level, place in nodes],
    }
    return torch.tensor(fields[which], dtype=torch.int64)


def _node(sizes: list[int], level: Tensor, place: Tensor) -> Tensor:
    counts = torch.tensor(sizes)
    begins = counts.cumsum(0) - counts
    known = (level >= 0) & (level < len(sizes))
    safe = torch.where(known, level, 0)
    inside = known & (place >= 0) & (place < counts[safe])
    return torch.where(inside, begins[safe] + place, -1)
