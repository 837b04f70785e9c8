"""References of Sinkhorn attention: blocks of keys, softly sorted."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .case import Arrays, Case
from .pieces import (
    dot_scores,
    linear,
    output,
    project,
)


def sinkhorn(
    weights: Arrays, inputs: Arrays, heads: int, block: int, tau: float, rounds: int, form: str
) -> Tensor:
    """Block I sees its own keys and K~_I = sum_J R_IJ K_J, R the Sinkhorn of the block scores.

    concat: one softmax over [K~_I ; K_I]. sum: softmax of q . (K~_I + K_I), values V~_I.
    """
    x = inputs["x"]
    batch, length, _ = x.shape
    count = -(-length // block)
    q, k, v = (project(weights, name, x, heads) for name in ("q", "k", "v"))
    pad = (0, 0, 0, count * block - length)
    content = torch.nn.functional.pad(x, pad).unflatten(1, (count, block)).sum(2)
    hidden = linear(weights, "sort_in", content).relu()
    logits = linear(weights, "sort_out", hidden).unflatten(-1, (heads, -1))[..., :count]
    z = (logits.transpose(1, 2) + inputs["gumbel"]) / tau
    for _ in range(rounds):
        z = z - z.logsumexp(-1, keepdim=True)
        z = z - z.logsumexp(-2, keepdim=True)
    mix = z.exp()
    rows = []
    for t in range(length):
        own, begin = t // block, t // block * block
        end = min(begin + block, length)
        k_s, v_s = q.new_zeros(2, batch, heads, block, q.shape[-1])
        for other in range(count):
            part = slice(other * block, min(other * block + block, length))
            size = part.stop - part.start
            share = mix[:, :, own, other, None, None]
            k_s = k_s + share * torch.nn.functional.pad(k[:, :, part], (0, 0, 0, block - size))
            v_s = v_s + share * torch.nn.functional.pad(v[:, :, part], (0, 0, 0, block - size))
        row = q[:, :, t : t + 1]
        near_k, near_v = k[:, :, begin:end], v[:, :, begin:end]
        if form == "concat":
            scores = dot_scores(row, torch.cat([k_s, near_k], 2))
            rows.append(scores.softmax(-1) @ torch.cat([v_s, near_v], 2))
        else:
            near_k = torch.nn.functional.pad(near_k, (0, 0, 0, block - (end - begin)))
            rows.append(dot_scores(row, k_s + near_k).softmax(-1) @ v_s)
    return output(weights, torch.cat(rows, 2))


def sinkhorn_causal(
    weights: Arrays, inputs: Arrays, heads: int, block: int, tau: float, rounds: int
) -> Tensor:
    """Block I is described by the tokens before it; R_IJ = 0 for J >= I, balanced row by row.

    A column is normalised by its sum over the rows up to its own.
    """
    x = inputs["x"]
    length = x.shape[1]
    count = -(-length // block)
    q, k, v = (project(weights, name, x, heads) for name in ("q", "k", "v"))
    content = torch.stack([x[:, : start * block].sum(1) for start in range(count)], 1)
    hidden = linear(weights, "sort_in", content).relu()
    logits = linear(weights, "sort_out", hidden).unflatten(-1, (heads, -1))[..., :count]
    z = (logits.transpose(1, 2) + inputs["gumbel"]) / tau
    before = torch.ones(count, count, dtype=torch.bool).tril(-1)
    for _ in range(rounds):
        z = z.masked_fill(~before, -torch.inf)
        z = torch.where(before, z - z.logsumexp(-1, keepdim=True), -torch.inf)
        z = torch.where(before, z - z.logcumsumexp(-2), -torch.inf)
    mix = z.masked_fill(~before, -torch.inf).exp()
    rows = []
    for t in range(length):
        own, begin = t // block, t // block * block
        keys, values = k[:, :, begin : t + 1], v[:, :, begin : t + 1]
        if own > 0:
            past = [part[:, :, :begin].unflatten(2, (own, block)) for part in (k, v)]
            share = mix[:, :, own, :own]
            sorted_k, sorted_v = (torch.einsum("bhj,bhjwd->bhwd", share, part) for part in past)
            keys, values = torch.cat([sorted_k, keys], 2), torch.cat([sorted_v, values], 2)
        rows.append(dot_scores(q[:, :, t : t + 1], keys).softmax(-1) @ values)
    return output(weights, torch.cat(rows, 2))


def gumbels(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Gumbel noise for blocks of 3 tokens, two heads."""
    count = -(-length // 3)
    uniform = torch.rand(2, count, count, generator=generator, dtype=torch.float64)
    return {"gumbel": -(-uniform.log()).log()}


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
ODD = ((2, 8, None), (1, 13, None), (1, 5, None))

CASES = (
    Case(
        "sinkhorn",
        SMALL | {"block": 3, "blocks_max": 6, "rounds": 2},
        lambda w, a: sinkhorn(w, a, 2, 3, 0.75, 2, "concat"),
        ODD,
        inject=gumbels,
    ),
    Case(
        "sinkhorn",
        SMALL | {"block": 3, "blocks_max": 6, "rounds": 2, "form": "sum"},
        lambda w, a: sinkhorn(w, a, 2, 3, 0.75, 2, "sum"),
        ODD,
        inject=gumbels,
        label="sum",
    ),
    Case(
        "sinkhorn_causal",
        SMALL | {"block": 3, "blocks_max": 6, "rounds": 2},
        lambda w, a: sinkhorn_causal(w, a, 2, 3, 0.75, 2),
        ODD,
        inject=gumbels,
    ),
)
