"""References of family positions: absolute, rotary and relative positions."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .case import Arrays, Case, combined
from .pieces import dot_scores, masked_softmax, output, positions, qkv


def sinusoids(length: int, width: int, dtype: torch.dtype, base: float = 10000.0) -> Tensor:
    """P[t, 2n] = sin(t / base^(2n/D)), P[t, 2n+1] = cos(t / base^(2n/D))."""
    t = torch.arange(length, dtype=dtype)[:, None]
    n = torch.arange((width + 1) // 2, dtype=dtype)
    angle = t * base ** (-2 * n / width)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[:, :width]


def sinusoidal(weights: Arrays, inputs: Arrays) -> Tensor:
    """x + P."""
    x = inputs["x"]
    return x + sinusoids(x.shape[1], x.shape[2], x.dtype)


def learned_positions(weights: Arrays, inputs: Arrays) -> Tensor:
    """x + P[min(t, n_max - 1)]."""
    place = weights["place"]
    t = torch.arange(inputs["x"].shape[1]).clamp(max=len(place) - 1)
    return inputs["x"] + place[t]


def rotated(u: Tensor, pairing: str, width: int, base: float) -> Tensor:
    """(a, b) -> (a cos tw - b sin tw, b cos tw + a sin tw), as complex numbers times e^(i t w)."""
    turned, rest = u[..., :width], u[..., width:]
    t = torch.arange(u.shape[-2], dtype=u.dtype)[:, None]
    w = base ** (-2 * torch.arange(width // 2, dtype=u.dtype) / width)
    cos, sin = (t * w).cos(), (t * w).sin()
    if pairing == "half":
        a, b = turned.chunk(2, dim=-1)
        new = torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)
    else:
        a, b = turned[..., 0::2], turned[..., 1::2]
        new = torch.stack([a * cos - b * sin, b * cos + a * sin], dim=-1).flatten(-2)
    return torch.cat([new, rest], dim=-1)


def rope(
    weights: Arrays,
    inputs: Arrays,
    pairing: str,
    width: int,
    heads: int,
    groups: int | None = None,
    causal: bool = False,
) -> Tensor:
    """Softmax attention of rotated queries and keys."""
    q, k, v = qkv(weights, inputs, heads, groups)
    i, j = positions(q.shape[2], k.shape[2])
    scores = dot_scores(rotated(q, pairing, width, 10000.0), rotated(k, pairing, width, 10000.0))
    return output(weights, masked_softmax(scores, j <= i if causal else None) @ v)


def slopes(heads: int) -> list[float]:
    """2^(-8(h+1)/c), c the largest power of two; then every other slope of 2c heads."""
    closest = 2 ** math.floor(math.log2(heads))
    first = [2.0 ** (-8 * (h + 1) / closest) for h in range(closest)]
    extra = [2.0 ** (-8 * (h + 1) / (2 * closest)) for h in range(0, 2 * closest, 2)]
    return (first + extra)[:heads]


def alibi(weights: Arrays, inputs: Arrays, heads: int, causal: bool) -> Tensor:
    """S = q k^T / sqrt(d) - m_h |i - j|."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    slope = torch.tensor(slopes(heads), dtype=q.dtype)[:, None, None]
    scores = dot_scores(q, k) - slope * (i - j).abs()
    return output(weights, masked_softmax(scores, j <= i if causal else None) @ v)


def t5_bucket(offset: int, symmetric: bool, buckets: int, distance: int) -> int:
    """The bucket of j - i: exact when near, then logarithmic, then the last."""
    start = 0
    if symmetric:
        buckets //= 2
        start = buckets if offset > 0 else 0
        away = abs(offset)
    else:
        away = max(-offset, 0)
    exact = buckets // 2
    if away < exact:
        return start + away
    far = math.log(away / exact) / math.log(distance / exact) * (buckets - exact)
    return start + min(exact + math.floor(far + 1e-4), buckets - 1)


def t5_bias(
    weights: Arrays, inputs: Arrays, heads: int, symmetric: bool, buckets: int, distance: int
) -> Tensor:
    """S = q k^T + b_h[bucket(j - i)], unscaled."""
    q, k, v = qkv(weights, inputs, heads)
    n, m = q.shape[2], k.shape[2]
    table = [[t5_bucket(j - i, symmetric, buckets, distance) for j in range(m)] for i in range(n)]
    scores = q @ k.mT + weights["rel"][:, torch.tensor(table)]
    i, j = positions(n, m)
    return output(weights, masked_softmax(scores, None if symmetric else j <= i) @ v)


_LONG = ((2, 9, None), (1, 17, None))

CASES = (
    Case("sinusoidal", {"d_model": 12}, sinusoidal),
    Case("learned_positions", {"d_model": 12, "max_length": 10}, learned_positions),
    Case("rope", {"d_model": 16, "heads": 2}, lambda w, a: rope(w, a, "half", 8, 2)),
    Case(
        "rope",
        {"d_model": 16, "heads": 2, "pairing": "interleaved"},
        lambda w, a: rope(w, a, "interleaved", 8, 2),
        label="interleaved",
    ),
    Case(
        "rope",
        {"d_model": 16, "heads": 2, "kv_heads": 1, "d_rot": 4},
        lambda w, a: rope(w, a, "half", 4, 2, 1),
        label="partial",
    ),
    Case(
        "rope",
        {"d_model": 16, "heads": 2, "d_rot": 6, "pairing": "interleaved"},
        lambda w, a: rope(w, a, "interleaved", 6, 2),
        label="partial_interleaved",
    ),
    Case(
        combined("rope", "causal"),
        {"d_model": 16, "heads": 2},
        lambda w, a: rope(w, a, "half", 8, 2, causal=True),
    ),
    Case("alibi", {"d_model": 16, "heads": 4}, lambda w, a: alibi(w, a, 4, False)),
    Case("alibi", {"d_model": 12, "heads": 3}, lambda w, a: alibi(w, a, 3, False), label="heads_3"),
    Case(
        combined("alibi", "causal"), {"d_model": 16, "heads": 4}, lambda w, a: alibi(w, a, 4, True)
    ),
    Case(
        "t5_bias",
        {"d_model": 16, "heads": 2, "buckets": 8, "distance": 12},
        lambda w, a: t5_bias(w, a, 2, True, 8, 12),
        _LONG,
    ),
    Case(
        "t5_bias",
        {"d_model": 16, "heads": 2, "buckets": 8, "distance": 12, "form": "backward"},
        lambda w, a: t5_bias(w, a, 2, False, 8, 12),
        _LONG,
        label="backward",
    ),
)
