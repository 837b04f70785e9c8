"""Starting values of parameters and buffers, by the rules named in the spec."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

from ..dsl.typed import StateInfo, WeightInfo


def shape_of(info: WeightInfo | StateInfo) -> tuple[int, ...]:
    """The shape of a declared array: index axes first, then feature dims."""
    axes = tuple(axis.size.value for axis in info.axes if axis.size is not None)
    return (*axes, *(dim.value for dim in info.dims))


def fans(shape: tuple[int, ...], axes: int) -> tuple[int, int]:
    """Fan in and fan out of one array of a stack: the last dim, and the dims before it."""
    dims = shape[axes:] or shape
    inner = dims[-1] if dims else 1
    return inner, max(1, math.prod(dims[:-1]))


def fill(target: Tensor, init: str | float, axes: int) -> None:
    """Fill an array in place: `xavier` is uniform with variance 2 / (fan in + fan out)."""
    with torch.no_grad():
        if isinstance(init, float | int):
            target.fill_(init)
        elif init == "zeros":
            target.zero_()
        elif init == "ones":
            target.fill_(1.0)
        elif init == "normal":
            target.normal_(std=0.02)
        elif init == "uniform":
            target.uniform_()
        elif init == "identity":
            _identity(target)
        else:
            fan_in, fan_out = fans(tuple(target.shape), axes)
            bound = math.sqrt(6 / (fan_in + fan_out))
            target.uniform_(-bound, bound)


def _identity(target: Tensor) -> None:
    """Ones where the first two places agree; in further dims only at the middle tap.

    So a head mix begins as no mix, and a stencil over heads as the map itself.
    """
    target.zero_()
    if target.dim() < 2:
        target.fill_(1.0)
        return
    middle = tuple(size // 2 for size in target.shape[2:])
    for place in range(min(target.shape[0], target.shape[1])):
        target[(place, place, *middle)] = 1.0


def draw(info: StateInfo, seed: int, name: str) -> Tensor:
    """A frozen random array, by seed and full name: others that come and go change nothing."""
    generator = torch.Generator().manual_seed(seed * 0x9E3779B1 + zlib.crc32(name.encode()))
    shape = shape_of(info)
    if info.init == "uniform":
        return torch.rand(shape, generator=generator)
    if info.init == "gumbel":
        return -torch.log(-torch.log(torch.rand(shape, generator=generator).clamp(min=1e-20)))
    normal = torch.randn(shape, generator=generator)
    if info.init == "orthogonal":
        return torch.cat([_orthogonal(part) for part in normal.split(shape[-1], dim=-2)], dim=-2)
    return normal


def _orthogonal(normal: Tensor) -> Tensor:
    """Orthonormal rows, uniform over all such: Q of a QR whose R has a positive diagonal."""
    q, r = torch.linalg.qr(normal.transpose(-1, -2))
    rows: Tensor = (q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]).transpose(-1, -2)
    return rows
