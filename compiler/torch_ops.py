"""Tensor functions that graphs call where torch has no single function of the same meaning.

All are plain torch: differentiable to any order where the mathematics is, traceable, exportable. Masked forms run over what is there and never give NaN: an empty row gives 0, its log-sum-exp -inf, its gradient 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

#: what an empty max or min of ints is, with room to add to it
LARGEST = 2**62


def as_real(value: Any, like: Tensor | None) -> Any:
    """An int or bool as a real, float32 at least, float64 where the module is."""
    if not isinstance(value, Tensor):
        return torch.sym_float(value)
    dtype = torch.float32 if like is None else torch.promote_types(like.dtype, torch.float32)
    return value.to(dtype)


def narrow(value: Tensor, like: Tensor) -> Tensor:
    """A real in the dtype of the module's parameters."""
    return value.to(like.dtype)


def same_dtype(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Two reals in the wider of their dtypes."""
    dtype = torch.promote_types(left.dtype, right.dtype)
    return left.to(dtype), right.to(dtype)


def scalar(value: Any, like: Tensor) -> Tensor:
    """A number as a tensor without dims."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, bool):
        return torch.full((), value, dtype=torch.bool, device=like.device)
    if isinstance(value, int | torch.SymInt):
        size: Any = value
        return torch.full((), size, dtype=torch.int64, device=like.device)
    dtype = torch.promote_types(like.dtype, torch.float32) if like.is_floating_point() else None
    return torch.full((), value, dtype=dtype, device=like.device)


def positions(like: Tensor, length: int, start: int | Tensor = 0) -> Tensor:
    """Global positions 0 .. length-1 plus a start; int64.

    start   a number: result (length,); per example (B,): result (B, length); positions
            themselves (B, length) are returned as they are
    """
    places = torch.arange(length, device=like.device)
    if not isinstance(start, Tensor):
        return places + start if start else places
    if start.dim() == 0:
        return places + start
    return start if start.dim() == 2 else start[:, None] + places


def distances(
    like: Tensor, queries: int, keys: int, first: int | Tensor = 0, first_key: int | Tensor = 0
) -> Tensor:
    """How far queries are behind keys, from the first key and the last query on; int64.

    first, first_key   the positions of the first query and key
    """
    return positions(like, queries + keys).neg() + (first - first_key + queries - 1)


def apart(rows: Tensor, keys: Tensor) -> Tensor:
    """Places of pairs among the distances that some rows and keys have.

    rows, keys   places (.., N) and (.., M); result (.., N, M)
    """
    if rows.numel() and keys.numel():
        rows = rows.amax(-1, keepdim=True) - rows
        keys = keys - keys.amin(-1, keepdim=True)
    return rows[..., :, None] + keys[..., None, :]


def floor_divide(left: Any, right: Any) -> Any:
    """floor(a / b), for ints too; of ints 0 where b is 0. Gradients through it are 0."""
    if isinstance(right, Tensor) and not right.is_floating_point():
        zero = right == 0
        return torch.where(zero, 0, _floored(left, torch.where(zero, 1, right)))
    return left * 0 if isinstance(right, int) and right == 0 else _floored(left, right)


def _floored(left: Any, right: Any) -> Any:
    """floor(a / b) by the function of torch that has a derivative."""
    if not isinstance(left, Tensor) and not isinstance(right, Tensor):
        return left // right
    left = left if isinstance(left, Tensor) else scalar(left, right)
    return torch.div(left, right, rounding_mode="floor")


def modulo(left: Any, right: Any) -> Any:
    """a - b * floor(a / b), for ints too; of ints a where b is 0."""
    if isinstance(right, Tensor) and not right.is_floating_point():
        zero = right == 0
        return torch.where(zero, left, left % torch.where(zero, 1, right))
    if isinstance(right, Tensor):  # of a number by an array torch has no derivative
        left = scalar(left, right)
    return left if isinstance(right, int) and right == 0 else left % right


def ceil_divide(left: Any, right: Any) -> Any:
    """ceil(a / b)."""
    return -floor_divide(-left, right)


def leaky_relu(value: Any, slope: Any) -> Tensor:
    """a where it is positive, else slope * a; the slope may be an array."""
    if not isinstance(slope, Tensor):
        return torch.nn.functional.leaky_relu(value, slope)
    value = scalar(value, slope)
    return torch.where(value > 0, value, slope * value)


def power(base: Any, exponent: Any) -> Any:
    """a to the power b; a small whole exponent is repeated multiplication."""
    if not isinstance(exponent, Tensor) and exponent == 2:
        return base * base
    return base**exponent


def maximum(left: Any, right: Any) -> Any:
    """The larger of two, tensors or numbers."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.maximum(left, right)
    if isinstance(left, Tensor):
        return _at_least(left, right)
    if isinstance(right, Tensor):
        return _at_least(right, left)
    if isinstance(left, int) and isinstance(right, int):  # torch 2.11 traces no other for numbers
        return max(left, right)
    return torch.sym_max(left, right)


def _at_least(value: Tensor, low: Any) -> Tensor:
    """The larger of two, the second a number.

    Places that are clamped to 0 or 1 and then divided, as by a view, are none for inductor: it asks for
    the range of its loop's variable where it knows of none, `vr must not be None` (torch 2.11 to 2.13).
    """
    if torch.compiler.is_compiling() and not value.is_floating_point():
        return torch.where(value > low, value, low)
    return value.clamp(min=low)


def minimum(left: Any, right: Any) -> Any:
    """The smaller of two, tensors or numbers."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return torch.minimum(left, right)
    if isinstance(left, Tensor):
        return left.clamp(max=right)
    if isinstance(right, Tensor):
        return right.clamp(max=left)
    if isinstance(left, int) and isinstance(right, int):
        return min(left, right)
    return torch.sym_min(left, right)


def clip(value: Any, low: Any, high: Any) -> Any:
    """min(max(a, lo), hi)."""
    return minimum(maximum(value, low), high)


def safe_divide(left: Any, right: Any) -> Any:
    """a / b, and 0 with gradient 0 where b is 0."""
    if isinstance(right, int | float | torch.SymInt | torch.SymFloat):
        return left * 0 if right == 0 else left / right
    zero = right == 0
    return torch.where(zero, 0.0, left / torch.where(zero, 1.0, right))


def integer(value: Any) -> Any:
    """A number as an int, towards zero."""
    return value.to(torch.int64) if isinstance(value, Tensor) else int(value)


def detach(value: Any) -> Any:
    """The value without its gradient."""
    return value.detach() if isinstance(value, Tensor) else value


def softplus(value: Tensor) -> Tensor:
    """log(1 + exp(a)), exact for all a (torch's own is linear above 20)."""
    return torch.logaddexp(value, torch.zeros_like(value))


# -- what is there --------------------------------------------------------------------------


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
    if not value.is_floating_point():
        most = LARGEST
        filled = value if where is None else torch.where(where, value, most)
        return filled.amin(tuple(dims), keep)
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


# -- reading and order ----------------------------------------------------------------------


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


def expand_heads(value: Tensor, heads: int, dim: int) -> Tensor:
    """Key/value heads repeated for their groups of query heads: head h reads h // (H / G)."""
    groups = value.shape[dim]
    if heads == groups:
        return value
    return value.repeat_interleave(heads // groups, dim)


def group_of_heads(like: Tensor, heads: int, groups: int) -> Tensor:
    """The group of each head, h // (H / G)."""
    return torch.arange(heads, device=like.device) // (heads // groups)


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


# -- random numbers by counter --------------------------------------------------------------

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


# -- small forms ----------------------------------------------------------------------------


def token_positions(like: Tensor, length: int, start: int | Tensor) -> Tensor:
    """Global positions of tokens with a batch dim: (1, length) or (B, length)."""
    places = positions(like, length, start)
    return places if places.dim() == 2 else places[None]


def filled(like: Tensor, shape: Sequence[int], value: float | int | bool) -> Tensor:
    """A constant array: bool, int64, or the real dtype of like."""
    if isinstance(value, bool):
        return torch.full(tuple(shape), value, dtype=torch.bool, device=like.device)
    dtype = torch.int64 if isinstance(value, int) else like.dtype
    return torch.full(tuple(shape), value, dtype=dtype, device=like.device)


def identity_matrix(like: Tensor, size: int) -> Tensor:
    """The identity matrix."""
    return torch.eye(size, dtype=like.dtype, device=like.device)


def any_of(value: Tensor, dims: Sequence[int]) -> Tensor:
    """Whether any holds."""
    return value.sum(tuple(dims)) > 0


def all_of(value: Tensor, dims: Sequence[int]) -> Tensor:
    """Whether all hold."""
    return torch.logical_not(any_of(torch.logical_not(value), dims))


def flat_place(first: Tensor, second: Tensor, rows: int, columns: int) -> Tensor:
    """The row-major place of a pair of places; -1 where one of them is outside."""
    inside = (first >= 0) & (first < rows) & (second >= 0) & (second < columns)
    return torch.where(inside, first * columns + second, -1)


def running_sum(value: Tensor, dim: int, reverse: bool, exclusive: bool) -> Tensor:
    """Cumulative sum along a dim; exclusive ones never see their own place, not even to subtract."""
    value = value.flip(dim) if reverse else value
    if exclusive:
        edge = torch.zeros_like(value.narrow(dim, 0, min(1, value.size(dim))))
        value = torch.cat([edge, value], dim).narrow(dim, 0, value.size(dim))
    total = torch.cumsum(value, dim)
    return total.flip(dim) if reverse else total


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


def tree_sizes(leaves: int, fanout: int, levels: int) -> list[int]:
    """How many nodes each level of a tree has, up to the root."""
    sizes = [leaves]
    while len(sizes) < levels and sizes[-1] > 1:
        sizes.append(ceil_divide(sizes[-1], fanout))
    return sizes


def tree_count(leaves: int, fanout: int, levels: int) -> int:
    """How many nodes a tree has."""
    return sum(tree_sizes(leaves, fanout, levels))


def tree_field(like: Tensor, which: str, leaves: int, fanout: int, levels: int) -> Tensor:
    """level, index in the level, first and last leaf of every node, level by level."""
    parts = []
    for level, size in enumerate(tree_sizes(leaves, fanout, levels)):
        place = torch.arange(size, device=like.device)
        if which == "level":
            place = torch.full_like(place, level)
        elif which == "first":
            place = place * fanout**level
        elif which == "last":
            place = ((place + 1) * fanout**level - 1).clamp(max=leaves - 1)
        parts.append(place)
    return torch.cat(parts)


def tree_node(level: Any, place: Any, leaves: int, fanout: int, levels: int) -> Tensor:
    """The number of the node at a place of a level; -1 where there is none."""
    sizes = tree_sizes(leaves, fanout, levels)
    device = next(item.device for item in (level, place) if isinstance(item, Tensor))
    counts = torch.tensor([*sizes, 0], device=device)
    starts = torch.cumsum(counts, 0) - counts
    level = torch.as_tensor(level, device=device).clamp(max=len(sizes))
    there = (place >= 0) & (place < counts[level.clamp(min=0)]) & (level >= 0)
    return torch.where(there, starts[level.clamp(min=0)] + place, -1)
