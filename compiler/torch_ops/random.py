"""Random numbers by counter: each follows from a seed, a key and its logical place alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

_FIRST, _SECOND = -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15  # odd constants of splitmix64
_STEP = -0x61C8864680B583EB


def _mix(value: Tensor) -> Tensor:
    """A bijection on 64-bit integers that scatters nearby ones (Steele et al. 2014)."""
    value = (value ^ _shifted(value, 30)) * _FIRST
    value = (value ^ _shifted(value, 27)) * _SECOND
    return value ^ _shifted(value, 31)


def _shifted(value: Tensor, by: int) -> Tensor:
    return (value >> by) & ((1 << (64 - by)) - 1)


def scattered(seed: Tensor, key: int, places: Sequence[Tensor]) -> Tensor:
    """Random bits for a seed, a key and logical indices that broadcast; int64."""
    bits = _mix(seed + key)
    for place in places:
        bits = further(bits, place)
    return bits


def further(bits: Tensor, place: Tensor) -> Tensor:
    """Random bits for one index more."""
    return _mix(bits + _STEP * (place + 1))


def _uniform(bits: Tensor) -> Tensor:
    return (_shifted(bits, 40).to(torch.float32) + 0.5) * 2.0**-24


def uniform(seed: Tensor, key: int, places: Sequence[Tensor]) -> Tensor:
    """Uniform numbers in (0, 1) for a seed, a key and logical indices that broadcast; float32.

    The number at an index depends on nothing else: not on the shape, the device or the order.
    """
    return _uniform(scattered(seed, key, places))


def keep(seed: Tensor, key: int, rate: float, places: Sequence[Tensor]) -> Tensor:
    """Which elements dropout keeps."""
    return uniform(seed, key, places) >= rate


def keep_pairs(rows: Tensor, keys: Tensor, rate: float) -> Tensor:
    """Which pairs dropout keeps, by the bits of their query and the place of their key."""
    return _uniform(further(rows, keys)) >= rate


def drop(value: Tensor, kept: Tensor, rate: float) -> Tensor:
    """Dropout: kept elements scaled by 1 / (1 - rate), others 0."""
    return torch.where(kept, value / (1.0 - rate), 0.0)


def draw(seed: Tensor, key: int, dist: str, places: Sequence[Tensor], like: Tensor) -> Tensor:
    """Random numbers of a distribution, at least float32."""
    first = uniform(seed, key, places)
    dtype = torch.promote_types(like.dtype, torch.float32)
    if dist == "uniform":
        return first.to(dtype)
    if dist == "gumbel":
        return (-torch.log(-torch.log(first))).to(dtype)
    second = uniform(seed, key ^ 0x5DEECE66D, places)
    return (torch.sqrt(-2 * torch.log(first)) * torch.cos(2 * math.pi * second)).to(dtype)
