"""References of specs that choose single keys or queries by content."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .case import CROSS, Arrays, Case
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    output,
    positions,
    project,
    qkv,
)


def topk_attention(weights: Arrays, inputs: Arrays, top_keys: int, causal: bool) -> Tensor:
    """Softmax over the top_keys largest scores of each row, of those with j <= i if causal."""
    q, k, v = qkv(weights, inputs, 2)
    scores = dot_scores(q, k)
    i, j = positions(*scores.shape[-2:])
    scores = scores.masked_fill((j > i) & causal, -torch.inf)
    least = scores.detach().sort(-1, descending=True).values[..., :top_keys][..., -1:]
    return output(weights, masked_softmax(scores, (scores >= least) & (scores > -torch.inf)) @ v)


def informer(
    weights: Arrays,
    inputs: Arrays,
    factor: int,
    measure: str = "paper",
    fill: str = "none",
) -> Tensor:
    """The u queries with the largest max_s - mean_s of sampled q . k attend, others take a filler.

    s: the first U = factor ceil(ln M) rows of the draws, as keys; u = factor ceil(ln N).
    """
    q, k, v = qkv(weights, inputs, 2)
    queries, keys = q.shape[2], k.shape[2]
    tried = min(factor * math.ceil(math.log(keys)), keys, inputs["draw"].shape[0])
    sample = (inputs["draw"][:tried].T * keys).long()
    raw = torch.einsum("bhnd,bhnud->bhnu", q.detach(), k.detach()[:, :, sample])
    count = max(min(factor * math.ceil(math.log(queries)), queries), 0)
    rows = v.mean(2, keepdim=True).expand(*q.shape[:3], -1)
    i, j = positions(queries, keys)
    if fill != "none":
        rows = v.cumsum(2) / (1 if fill == "sum" else torch.arange(1, keys + 1)[:, None])
    if tried == 0 or count == 0:
        return output(weights, rows)
    spread = raw.amax(-1) - raw.sum(-1) / (keys if measure == "code" else tried)
    limit = spread.sort(-1, descending=True).values[..., count - 1, None]
    exact = masked_softmax(dot_scores(q, k), (j <= i) | (fill == "none")) @ v
    return output(weights, torch.where((spread >= limit)[..., None], exact, rows))


def key_draws(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Uniform numbers that name up to eight keys for each query."""
    return {"draw": torch.rand(8, length, generator=generator, dtype=torch.float64)}


def indexed(weights: Arrays, x: Tensor) -> Tensor:
    """I[t, s] = sum_n w[t, n] relu(q_I[t, n] . k_I[s])."""
    q = project(weights, "q_i", x, 2)
    k = linear(weights, "k_i", x)
    return (linear(weights, "w_i", x).mT[..., None] * (q @ k[:, None].mT).relu()).sum(1)


def dsa(weights: Arrays, inputs: Arrays, heads: int, groups: int, picks: int) -> Tensor:
    """Softmax over the `picks` keys s <= t with the largest I[t, s], the same for all heads."""
    x = inputs["x"].detach()
    merit = indexed(weights, x).detach()
    i, j = positions(x.shape[1], x.shape[1])
    order = merit.masked_fill(j > i, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    seen = torch.zeros_like(merit, dtype=torch.bool).scatter(-1, order[..., :picks], True)
    q, k, v = qkv(weights, inputs, heads, groups)
    return output(weights, masked_softmax(dot_scores(q, k), (seen & (j <= i))[:, None]) @ v)


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}
ODD = ((2, 8, None), (1, 13, None), (1, 5, None))

CASES = (
    Case(
        "topk_attention",
        SMALL | {"top_keys": 3},
        lambda w, a: topk_attention(w, a, 3, False),
        (*CROSS, (1, 2, None)),
    ),
    Case(
        "topk_causal",
        SMALL | {"top_keys": 3},
        lambda w, a: topk_attention(w, a, 3, True),
        ODD,
    ),
    *(
        Case(
            "informer",
            SMALL | {"factor": 2, "samples": 8, "picks": 8, "measure": measure},
            lambda w, a, measure=measure: informer(w, a, 2, measure),
            CROSS,
            inject=key_draws,
            label=measure,
        )
        for measure in ("paper", "code")
    ),
    *(
        Case(
            "informer_causal",
            SMALL | {"factor": 1, "samples": 8, "picks": 8, "fill": fill},
            lambda w, a, fill=fill: informer(w, a, 1, fill=fill),
            ODD,
            inject=key_draws,
            label=fill,
        )
        for fill in ("mean", "sum")
    ),
    Case(
        "dsa",
        {"d_model": 8, "heads": 4, "kv_heads": 2, "heads_index": 2, "d_index": 3, "picks": 4},
        lambda w, a: dsa(w, a, 4, 2, 4),
        ODD,
    ),
)
