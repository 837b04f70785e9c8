"""The dense form of an attend by itself, as a function of the arrays that its kernel reads.

It stands in for the kernel where torch wants its own operations: derivatives of derivatives, of functions, forward, and programs to export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import fx

from ...dsl.core import Attend, Axis, Kind, Node, Part, Type
from . import attend
from .emitter import Value, by_rank, drop_unused

if TYPE_CHECKING:
    from .dense import Dense


def graph(
    e: Dense,
    node: Attend,
    sizes: Sequence[Axis | None],
    arrays: Sequence[tuple[Node, Value]],
    with_lse: bool,
) -> tuple[fx.GraphModule, tuple[Axis, ...]]:
    """(size of each axis, arrays) -> (result, lse or None), both in the axes of the result; and those that lse has.

    `e` is a fresh emitter.
    """
    for place, axis in enumerate(sizes):
        size = e.graph.placeholder(f"size_{place}")
        if axis is not None:
            e.sizes[axis.base] = size
    placeholders = []
    for place, (of, value) in enumerate(arrays):
        array = e.graph.placeholder(f"array_{place}")
        e.values[of] = Value(array, value.axes, value.dims, value.wide)
        e.know([axis for axis in value.axes if axis.role == "group"], array)
        if of.type.kind is Kind.REAL:
            e.real_likes.append(array)
        e.likes.append(array)
        placeholders.append(array)
    axes = by_rank(node.type.axes)
    result = e.expand(attend.lowered(e, node).result, axes)
    lse, own = None, tuple[Axis, ...]()
    if with_lse:
        made = attend.part(e, Part(Type(Kind.REAL, node.type.axes), node, "lse"))
        lse, own = e.expand(made, axes), made.axes
    e.graph.output((e.method("type_as", result, placeholders[0]), lse))
    drop_unused(e.graph)
    return fx.GraphModule(torch.nn.Module(), e.graph), own
