"""Entries read by place, order, and entries sent to places."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .numbers import clip, safe_divide
from .present import LARGEST, masked_max, masked_min


def take(table: Tensor, index: Tensor, checked: bool) -> Tensor:
    """table[index] along the first dim; with checked, a place outside (-1, the end) reads 0."""
    if not checked and table.dim() == 2 and table.is_floating_point():
        return torch.nn.functional.embedding(index, table)  # its backward is deterministic
    if not checked:
        return table[index]
    last = table.shape[0] - 1
    found = table[clip(index, 0, last)]
    there = ((index >= 0) & (index <= last)).reshape(index.shape + (1,) * (table.dim() - 1))
    return torch.where(there, found, torch.zeros((), dtype=found.dtype, device=found.device))


def take_along(value: Tensor, index: Tensor, dim: int, checked: bool) -> Tensor:
    """value read along a dim, other dims broadcast; with checked, a place outside reads 0."""
    if not checked:
        return _along(value, index, dim)
    last = value.shape[dim] - 1
    there = (index >= 0) & (index <= last)
    if not torch.compiler.is_compiling() and math.prod(index.shape[dim:]) > value.shape[dim] > 0:
        # one more row of zeros is cheaper than zeros put into what is read
        value = torch.cat([value, torch.zeros_like(value.narrow(dim, 0, 1))], dim)
        return _along(value, index.where(there, last + 1), dim)
    found = _along(value, clip(index, 0, last), dim)
    return torch.where(there, found, torch.zeros((), dtype=found.dtype, device=found.device))


def _along(value: Tensor, index: Tensor, dim: int) -> Tensor:
    """What is at places that are there; where whole rows are read, by one index for each of them."""
    outer, inner = value.shape[:dim], value.shape[dim + 1 :]
    rows = value.is_floating_point() and math.prod(inner) > 1 and math.prod(value.shape) > 0
    if not rows or any(size != 1 for size in index.shape[dim + 1 :]):
        return _gathered(value, index, dim)
    index = index.flatten(dim)
    if any(size not in (1, own) for size, own in zip(index.shape, outer, strict=False)):
        return _gathered(value, index.unflatten(dim, (-1, *(1,) * len(inner))), dim)
    count = math.prod(outer)
    first = torch.arange(0, count * value.shape[dim], value.shape[dim], device=index.device)
    places = index + first.reshape(*outer, 1)
    table = value.reshape(count * value.shape[dim], -1)
    found: Tensor = torch.nn.functional.embedding(places, table).unflatten(-1, inner)
    return found


def _gathered(value: Tensor, index: Tensor, dim: int) -> Tensor:
    """torch.take_along_dim, which would wrap places that are below 0 by another operation."""
    both = [torch.broadcast_shapes(value.shape[:dim], index.shape[:dim])]
    both.append(torch.broadcast_shapes(value.shape[dim + 1 :], index.shape[dim + 1 :]))
    spread = value.expand(*both[0], value.shape[dim], *both[1])
    return spread.gather(dim, index.expand(*both[0], index.shape[dim], *both[1]))


def top(value: Tensor, size: int, dim: int, where: Tensor | None) -> Tensor:
    """Places of the largest entries, largest first, ties to the first; -1 where fewer compete."""
    least = -math.inf if value.is_floating_point() else -LARGEST
    if where is not None:
        value, where = torch.broadcast_tensors(value, where)
        value = torch.where(where, value, least)
    order = torch.sort(value.detach(), dim=dim, descending=True, stable=True)
    found = order.indices.narrow(dim, 0, min(size, value.shape[dim]))
    there = order.values.narrow(dim, 0, min(size, value.shape[dim])) != least
    found = torch.where(there, found, -1)
    lacking = size - found.shape[dim]
    if lacking > 0:
        shape = list(found.shape)
        shape[dim] = lacking
        found = torch.cat([found, found.new_full(shape, -1)], dim)
    return found


def choose(value: Tensor, dim: int, where: Tensor | None, smallest: bool) -> Tensor:
    """The place of the largest (smallest) entry, ties to the first; -1 where nothing competes."""
    value = value.detach()
    best = (masked_min if smallest else masked_max)(value, where, (dim,), True)
    hit = value == best
    if where is not None:
        hit = hit & where
    place = torch.arange(value.shape[dim], device=value.device)
    place = place.reshape((-1,) + (1,) * (value.dim() - 1 - dim % value.dim()))
    first = torch.where(hit, place, value.shape[dim]).amin(dim)
    return torch.where(first == value.shape[dim], -1, first)


def sort_order(keys: Sequence[Tensor]) -> Tensor:
    """Stable ascending order along the last dim, the first key the most significant."""
    keys = torch.broadcast_tensors(*keys)
    order = torch.argsort(keys[-1].detach(), dim=-1, stable=True)
    for key in reversed(keys[:-1]):
        moved = key.detach().gather(-1, order)
        order = order.gather(-1, torch.argsort(moved, dim=-1, stable=True))
    return order


def inverse_order(order: Tensor) -> Tensor:
    """The place that each token took."""
    return torch.argsort(order, -1)


def scatter_rows(value: Tensor, index: Tensor, size: int, mode: str, eps: float) -> Tensor:
    """Rows of value (batch, n, width) sent to places (batch, n) of (batch, size, width).

    A place outside (-1, the end) takes nothing; `set` takes the last writer, `add` sums, `mean` divides by count + eps.
    """
    there = (index >= 0) & (index < size)
    place = torch.where(there, index, size)
    if mode == "set":
        writer = torch.arange(index.shape[1], device=index.device).expand_as(index)
        last = torch.full((index.shape[0], size + 1), -1, device=index.device, dtype=torch.int64)
        last = last.scatter_reduce(1, place, writer, "amax")[:, :size]
        return take_along(value, last[:, :, None], 1, True)
    wide = place[:, :, None].expand(-1, -1, value.shape[2])
    total = value.new_zeros(value.shape[0], size + 1, value.shape[2])
    total = total.scatter_add(1, wide, value)[:, :size]
    if mode == "add":
        return total
    count = torch.zeros(index.shape[0], size + 1, device=value.device, dtype=value.dtype)
    count = count.scatter_add(1, place, there.to(value.dtype))[:, :size, None]
    mean: Tensor = safe_divide(total, count + eps)
    return mean


def scatter_along(
    value: Tensor, index: Tensor, batch: int, count: int, size: int, mode: str, eps: float
) -> Tensor:
    """scatter_rows for any shape: `batch` leading dims, `count` dims that are sent, then dims."""
    lead, width = value.shape[:batch], value.shape[batch + count :]
    sent = value.shape[batch : batch + count].numel()
    flat = value.reshape(lead.numel(), sent, width.numel())
    places = index.reshape(lead.numel(), sent)
    made = scatter_rows(flat, places, size, mode, eps)
    return made.reshape((*lead, size, *width))


def running_sum(value: Tensor, dim: int, reverse: bool, exclusive: bool) -> Tensor:
    """Cumulative sum along a dim; exclusive ones never see their own place, not even to subtract."""
    value = value.flip(dim) if reverse else value
    if exclusive:
        edge = torch.zeros_like(value.narrow(dim, 0, min(1, value.size(dim))))
        value = torch.cat([edge, value], dim).narrow(dim, 0, value.size(dim))
    total = torch.cumsum(value, dim)
    return total.flip(dim) if reverse else total
