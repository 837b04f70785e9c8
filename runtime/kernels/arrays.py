"""Arrays of torch as kernels read and write them, and back in the axes of an attend."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...compiler.codegen.layout import Argument, Kernel
from . import dtypes
from . import heads as of_heads

#: rows and keys that the arrays of gradients are a multiple of; a multiple of what kernels take
ROWS, KEYS = 48, 64
VECTOR = 16
#: places before those of distances
FRONT = 64


def width_of(kernel: Kernel) -> int:
    """How many numbers the result has for a query."""
    return math.prod(kernel.dims)


def all_held(arrays: Sequence[Tensor], kernel: Kernel, heads: int) -> list[Tensor]:
    """Arrays as kernels read them, of the heads of a kernel; the arrays themselves where they are so."""
    parts = of_heads.parts(kernel, heads)
    return [_held(array, item, parts) for array, item in zip(arrays, kernel.arguments, strict=True)]


def check(arrays: Sequence[Tensor], kernel: Kernel, sizes: Sequence[int]) -> None:
    """That nothing is read beside an array; calls that nobody has looked at may come here.

    sizes   examples, heads of the spec, queries and keys

    Raises:
        ValueError: an array is of other examples, heads or tokens.
    """
    batch, heads, queries, keys = sizes
    for array, item in zip(arrays, kernel.arguments, strict=True):
        apart = queries + keys if item.domain == "apart" else keys
        expected = batch, heads, *kernel.fixed, queries, apart
        places = [place for place in item.axes if place >= 0]
        own = [size for n, size in enumerate(array.shape) if n not in places]
        fits = len(places) + len(own) == array.dim() and math.prod(own) == max(item.width, 1)
        for n, (place, size) in enumerate(zip(item.axes, expected, strict=True)):
            found = array.shape[place] if 0 <= place < array.dim() else 1
            of_group = n == 1 and found > 0 and heads % found == 0
            is_whole = item.domain == "pair" and n == len(expected) - 1  # keys are side by side
            fits = fits and (found == size or (found == 1 and not is_whole) or of_group)
        if not fits:
            raise ValueError(
                f"the kernel `{kernel.name}` of {batch} examples, {heads} heads, {queries} queries "
                f"and {keys} keys was given an array of the shape {tuple(array.shape)}"
            )


def _held(array: Tensor, item: Argument, heads: Sequence[int]) -> Tensor:
    """An array as kernels read it, also bfloat16, float16, int64 or bool, the numbers of a token side by side."""
    if item.real:
        if array.dtype not in dtypes.TYPES:
            array = array.float()
    elif array.dtype is not torch.bool:
        array = array.long()
    if array.is_neg():
        array = array.resolve_neg()
    if item.along >= 0:
        array = array.movedim(item.along, -1)
    if item.has_fixed:
        array = of_heads.joined(array, item, heads)
    if item.domain == "pair":
        dense = array.stride(item.held[3]) == 1
    else:
        dense = item.width == 0 or array.stride()[item.dims :] == packed(array.shape[item.dims :])
    return array if dense else array.contiguous()


def packed(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array without gaps, the last dim side by side."""
    steps, step = [], 1
    for size in reversed(shape):
        steps.append(step)
        step *= size
    return tuple(reversed(steps))


def strides(array: Tensor, item: Argument, heads: int) -> tuple[int, ...]:
    """Apart by example, head, query and key; and how many heads share an array."""
    sizes, apart, places = array.shape, array.stride(), item.held
    steps = [apart[place] if place >= 0 and sizes[place] > 1 else 0 for place in places]
    return (*steps, max(1, heads // sizes[places[1]]) if steps[1] else 1)


def results(
    kernel: Kernel, out: Tensor, stats: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The result and, where it was kept, lse in their axes, from what the kernel made."""
    rows = stats if kernel.softmax else None
    if kernel.is_placed:
        return out.to(dtype), None if rows is None else rows[0]
    result = _placed(out, kernel, kernel.dims).to(dtype)
    return result, None if rows is None else _placed(rows[0, ..., None], kernel, ())


def cotangents(
    kernel: Kernel, out: Tensor, result: Tensor | None, lse: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of the result and of lse as a kernel reads them."""
    return (
        None if result is None else _unplaced(result, kernel.result, out.shape).to(out.dtype),
        None if lse is None else _unplaced(lse, kernel.result, (*out.shape[:-1], 1)).float(),
    )


def _placed(array: Tensor, kernel: Kernel, dims: Sequence[int]) -> Tensor:
    """(batch, heads, queries, width) in the axes and dims of the result."""
    places = kernel.result
    array = of_heads.divided(array, None, of_heads.parts(kernel, array.shape[1]))
    order = sorted((place, n) for n, place in enumerate(places) if place >= 0)
    lacking = [n for n, place in enumerate(places) if place < 0]
    moved = array.permute(*lacking, *(n for _, n in order), len(places))
    for _ in lacking:
        moved = moved.squeeze(0)
    return moved.reshape(*moved.shape[:-1], *dims)


def _unplaced(array: Tensor, places: Sequence[int], shape: Sequence[int]) -> Tensor:
    """A gradient of the result as (batch, heads, queries, width), packed."""
    count = sum(place >= 0 for place in places)
    flat = array.reshape(*array.shape[:count], shape[-1])
    order = [place for place in places if place >= 0]
    return flat.permute(*order, count).reshape(*shape).contiguous()


def room(item: Argument, sizes: Sequence[int], stretches: int) -> tuple[int, ...]:
    """The shape in which a kernel adds up the cotangents of an array."""
    batch, heads, queries, keys = sizes
    rows, columns = -(-queries // ROWS) * ROWS, -(-keys // KEYS) * KEYS
    width = -(-item.width // VECTOR) * VECTOR if item.width else 1
    match item.domain:
        case "key":
            return batch, heads, columns, width
        case "row":
            return stretches, batch, heads, rows, width
        case "pair":
            return batch, heads, queries, columns
        case "apart":
            size = (FRONT + queries + columns) // 32 * 32 + 48  # `apart_size` of kernels
            return stretches, batch, heads, max(item.width, 1), size
        case _:
            return stretches, batch, heads, max(item.width, 1)


def gradient(
    grad: Tensor,
    item: Argument,
    sizes: Sequence[int],
    shape: Sequence[int],
    heads: Sequence[int],
) -> Tensor:
    """What a kernel added up, as the gradient of an array of some shape."""
    *_, queries, keys = sizes
    width = max(item.width, 1)
    match item.domain:
        case "key":
            grad = grad[:, :, :keys, :width].unsqueeze(2)
        case "row":
            grad = _summed(grad)[:, :, :queries, :width].unsqueeze(3)
        case "pair":
            grad = grad[..., :keys].unsqueeze(-1)
        case "apart":
            there = _summed(grad)[..., FRONT : FRONT + queries + keys]
            grad = there.movedim(-1, 2).unsqueeze(2)
        case _:
            grad = _summed(grad)[:, :, None, None, :]
    # now (batch, heads, queries or 1, keys or 1, width)
    groups = shape[item.axes[1]] if item.axes[1] >= 0 else None
    grad = of_heads.divided(grad, groups, heads)
    places = item.places
    lacking = [n for n, place in enumerate(places) if place < 0]
    grad = grad.sum(lacking) if lacking else grad
    kept = [place for place in places if place >= 0]
    grad = grad.permute(*(kept.index(place) for place in sorted(kept)), -1)
    if item.along >= 0:
        grad = grad.movedim(-1, item.along)
    shared = [n for n, size in enumerate(shape[: len(kept)]) if size == 1 < grad.shape[n]]
    return (grad.sum(shared, keepdim=True) if shared else grad).reshape(shape)


def _summed(stretches: Tensor) -> Tensor:
    """The sum of what the stretches of keys added up; nothing is moved where there is one."""
    return stretches[0] if len(stretches) == 1 else stretches.sum(0)
