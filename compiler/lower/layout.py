"""Layout of single arrays: axes in a given order, several axes as one dim and back."""

from __future__ import annotations

from typing import Any

from ...dsl.core import Axis
from .emitter import Emitter, Value


def ordered(e: Emitter, value: Value, axes: tuple[Axis, ...]) -> Any:
    """The tensor with its axes in a given order, dims last."""
    node = e.tensor(value)
    order = [value.axes.index(axis) for axis in axes]
    if order == sorted(order):
        return node
    return e.method("permute", node, *order, *range(len(axes), len(axes) + value.dims))


def flattened(e: Emitter, node: Any, start: int, count: int) -> Any:
    """Some axes that stand next to each other as one; one of size 1 where there are none."""
    if count == 1:
        return node
    if count == 0:
        return e.method("unsqueeze", node, start)
    return e.method("flatten", node, start, start + count - 1)


def unflattened(e: Emitter, node: Any, place: int, axes: tuple[Axis, ...]) -> Any:
    """The axes that `flattened` made one, apart again."""
    if len(axes) == 1:
        return node
    if not axes:
        return e.method("squeeze", node, place)
    return e.method("unflatten", node, place, tuple(e.size(axis) for axis in axes))


def same_size(left: Axis, right: Axis) -> bool:
    """Whether two axes have the same static size."""
    return left.size is not None and right.size is not None and left.size.value == right.size.value
