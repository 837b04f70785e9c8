"""Windows along a dim, and sums over the places near one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .numbers import maximum


def split_windows(value: Tensor, dim: int, count: int, size: int, stride: int) -> Tensor:
    """Windows along a dim: (.., count, size, ..), 0 beyond the end."""
    needed = (count - 1) * stride + size
    shape = list(value.shape)
    shape[dim] = maximum(needed - value.shape[dim], 0)
    padded = torch.cat([value, value.new_zeros(shape)], dim)
    made: Tensor
    if size == stride:
        made = padded.narrow(dim, 0, count * stride).unflatten(dim, (count, size))
    else:
        place = torch.arange(count, device=value.device)[:, None] * stride
        place = place + torch.arange(size, device=value.device)
        made = padded.index_select(dim, place.reshape(-1)).unflatten(dim, (count, size))
    return made


def stencil(value: Tensor, kernel: Tensor, starts: Sequence[int]) -> Tensor:
    """Sum over taps of kernel * shifted value; value (.., axes), kernel (.., taps), aligned."""
    rank = len(starts)
    taps = kernel.shape[-rank:]
    padded = torch.nn.functional.pad(value, _margins(starts, taps))
    total: Tensor | None = None
    for flat in range(math.prod(taps)):
        place = _unravel(flat, taps)
        view, weight = padded, kernel
        for axis, (tap, start) in enumerate(zip(place, starts, strict=True)):
            offset = tap + start + max(0, -start)
            view = view.narrow(axis - rank, offset, value.shape[axis - rank])
            weight = weight.narrow(axis - rank, tap, 1)
        term = view * weight
        total = term if total is None else total + term
    assert total is not None
    return total


def channel_stencil(value: Tensor, kernel: Tensor, starts: Sequence[int]) -> Tensor:
    """A stencil that mixes heads; value (.., channels, axes), kernel (out, channels, taps)."""
    rank = len(starts)
    taps = kernel.shape[-rank:]
    lead = value.shape[: -rank - 1]
    padded = torch.nn.functional.pad(value, _margins(starts, taps))
    flat = padded.reshape((-1, *padded.shape[-rank - 1 :]))
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[rank - 1]
    result = convolve(flat, kernel)
    for axis, start in enumerate(starts):  # taps may begin after the present place
        result = result.narrow(axis - rank, max(0, start), value.shape[axis - rank])
    return result.reshape((*lead, *result.shape[1:]))


def _margins(starts: Sequence[int], taps: Sequence[int]) -> list[int]:
    """How far taps reach beyond both ends of each axis, last axis first, as `pad` wants it."""
    margins: list[int] = []
    for start, count in reversed(list(zip(starts, taps, strict=True))):
        margins += [max(0, -start), max(0, start + count - 1)]
    return margins


def _unravel(flat: int, shape: Sequence[int]) -> list[int]:
    place = []
    for size in reversed(shape):
        place.append(flat % size)
        flat //= size
    return place[::-1]
