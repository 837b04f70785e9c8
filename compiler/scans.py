"""Linear recurrences over tokens in parallel: by blocks for single numbers, by chunks for matrices.

A loop over tokens takes N steps one after the other. Where the next state is linear in the present one, whole blocks of tokens are advanced together, and only the state at their ends goes from block to block.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from .decays import decay_of, shifted, total

#: tokens that are advanced one after the other inside a block of `scan`
BLOCK = 16
#: tokens of a chunk of `matrix_scan`; a power of two, since decays by feature halve it
CHUNK = 64


@dataclass(frozen=True)
class _Ring:
    """What a recurrence adds and multiplies with; the sums and products that change nothing."""

    add: Callable[[Tensor, Tensor], Tensor]
    times: Callable[[Tensor, Tensor], Tensor]
    zero: float
    one: float


_NUMBERS = _Ring(operator.add, operator.mul, 0.0, 1.0)
_LARGEST = _Ring(torch.maximum, operator.add, -math.inf, 0.0)


def scan(
    decay: Tensor | None, value: Tensor, first: Tensor, dim: int, largest: bool = False
) -> tuple[Tensor, Tensor]:
    """State before each token, and after the last, of a recurrence that is linear elementwise.

        h[t] = decay[t] * h[t-1] + value[t],  h[-1] = first
        largest: h[t] = max(decay[t] + h[t-1], value[t])

    decay (None: 1, or 0) and value have as many dims as first with the tokens along `dim`; sizes
    may be 1 where they broadcast, but not along the tokens. Linear in N in time and memory.
    """
    ring = _LARGEST if largest else _NUMBERS
    length = value.size(dim)
    if length == 0:
        shape = list(first.shape)
        shape[dim] = 0
        return first.expand(shape), first
    if decay is None:
        decay = torch.full_like(value.narrow(dim, 0, 1), ring.one).expand_as(value)
    products, states = _inclusive(ring, decay, value, dim)
    states = ring.add(states, ring.times(products, first))
    before = torch.cat([first, states.narrow(dim, 0, length - 1)], dim)
    return before, states.narrow(dim, length - 1, 1)


def _inclusive(ring: _Ring, decay: Tensor, value: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Products of the decays up to each token, and its state when the first is zero."""
    length = value.size(dim)
    if length <= BLOCK:
        return _one_by_one(ring, decay, value, dim)
    blocks = -(-length // BLOCK)
    decay = _padded(decay, dim, blocks * BLOCK, ring.one).unflatten(dim, (blocks, BLOCK))
    value = _padded(value, dim, blocks * BLOCK, ring.zero).unflatten(dim, (blocks, BLOCK))
    products, states = _one_by_one(ring, decay, value, dim + 1)
    last = (products.select(dim + 1, BLOCK - 1), states.select(dim + 1, BLOCK - 1))
    ends = zip(_inclusive(ring, *last, dim), (ring.one, ring.zero), strict=True)
    product, state = (shifted(end, dim, fill).unsqueeze(dim + 1) for end, fill in ends)
    states = ring.add(states, ring.times(products, state)).flatten(dim, dim + 1)
    products = ring.times(products, product).flatten(dim, dim + 1)
    return products.narrow(dim, 0, length), states.narrow(dim, 0, length)


def _one_by_one(ring: _Ring, decay: Tensor, value: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    products: list[Tensor] = []
    states: list[Tensor] = []
    for step, added in zip(decay.unbind(dim), value.unbind(dim), strict=True):
        products.append(ring.times(products[-1], step) if products else step)
        states.append(ring.add(ring.times(states[-1], step), added) if states else added)
    full = torch.broadcast_tensors(*states)  # the first lacks what only decays spread over
    return torch.stack(products, dim), torch.stack(full, dim)


def _cuts(length: int, size: int) -> tuple[int, int]:
    """How many chunks of which size; a short sequence is one chunk of its own length."""
    if not isinstance(length, torch.SymInt) and length <= size:
        return 1, max(length, 1)
    return -(-length // size), size


def _chunks(value: Tensor, dim: int, count: int, size: int) -> Tensor:
    """A dim, counted from the end, cut into chunks, the last filled up with zeros."""
    value = _padded(value, value.dim() + dim, count * size, 0.0)
    return value.view(*value.shape[:dim], count, size, *value.shape[value.dim() + dim + 1 :])


def _padded(value: Tensor, dim: int, length: int, fill: float) -> Tensor:
    """Filled up along a dim to a length; not copied where it has that length."""
    if not isinstance(length, torch.SymInt) and length == value.size(dim):
        return value
    after = [0, 0] * (value.dim() - 1 - dim)
    return torch.nn.functional.pad(value, [*after, 0, length - value.size(dim)], value=fill)


def product(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """What each query reads from the outer products of all keys and values.

        y[i] = sum over j of (query[i] . key[j]) value[j]

    query (..., N, F), key (..., M, F), value (..., M, V); in the cheaper of the two orders, and
    with few tokens by their scores, whose rounding cancels between a row and its sum.
    """
    query, key, value = accumulated(query, key, value)
    (n, width), m, out = query.shape[-2:], key.size(-2), value.size(-1)
    known = not any(isinstance(size, torch.SymInt) for size in (n, m))
    if known and n * m <= max(CHUNK**2, (n + m) * width * out // (width + out)):
        return (query @ key.mT) @ value
    return query @ (key.mT @ value)


def accumulated(*items: Tensor) -> list[Tensor]:
    """In the widest of their dtypes, float32 at least."""
    kind = reduce(torch.promote_types, (item.dtype for item in items), torch.float32)
    return [item.to(kind) for item in items]


def prefix_product(query: Tensor, key: Tensor, value: Tensor, inclusive: bool) -> Tensor:
    """What each token reads from the outer products of the tokens before it.

        y[t] = sum over s < t (inclusive: s <= t) of (query[t] . key[s]) value[s]

    query and key (..., T, F), value (..., T, V); linear in T, in chunks.
    """
    length = query.size(-2)
    count, size = _cuts(length, CHUNK)
    wide = accumulated(query, key, value)
    query, key, value = (_chunks(item, -2, count, size) for item in wide)
    here = (query @ key.mT).tril(0 if inclusive else -1) @ value
    added = key.mT @ value
    before = shifted(added.cumsum(-3), added.dim() - 3, 0)
    made: Tensor = here + query @ before
    return made.flatten(-3, -2).narrow(-2, 0, length)


def prefix_softmax(score: Tensor, value: Tensor, dim: int, inclusive: bool) -> Tensor:
    """Means of the values so far, weighted by exponentials of scores that queries have no part in.

        y[t] = sum over s < t (inclusive: s <= t) of exp(score[s]) value[s] / the same without value

    score and value have the tokens along `dim` and sizes that broadcast. Sums are kept relative
    to the largest score so far; where nothing was seen the mean is 0. Linear in T.
    """
    score, value = accumulated(score, value)
    peak = torch.cummax(score.detach().clamp(min=torch.finfo(score.dtype).min / 2), dim).values
    length = score.size(dim)
    earlier = torch.cat([peak.narrow(dim, 0, min(1, length)), peak.narrow(dim, 0, length)], dim)
    fade = (earlier.narrow(dim, 0, length) - peak).exp()
    gain = (score - peak).exp()
    sums = []
    for added in (gain * value, gain):
        nothing = torch.zeros_like(added.narrow(dim, 0, min(1, length)))
        before, _ = scan(fade.expand_as(added), added, nothing, dim)
        sums.append(before * fade + added if inclusive else before)
    total, weight = sums
    there = weight > 0
    return torch.where(there, total / torch.where(there, weight, 1.0), 0.0)


def matrix_scan(
    first: Tensor,
    decays: Sequence[Tensor],
    feature_decays: Sequence[Tensor],
    writes: Sequence[tuple[Tensor | None, Tensor]],
    reads: Sequence[Tensor],
    feeds: Sequence[tuple[int, int, Tensor]],
) -> tuple[list[Tensor], Tensor]:
    """Reads of a matrix state that decays and is written to by outer products; its last value.

        y[t, s] = W[t-1] e[t, s]
        u[t, r] = b[t, r] + sum of c * y[t, s] over the feeds (r, s, c)
        W[t] = a[t] W[t-1] diag(d[t]) + sum_r u[t, r] (x) k[t, r]

    first           W[-1], (..., V, F)
    decays          a: logarithms (..., T), added up
    feature_decays  d: logarithms (..., T, F), added up
    writes          (b, k): (..., T, V) or None for 0, and (..., T, F)
    reads           e: (..., T, F)
    feeds           c: (..., T); a read that goes into a write, as in the delta rule

    Inside a chunk the state is never formed: reads see the writes of their own chunk through
    products of keys (with feeds: the solution of a triangular system), those before through the
    state at its beginning. Decays enter as exp(sum of logarithms between two tokens), at most 1.
    Linear in T in time and memory; C the length of a chunk: T (C + F) V numbers.
    """
    length = (reads[0] if reads else writes[0][1]).size(-2)
    count, chunk = _cuts(length, CHUNK)
    if feature_decays:
        chunk = 1 << (chunk - 1).bit_length()
    given = (first, *decays, *feature_decays, *reads, *(key for _, key in writes))
    kind = reduce(torch.promote_types, (item.dtype for item in given), torch.float32)

    def cut(value: Tensor, dim: int) -> Tensor:
        return _chunks(value.to(kind), dim, count, chunk)

    first = first.to(kind)
    asks = [cut(ask, -2) for ask in reads]
    keys = [cut(key, -2) for _, key in writes]
    rows = torch.broadcast_shapes(*(item.shape[:-1] for item in (*asks, *keys)))
    bases = [
        keys[0].new_zeros(()).expand(*rows, first.size(-2)) if base is None else cut(base, -2)
        for base, _ in writes
    ]
    decay = decay_of([cut(a, -1) for a in decays], [cut(d, -2) for d in feature_decays], keys[0])
    met = [[decay.between(ask, key) for key in keys] for ask in asks]
    from_start = [ask * decay.since_start for ask in asks]
    to_end = [key * decay.until_end for key in keys]
    if feeds:
        taken = [(r, s, cut(c, -1)) for r, s, c in feeds]
        put, begins, last = _with_feeds(bases, to_end, met, from_start, taken, decay.whole, first)
    else:
        put = bases
        added = total([base.mT @ key for base, key in zip(bases, to_end, strict=True)])
        place = added.dim() - 3
        begins, last = scan(decay.whole, added, first.unsqueeze(-3), place)
        last = last.squeeze(place)
    made = []
    for ask, row in zip(from_start, met, strict=True):
        seen = total([ask @ begins.mT, *(near @ what for near, what in zip(row, put, strict=True))])
        made.append(seen.flatten(-3, -2).narrow(-2, 0, length))
    return made, last


def _with_feeds(
    bases: list[Tensor],
    to_end: list[Tensor],
    met: list[list[Tensor]],
    from_start: list[Tensor],
    feeds: list[tuple[int, int, Tensor]],
    whole: Tensor,
    first: Tensor,
) -> tuple[list[Tensor], Tensor, Tensor]:
    """What is written where reads go into writes, the state at the start of each chunk, the last.

        (1 - A) u = b + c (e . W)

    A says how a write goes, by the reads after it, into later writes of the chunk. The system is
    solved once for b and once for c e, so that u = p + q W is all that is left from chunk to chunk.
    """
    count = len(bases)
    nothing = met[0][0] * 0
    asked = [
        total([from_start[0] * 0, *(c[..., None] * from_start[s] for r, s, c in feeds if r == row)])
        for row in range(count)
    ]
    paths = [
        total([nothing, *(c[..., None] * met[s][source] for r, s, c in feeds if r == row)])
        for row in range(count)
        for source in range(count)
    ]
    size = bases[0].size(-2)
    square = torch.stack(torch.broadcast_tensors(*paths), -1).unflatten(-1, (count, count))
    square = square.movedim(-2, -3).flatten(-2).flatten(-3, -2)  # (C rows, C rows), token first
    given, asking = _rows(bases), _rows(asked)
    lead = torch.broadcast_shapes(square.shape[:-2], given.shape[:-2], asking.shape[:-2])
    right = torch.cat([given.expand(*lead, -1, -1), asking.expand(*lead, -1, -1)], -1)
    eye = torch.eye(count * size, dtype=square.dtype, device=square.device)
    system = (eye - square).expand(*lead, -1, -1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    constant, through = solved.split([given.size(-1), asking.size(-1)], -1)
    keys = _rows(to_end)
    keys = keys.expand(*torch.broadcast_shapes(lead, keys.shape[:-2]), -1, -1)
    state, begins, put = first, [], []
    kept = whole.expand(*whole.shape[:-3], solved.size(-3), -1, -1)
    # unbound, not selected one by one, whose backward would be quadratic in the chunks
    steps = zip(*(item.unbind(-3) for item in (constant, through, kept, keys)), strict=True)
    for const, through_state, left, key in steps:
        begins.append(state)
        put.append(const + through_state @ state.mT)
        state = left * state + put[-1].mT @ key
    shape = state.shape
    rows = torch.stack(put, -3).unflatten(-2, (size, count)).unbind(-2)
    return list(rows), torch.stack([item.expand(shape) for item in begins], -3), state


def _rows(items: list[Tensor]) -> Tensor:
    """(..., C, F) of each write -> (..., C * writes, F), token first."""
    return torch.stack(torch.broadcast_tensors(*items), -2).flatten(-3, -2)
