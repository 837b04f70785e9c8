"""Backwards that go over some heads at a time, where each head adds up a large gradient that all share.

A head adds up the cotangents of all arrays by itself, so that no order of threads decides a sum. Of an array
that heads share, like a table of positions, so many copies are made as there are heads at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ...compiler.codegen.layout import Argument

#: bytes of such copies from which on there are several rounds
MOST = 1 << 28
Shape = tuple[int, ...] | None


def is_shared(item: Argument) -> bool:
    """Whether all heads of a kernel share an array."""
    return item.held[1] < 0


def at_once(
    arguments: Sequence[Argument],
    arrays: Sequence[Tensor],
    rooms: Sequence[Shape],
    heads: int,
    threads: int,
) -> int:
    """How many heads a round has: all, or few enough, groups whole and every thread busy."""
    copies = sum(
        4 * math.prod(shape) // heads
        for item, shape in zip(arguments, rooms, strict=True)
        if shape is not None and is_shared(item)
    )
    if copies * heads <= MOST:
        return heads
    groups = 1
    for item, array in zip(arguments, arrays, strict=True):
        if not is_shared(item) and array.shape[item.held[1]] > 1:
            groups = math.lcm(groups, heads // array.shape[item.held[1]])
    least = -(-threads // groups) * groups
    return min(heads, max(least, MOST // copies // groups * groups))


def in_rounds(
    run: Callable[[Sequence[Tensor | None], Sequence[Tensor | None], int], None],
    arguments: Sequence[Argument],
    arrays: Sequence[Tensor],
    of_rows: Sequence[Tensor | None],
    rooms: Sequence[Shape],
    heads: int,
    most: int,
) -> list[Tensor | None]:
    """What rounds of so many heads add up: of arrays that heads share for one head, else for all.

    run       the kernel: arrays, what it adds to, and how many heads
    of_rows   the arrays beside the leaves, (batch, heads, ..) each
    """
    totals = [
        None if shape is None else _zeros(_with_heads(shape, item, 1 if is_shared(item) else heads))
        for item, shape in zip(arguments, rooms, strict=True)
    ]
    for first in range(0, heads, most):
        count = min(most, heads - first)
        own = [
            _narrowed(array, item, first, count, heads)
            for item, array in zip(arguments, arrays, strict=True)
        ]
        rows = [
            None if row is None else row[:, first : first + count].contiguous() for row in of_rows
        ]
        grads = [
            None if shape is None else _zeros(_with_heads(shape, item, count))
            for item, shape in zip(arguments, rooms, strict=True)
        ]
        run([*own, *rows], grads, count)
        for item, total, grad in zip(arguments, totals, grads, strict=True):
            if total is None or grad is None:
                continue
            if is_shared(item):
                total += grad.sum(_place(item), keepdim=True)
            else:
                total.narrow(_place(item), first, count).copy_(grad)
        del grads, grad  # before the next round makes its own
    return totals


def _zeros(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.float32, device="cpu")


def _narrowed(array: Tensor, item: Argument, first: int, count: int, heads: int) -> Tensor:
    """An array of some heads."""
    place = item.held[1]
    if place < 0 or array.shape[place] == 1:
        return array
    share = heads // array.shape[place]
    return array.narrow(place, first // share, -(-count // share))


def _place(item: Argument) -> int:
    """The place of heads in what a kernel adds to."""
    return 1 if item.domain in ("key", "pair") else 2


def _with_heads(shape: tuple[int, ...], item: Argument, heads: int) -> tuple[int, ...]:
    place = _place(item)
    return *shape[:place], heads, *shape[place + 1 :]
