"""Rows and reductions over what is there: never NaN, an empty row gives 0, its log-sum-exp -inf, its gradient 0."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: what an empty max or min of ints is, with room to add to it
LARGEST = 2**62


def is_there(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Pairs that are visible and whose score is not -inf."""
    finite = scores != -math.inf
    return finite if mask is None else finite & mask


def fill_rows(scores: Tensor, present: Tensor, dim: int) -> Tensor:
    """Scores with absent pairs replaced by the largest present score of their row, or 0.

    A row function evaluated there stays finite, forward and backward; its result is then masked.
    """
    with torch.no_grad():
        largest = masked_max(scores, present, (dim,), True)
        largest = torch.where(largest == -math.inf, 0.0, largest)
    return torch.where(present, scores, largest)


def softmax(scores: Tensor, present: Tensor | None, dim: int) -> Tensor:
    """Softmax over what is there; 0 where nothing is."""
    if present is None:
        return torch.softmax(scores, dim)
    filled = scores.masked_fill(~present, torch.finfo(scores.dtype).min)
    return torch.softmax(filled, dim).masked_fill(~present, 0.0)


def masked_sum(value: Tensor, where: Tensor, dims: Sequence[int], keep: bool = False) -> Tensor:
    """Sum of what is there."""
    return torch.where(where, value, 0).sum(tuple(dims), keep)


def masked_mean(value: Tensor, where: Tensor, dims: Sequence[int], keep: bool = False) -> Tensor:
    """Mean of what is there, 0 where nothing is."""
    value, where = torch.broadcast_tensors(value, where)
    count = where.sum(tuple(dims), keepdim=keep).clamp(min=1)
    return masked_sum(value, where, dims, keep) / count


def masked_max(
    value: Tensor, where: Tensor | None, dims: Sequence[int], keep: bool = False
) -> Tensor:
    """Largest of what is there, -inf (or the smallest int) where nothing is."""
    least = -LARGEST if not value.is_floating_point() else -math.inf
    if where is not None:
        value = torch.where(where, value, least)
    if any(value.shape[dim] == 0 for dim in dims):
        shape = [1 if n in _places(dims, value) else s for n, s in enumerate(value.shape)]
        empty = value.new_full(shape, least)
        return empty if keep else empty.squeeze(tuple(dims))
    return value.amax(tuple(dims), keep)


def masked_min(
    value: Tensor, where: Tensor | None, dims: Sequence[int], keep: bool = False
) -> Tensor:
    """Smallest of what is there, +inf (or the largest int) where nothing is."""
    return -masked_max(-value, where, dims, keep)


def _places(dims: Sequence[int], value: Tensor) -> set[int]:
    return {dim % value.dim() for dim in dims}


def masked_logsumexp(
    value: Tensor, where: Tensor | None, dims: Sequence[int], keep: bool = False
) -> Tensor:
    """log of the sum of exponentials of what is there; -inf with gradient 0 where nothing is."""
    present = is_there(value, where)
    value, present = torch.broadcast_tensors(value, present)
    some = present.any(dims[0], True) if len(dims) == 1 else _any(present, dims)
    filled = torch.where(present, value, torch.finfo(value.dtype).min)
    safe = torch.where(some, filled, 0.0)
    result = torch.logsumexp(safe, tuple(dims), True)
    result = torch.where(some, result, -math.inf)
    return result if keep else result.squeeze(tuple(dims))


def _any(value: Tensor, dims: Sequence[int]) -> Tensor:
    for dim in dims:
        value = value.any(dim, True)
    return value


def any_of(value: Tensor, dims: Sequence[int]) -> Tensor:
    """Whether any holds."""
    return value.sum(tuple(dims)) > 0


def all_of(value: Tensor, dims: Sequence[int]) -> Tensor:
    """Whether all hold."""
    return torch.logical_not(any_of(torch.logical_not(value), dims))


def entmax(scores: Tensor, present: Tensor | None, alpha: float | Tensor, dim: int) -> Tensor:
    """alpha-entmax along a dim over what is there (Peters et al. 2019); 0 where nothing is.

        p = relu((alpha - 1) z - tau)^(1 / (alpha - 1)),   sum p = 1

    tau is found by bisection without gradient; Newton steps then make it exact and give it the
    right derivatives.
    """
    slope = alpha - 1.0
    z = scores * slope
    if not isinstance(z.size(dim), torch.SymInt) and z.size(dim) == 0:
        return z
    if present is not None:
        z = torch.where(present, z, -math.inf)
        some = present.any(dim, True)
        z = torch.where(some, z, 0.0)
    exponent = 1.0 / slope
    with torch.no_grad():
        high = z.amax(dim, True)
        low = high - 1.0
        for _ in range(60 if z.dtype == torch.float64 else 30):
            middle = (low + high) / 2
            mass = ((z - middle).clamp(min=0) ** exponent).sum(dim, True)
            low = torch.where(mass >= 1, middle, low)
            high = torch.where(mass >= 1, high, middle)
        support = z > low
        tau = low
    for _ in range(2):  # two steps: exact to the third derivative
        inner = torch.where(support, z - tau, 1.0)
        mass = torch.where(support, inner**exponent, 0.0).sum(dim, True)
        steep = torch.where(support, inner ** (exponent - 1), 0.0).sum(dim, True)
        tau = tau + (mass - 1) / (exponent * steep)
    inner = torch.where(support, z - tau, 1.0).clamp(min=torch.finfo(z.dtype).tiny)
    result = torch.where(support, inner**exponent, 0.0)
    if present is None:
        return result
    return torch.where(present & some, result, 0.0)
