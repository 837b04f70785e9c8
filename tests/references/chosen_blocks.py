"""References of specs that choose blocks of keys by content."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import Arrays, Case
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    output,
    positions,
    project,
    qkv,
)


def nsa(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    groups: int,
    width: int,
    stride: int,
    block: int,
    picks: int,
    window: int,
) -> Tensor:
    """o = g_c o_c + g_s o_s + g_w o_w: compressed windows, selected blocks, last tokens.

    The importance of a block is the compressed weight of its group of heads, counted once for
    every `stride` tokens that a compressed window and the block share; first and last two forced.
    """
    x = inputs["x"]
    batch, length, _ = x.shape
    q = project(weights, "q", x, heads)
    i, j = positions(length, length)
    starts = list(range(0, length - width + 1, stride))
    gates = linear(weights, "gate", x).sigmoid().unflatten(-1, (heads, 3)).transpose(1, 2)
    small = torch.zeros(*q.shape, dtype=q.dtype)
    blocks = -(-length // block)
    mass = torch.zeros(batch, groups, length, blocks, dtype=q.dtype)
    if starts:
        pooled = torch.stack(
            [(x[:, s : s + width] + weights["place"]).flatten(-2) for s in starts], 1
        )
        inside = torch.nn.functional.gelu(linear(weights, "inside", pooled))
        k, v = (project(weights, name, inside, heads, groups) for name in ("k_c", "v_c"))
        last = torch.tensor(starts)[None, :] + width - 1
        a = masked_softmax(dot_scores(q, k), last <= i)
        small = a @ v
        by_group = a.detach().unflatten(1, (groups, -1)).sum(2)
        for m, s in enumerate(starts):
            for cell in range(s, s + width, stride):
                mass[..., cell // block] += by_group[..., m]
    sees = torch.zeros(batch, groups, length, blocks, dtype=torch.bool)
    for t in range(length):
        own = t // block
        mass[:, :, t, [0, own]] += 1e3
        if own > 0 and own - 1 != 0:
            mass[:, :, t, own - 1] += 1e3
        best = mass[:, :, t, : own + 1].argsort(dim=-1, descending=True, stable=True)[..., :picks]
        sees[:, :, t].scatter_(-1, best, True)
    chosen = sees.repeat_interleave(heads // groups, 1)[..., (torch.arange(length) // block)]
    k, v = (project(weights, name, x, heads, groups) for name in ("k_s", "v_s"))
    picked = masked_softmax(dot_scores(q, k), chosen & (j <= i)) @ v
    k, v = (project(weights, name, x, heads, groups) for name in ("k_w", "v_w"))
    near = masked_softmax(dot_scores(q, k), (j <= i) & (i - j < window)) @ v
    mixed = gates[..., :1] * small + gates[..., 1:2] * picked + gates[..., 2:] * near
    return output(weights, mixed)


def moba(
    weights: Arrays, inputs: Arrays, heads: int, groups: int, block: int, picks: int
) -> Tensor:
    """Own block, causal, and the earlier blocks J with the `picks` largest q . mean(K_J)."""
    x = inputs["x"]
    q, k, v = qkv(weights, inputs, heads, groups)
    length = x.shape[1]
    seen = torch.zeros(*q.shape[:3], length, dtype=torch.bool)
    for b in range(q.shape[0]):
        for h in range(heads):
            means = [part.mean(0) for part in k[b, h].detach().split(block)]
            for t in range(length):
                own = t // block
                gates = [float(q[b, h, t].detach() @ means[past]) for past in range(own)]
                best = sorted(range(own), key=lambda past: -gates[past])[:picks]
                for chosen in (*best, own):
                    seen[b, h, t, chosen * block : min((chosen + 1) * block, t + 1)] = True
    return output(weights, masked_softmax(dot_scores(q, k), seen) @ v)


NSA = {"d_model": 16, "heads": 4, "kv_heads": 2, "width": 4, "stride": 2, "block": 4}

CASES = (
    Case(
        "nsa",
        NSA | {"picks": 3, "window": 3},
        lambda w, a: nsa(w, a, 4, 2, 4, 2, 4, 3, 3),
        ((2, 9, None), (1, 17, None), (1, 3, None)),
    ),
    Case(
        "moba",
        {"d_model": 8, "heads": 4, "kv_heads": 2, "block": 3, "picks": 2},
        lambda w, a: moba(w, a, 4, 2, 3, 2),
        ((2, 8, None), (1, 17, None), (1, 2, None)),
    ),
)
