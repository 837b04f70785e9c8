"""What is left of a state between two tokens of a chunk, for decays of numbers and of features.

Sums of logarithms are made between the tokens, never as differences of sums from the beginning, which would be as inexact as those are large; so every factor is at most 1.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor


def logarithm(decay: Tensor) -> Tensor:
    """log of a decay that is at least 0; 0 is raised to about 1e-19, where it has a gradient still."""
    kind = torch.promote_types(decay.dtype, torch.float32)
    decay = decay.to(kind)
    least = math.sqrt(torch.finfo(kind).tiny)
    return (decay + (least - decay).clamp(min=0).detach()).log()


@dataclass(frozen=True)
class Decay:
    """How much of the state is left, in chunks of C tokens.

    between      of asks and keys: (..., C, C), the sum over features of their product, decayed
                 from the key to just before the asking token; 0 where the key is not before it
    since_start  from the beginning of the chunk to just before each token
    until_end    from each token to the end of its chunk
    whole        over whole chunks
    """

    between: Callable[[Tensor, Tensor], Tensor]
    since_start: Tensor
    until_end: Tensor
    whole: Tensor


def decay_of(decays: list[Tensor], feature_decays: list[Tensor], like: Tensor) -> Decay:
    """The decay of chunks from logarithms, (..., C) of numbers and (..., C, F) of features.

    like   asks or keys, (..., chunks, C, F); with decays of features C is a power of two
    """
    size = like.size(-2)
    if feature_decays:
        return _by_feature(total([*feature_decays, *(decay[..., None] for decay in decays)]))
    earlier = torch.ones(size, size, dtype=torch.bool, device=like.device).tril(-1)
    if not decays:
        one = like.new_ones(())
        return Decay(
            lambda ask, key: (ask @ key.mT).where(earlier, 0.0),
            one,
            one,
            like.new_ones([*(1 for _ in like.shape[:-3]), like.size(-3), 1, 1]),
        )
    log = total(decays)
    left = _segments(log).masked_fill(~earlier, -torch.inf).exp()
    since, until, whole = (item[..., None] for item in _sums(log, -1))
    return Decay(lambda ask, key: (ask @ key.mT) * left, since, until, whole)


def _segments(log: Tensor) -> Tensor:
    """Sums of what lies between two tokens: [.., t, s] = sum over s < r < t of log[.., r]."""
    size = log.size(-1)
    after = torch.ones(size, size, dtype=torch.bool, device=log.device).tril(-1)
    sums = log.unsqueeze(-1).where(after, 0.0).cumsum(-2)
    return shifted(sums, sums.dim() - 2, 0)


def _sums(log: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """What is left from the start to before each token, after each to the end, and in all."""
    place = log.dim() + dim
    since = shifted(log, place, 0).cumsum(dim)
    until = shifted(log.flip(dim), place, 0).cumsum(dim).flip(dim)
    return since.exp(), until.exp(), log.sum(dim, keepdim=True).exp()


def _by_feature(log: Tensor) -> Decay:
    """Pairs of the two halves of a chunk meet at its middle, those of a half at the middle of it.

        between[t, s] = (ask[t] since[t]) . (until[s] key[s]),  s < middle <= t

    since: from the middle to before t; until: from after s to the middle. Products of matrices,
    where factors of all pairs would be C times as many numbers.
    """
    size = log.size(-2)
    halves = [1 << level for level in range(size.bit_length() - 1)]
    factors = [_at_middles(log, half) for half in halves]

    def between(ask: Tensor, key: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(*(item.shape[:-1] for item in (ask, key, log)))
        made = ask.new_zeros(()).expand(*lead, 1, 1)
        for half, (since, until) in zip(halves, factors, strict=True):
            late = _halves(ask, half)[1] * since
            early = _halves(key, half)[0] * until
            made = _joined(made, late @ early.mT)
        return made.squeeze(-3)

    since, until, whole = _sums(log, -2)
    return Decay(between, since, until, whole)


def _halves(value: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """(..., C, F) in groups of two halves: the first and the second of all, (..., C/2h, h, F)."""
    first, second = value.unflatten(-2, (-1, 2, half)).unbind(-3)
    return first, second


def _at_middles(log: Tensor, half: int) -> tuple[Tensor, Tensor]:
    """What is left from each middle to before the later tokens, and from the earlier ones to it."""
    early, late = _halves(log, half)
    place = late.dim() - 2
    since = shifted(late, place, 0).cumsum(-2)
    until = shifted(early.flip(-2), place, 0).cumsum(-2).flip(-2)
    return since.exp(), until.exp()


def _joined(alone: Tensor, met: Tensor) -> Tensor:
    """Pairs of groups, from those within each half (..., groups * 2, h, h) and across them."""
    first, second = alone.unflatten(-3, (-1, 2)).unbind(-3)
    above = torch.cat([first, torch.zeros_like(met)], -1)
    return torch.cat([above, torch.cat([met, second], -1)], -2)


def shifted(value: Tensor, dim: int, fill: float) -> Tensor:
    """One place later along a dim, `fill` at the first."""
    edge = torch.full_like(value.narrow(dim, 0, 1), fill)
    return torch.cat([edge, value.narrow(dim, 0, value.size(dim) - 1)], dim)


def total(items: Sequence[Tensor]) -> Tensor:
    """All of them added up."""
    return reduce(operator.add, items)
