"""The one head axis of a kernel: heads, and the places of other fixed axes, in row-major order.

of h heads and axes of p and r places the kernel has h p r heads, of which (a, b, c) is (a p + b) r + c
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ...compiler.codegen.layout import Argument, Kernel


def whole(kernel: Kernel, sizes: Sequence[int]) -> tuple[int, int, int, int]:
    """Examples, heads of the kernel, queries and keys, of a call with so many heads of the spec."""
    batch, heads, queries, keys = sizes
    return batch, math.prod(kernel.fixed, start=heads), queries, keys


def parts(kernel: Kernel, heads: int) -> tuple[int, ...]:
    """How many heads of the spec there are, and the sizes of the fixed axes."""
    return heads // math.prod(kernel.fixed), *kernel.fixed


def joined(array: Tensor, item: Argument, heads: Sequence[int]) -> Tensor:
    """An array with heads and fixed axes as one axis, which ends with the last that it has.

    Those after it share its places, those before it are given their own; the same memory where all of
    them are there.

    Shapes:
        array    the axes of `item.places`, then the numbers of a token
        result   the axes of `item.held`, then these
    """
    batch, *own, query, key = item.places
    last = max(n for n, place in enumerate(own) if place >= 0)
    present = [place for place in (batch, *own, query, key) if place >= 0]
    array = array.permute(*present, *range(len(present), array.dim()))
    first = int(batch >= 0)
    for n, size in enumerate(heads[: last + 1]):
        at = first + n
        if own[n] < 0:
            array = array.unsqueeze(at).expand(*array.shape[:at], size, *array.shape[at:])
        elif array.shape[at] != size:  # groups of heads
            array = array.repeat_interleave(size // array.shape[at], at)
    return array.flatten(first, first + last)


def divided(grad: Tensor, groups: int | None, heads: Sequence[int]) -> Tensor:
    """A gradient by heads and fixed axes, of groups of heads summed.

    Shapes:
        grad    (batch, heads of the kernel, ..)
        result  (batch, heads or groups, places of each fixed axis.., ..)
    """
    grad = grad.unflatten(1, heads) if len(heads) > 1 else grad
    if groups in (None, heads[0]):
        return grad
    assert groups is not None
    of_groups: Tensor = grad.unflatten(1, (groups, heads[0] // groups))
    return of_groups.sum(2)
