"""References of family content: visibility chosen by what the tokens hold."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import Arrays, Case
from .pieces import linear, masked_softmax, merge_heads, positions, project


def reformer(
    weights: Arrays, inputs: Arrays, heads: int, rounds: int, buckets: int, chunk: int
) -> Tensor:
    """LSH attention, per round over all pairs with a mask instead of sorted chunks.

    bucket_r(i) = argmax [P_r q_i ; -P_r q_i]; place: rank of (r, bucket, position) on one ring.
    near_r(i, j): same bucket, and place chunks of i and j equal, or that of j one before (cyclic).
    S_r = q_i . unit(q_j) / sqrt(d) - log #{r : near_r(i, j)}, self -1e5; keys near, j <= i.
    o_i = sum_r softmax_r(logsumexp_j S_r) softmax_j(S_r) v
    """
    x = inputs["x"]
    length = x.shape[1]
    qk, v = project(weights, "qk", x, heads), project(weights, "v", x, heads)
    projected = torch.einsum("hrcd,bhnd->bhrnc", weights["planes"].to(x.dtype), qk.detach())
    bucket = torch.cat([projected, -projected], dim=-1).argmax(-1)
    order_key = (bucket + buckets * torch.arange(rounds)[:, None]) * length + torch.arange(length)
    place = order_key.flatten(-2).argsort(-1).argsort(-1).view_as(bucket)
    chunks = -(-rounds * length // chunk)
    here = place // chunk
    gap = (here[..., :, None] - here[..., None, :]) % chunks
    near = (gap <= 1) & (bucket[..., :, None] == bucket[..., None, :])
    i, j = positions(length, length)
    key = qk / (qk.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    raw = (qk @ key.mT / qk.shape[-1] ** 0.5).masked_fill(i == j, -1e5)
    times = near.sum(2).clamp(min=1).to(x.dtype)
    scores = (raw - times.log())[:, :, None].expand(near.shape)
    mask = near & (j <= i)
    each = masked_softmax(scores, mask) @ v[:, :, None]
    lse = scores.masked_fill(~mask, -torch.inf).logsumexp(-1)
    merged = (lse.softmax(2)[..., None] * each).sum(2)
    return linear(weights, "out", merge_heads(merged))


def reformer_case(rounds: int, buckets: int, chunk: int) -> Case:
    return Case(
        "reformer",
        {"d_model": 16, "heads": 2, "rounds": rounds, "buckets": buckets, "chunk": chunk},
        lambda w, a: reformer(w, a, 2, rounds, buckets, chunk),
        ((2, 12, None), (1, 17, None)),
        label=f"rounds_{rounds}",
    )


CASES = (reformer_case(1, 4, 4), reformer_case(3, 4, 4))
