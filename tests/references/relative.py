"""References of family positions: distances in keys, values, scores and kernels."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .case import Arrays, Case, combined, normal
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    output,
    positions,
    project,
    qkv,
    split_heads,
)
from .positional import sinusoids


def shaw(weights: Arrays, inputs: Arrays, heads: int, clip_at: int, form: str) -> Tensor:
    """S = q . (k + a_r) / sqrt(d), o = sum_j A (v + b_r), r = clip(j - i); row by row, key by key."""
    q, k, v = qkv(weights, inputs, heads)
    n, m, d = q.shape[2], k.shape[2], q.shape[-1]
    rows = []
    for i in range(n):
        labels = [max(-clip_at, min(clip_at, j - i)) + clip_at for j in range(m)]
        a = weights["rel_k"][labels]
        scores = (q[:, :, i, None] * (k + a)).sum(-1)
        if form == "keys_queries":
            scores = scores + (k * a).sum(-1)
        seen = v + weights["rel_v"][labels] if form == "keys_values" else v
        rows.append(((scores / d**0.5).softmax(-1)[..., None] * seen).sum(-2))
    return output(weights, torch.stack(rows, 2))


def transformer_xl(weights: Arrays, inputs: Arrays, heads: int, reach: int) -> Tensor:
    """S = ((q + u) . k + (q + c) . W_r R_(i-j)) / sqrt(d) over the keys [memory ; x] with j <= i."""
    x = inputs["x"]
    n = x.shape[1]
    keys = torch.cat([inputs["memory"], x], 1)
    q = project(weights, "q", x, heads)
    k, v = (project(weights, name, keys, heads) for name in ("k", "v"))
    table = sinusoids(n + reach, x.shape[-1], x.dtype)  # row t: distance t
    rel = split_heads(linear(weights, "r", table)[None], heads)[0]
    i, j = positions(n, n + reach)
    away = (i + reach - j).clamp(min=0)
    content = (q + weights["u"][:, None]) @ k.mT
    place = torch.einsum("bhid,hijd->bhij", q + weights["c"][:, None], rel[:, away])
    mask = j <= i + reach
    if "filled" in inputs:
        there = torch.cat([inputs["filled"], torch.ones(x.shape[:2], dtype=torch.bool)], 1)
        mask = mask & there[:, None, None]
    return output(weights, masked_softmax((content + place) / q.shape[-1] ** 0.5, mask) @ v)


def segment(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A memory of five tokens of width 12."""
    return {"memory": normal(generator, batch, 5, 12)}


def partly_filled(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A memory of five places, some of them empty."""
    filled = torch.rand(batch, 5, generator=generator) < 0.6
    return {**segment(generator, batch, length, context), "filled": filled}


def log_bucket(t: int, half: int, distance: int) -> int:
    """t when near, then sign(t) (half + ceil(log(|t| / half) / log((distance-1) / half) (half-1)))."""
    if abs(t) <= half:
        return t
    far = math.log(abs(t) / half) / math.log((distance - 1) / half) * (half - 1)
    return (half + math.ceil(far - 1e-6)) * (1 if t > 0 else -1)


def deberta(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    reach: int,
    shared: bool = False,
    code: bool = False,
    distance: int | None = None,
) -> Tensor:
    """S = (q_i . k_j + q_i . K_r[d(i,j)] + k_j . Q_r[d(j,i)]) / sqrt(3 d), d(i,j) = i - j + reach."""
    q, k, v = qkv(weights, inputs, heads)
    n = q.shape[2]

    def d(t: int) -> int:
        t = t if distance is None else log_bucket(t, reach // 2, distance)
        return min(max(t + reach, 0), 2 * reach - 1)

    place = weights["place"][None]
    k_r = project(weights, "k" if shared else "k_r", place, heads)
    q_r = project(weights, "q" if shared else "q_r", place, heads)
    to = torch.tensor([[d(i - j) for j in range(n)] for i in range(n)])
    back = to if code else torch.tensor([[d(j - i) for j in range(n)] for i in range(n)])
    scores = q @ k.mT + torch.einsum("bhid,hijd->bhij", q, k_r[0][:, to])
    scores = scores + torch.einsum("bhjd,hijd->bhij", k, q_r[0][:, back])
    return output(weights, masked_softmax(scores / (3 * q.shape[-1]) ** 0.5) @ v)


def kerple(weights: Arrays, inputs: Arrays, heads: int, power: bool, causal: bool) -> Tensor:
    """S = q k^T / sqrt(d) - r1 log(1 + r2 |i-j|), or - r1 |i-j|^r2."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    away = (i - j).abs().to(q.dtype)
    r1, r2 = weights["r1"][:, None, None], weights["r2"][:, None, None]
    raised = torch.where(away == 0, 0.0, away.clamp(min=1) ** r2)
    kernel = raised if power else (r2 * away).log1p()
    return output(
        weights, masked_softmax(dot_scores(q, k) - r1 * kernel, j <= i if causal else None) @ v
    )


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
LONG = ((2, 8, None), (1, 13, None), (1, 17, None))

CASES = (
    Case("shaw", DIMS | {"clip_at": 3}, lambda w, a: shaw(w, a, 2, 3, "keys_values"), LONG),
    *(
        Case(
            "shaw",
            DIMS | {"clip_at": 4, "form": form},
            lambda w, a, form=form: shaw(w, a, 2, 4, form),
            label=form,
        )
        for form in ("keys", "keys_queries")
    ),
    Case(
        "transformer_xl",
        DIMS | {"reach": 5},
        lambda w, a: transformer_xl(w, a, 2, 5),
        ((2, 6, None), (1, 9, None), (1, 3, None)),
        inputs=segment,
    ),
    Case(
        "transformer_xl",
        DIMS | {"reach": 5},
        lambda w, a: transformer_xl(w, a, 2, 5),
        inputs=partly_filled,
        label="partly_filled",
    ),
    Case("deberta", DIMS | {"reach": 4}, lambda w, a: deberta(w, a, 2, 4), LONG),
    Case(
        "deberta",
        DIMS | {"reach": 5, "keys": "shared", "index": "code"},
        lambda w, a: deberta(w, a, 2, 5, shared=True, code=True),
        label="shared",
    ),
    Case(
        "deberta",
        DIMS | {"reach": 6, "keys": "shared", "index": "code", "buckets": "log", "distance": 14},
        lambda w, a: deberta(w, a, 2, 6, shared=True, code=True, distance=14),
        ((1, 17, None),),
        label="log",
    ),
    Case("kerple", DIMS, lambda w, a: kerple(w, a, 2, False, False), LONG),
    Case(
        "kerple", DIMS | {"form": "power"}, lambda w, a: kerple(w, a, 2, True, False), label="power"
    ),
    Case(combined("kerple", "causal"), DIMS, lambda w, a: kerple(w, a, 2, False, True)),
)
