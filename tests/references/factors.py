"""References of family heads: latents, tensor products, convolved maps, interleaved groups."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from .case import CROSS, Arrays, Case, combined
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    merge_heads,
    output,
    positions,
    project,
    split_heads,
)
from .positional import rotated


def below(n: int) -> Tensor:
    """j <= i."""
    i, j = positions(n, n)
    return j <= i


def interleaved(weights: Arrays, inputs: Arrays, heads: int, groups: int) -> Tensor:
    """Query head h reads key and value head h mod G."""
    context = inputs.get("context", inputs["x"])
    q = project(weights, "q", inputs["x"], heads)
    k, v = (
        torch.cat([project(weights, name, context, groups)] * (heads // groups), 1)
        for name in ("k", "v")
    )
    return output(weights, masked_softmax(dot_scores(q, k)) @ v)


def rms(u: Tensor, scale: Tensor, eps: float = 1e-6) -> Tensor:
    """u / sqrt(mean u^2 + eps) * scale over the last axis."""
    return u / (u.square().mean(-1, keepdim=True) + eps).sqrt() * scale


def mla(weights: Arrays, inputs: Arrays, heads: int, d_nope: int, pairing: str) -> Tensor:
    """q = [q_n ; R q_r], k = [W_uk c ; R k_r], v = W_uv c, c = rms(W_dkv x): DeepSeek's concatenation."""
    x = inputs["x"]
    c_q = rms(linear(weights, "q_down", x), weights["q_norm.weight"])
    c = rms(linear(weights, "kv_down", x), weights["kv_norm.weight"])
    q_n, q_r = split_heads(linear(weights, "q", c_q), heads).tensor_split([d_nope], -1)
    k_r = linear(weights, "k", x)[:, None]
    width = k_r.shape[-1]
    q_r, k_r = (rotated(u, pairing, width, 10000.0) for u in (q_r, k_r))
    k_n = torch.einsum("hnr,bjr->bhjn", weights["w_k"], c)
    v = torch.einsum("hnr,bjr->bhjn", weights["w_v"], c)
    q = torch.cat([q_n, q_r], -1)
    k = torch.cat([k_n, k_r.expand(-1, heads, -1, -1)], -1)
    return output(weights, masked_softmax(dot_scores(q, k), below(x.shape[1])) @ v)


def factored(weights: Arrays, name: str, x: Tensor, rank: int, heads: int) -> Tensor:
    """(1/R) A(x)^T B(x), A (R, H), B (R, d), token by token."""
    a = linear(weights, f"a_{name}", x).unflatten(-1, (rank, heads))
    b = linear(weights, f"b_{name}", x).unflatten(-1, (rank, -1))
    return (a.mT @ b / rank).transpose(1, 2)


def tensor_product(
    weights: Arrays, inputs: Arrays, heads: int, ranks: tuple[int, int, int], pairing: str
) -> Tensor:
    """Causal softmax attention of rotated products."""
    x = inputs["x"]
    q, k, v = (factored(weights, n, x, r, heads) for n, r in zip("qkv", ranks, strict=True))
    width = q.shape[-1]
    q, k = (rotated(u, pairing, width, 10000.0) for u in (q, k))
    return output(weights, masked_softmax(dot_scores(q, k), below(x.shape[1])) @ v)


def convolved(maps: Tensor, kernel: Tensor) -> Tensor:
    """maps + depthwise convolution: rows i - taps_q + 1 .. i, columns about j; 0 outside."""
    heads, (rows, columns) = maps.shape[1], kernel.shape[-2:]
    half = columns // 2
    around = pad(maps, (half, columns - 1 - half, rows - 1, 0))
    return maps + conv2d(around, kernel.reshape(heads, 1, rows, columns), groups=heads)


def multi_token(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    taps_h: int,
    convolve: str,
    start: float | None,
) -> Tensor:
    """The map convolved before or after its softmax, its heads mixed in groups, results normed."""
    x = inputs["x"]
    q, k, v = (split_heads(linear(weights, name, x), heads) for name in "qkv")
    mask = below(x.shape[1])
    scores = dot_scores(q, k) * mask
    if convolve != "after":
        scores = convolved(scores, weights["kernel"])
    a = masked_softmax(scores, mask)
    if convolve != "before":
        a = convolved(a, weights["kernel_after"]) * mask
    mixed = torch.zeros_like(a)
    for group in range(heads // taps_h):
        for new in range(taps_h):
            for old in range(taps_h):
                part = weights["mix"][new, old, group] * a[:, group * taps_h + old]
                mixed[:, group * taps_h + new] = mixed[:, group * taps_h + new] + part
    each = mixed @ v
    if start is not None:
        each = (1 - start) * rms(each, weights["norm.weight"], 1e-5)
    return linear(weights, "out", merge_heads(each))


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
FOUR: dict[str, object] = {"d_model": 16, "heads": 4}
LATENT = DIMS | {"q_rank": 7, "kv_rank": 5, "d_nope": 3, "d_rope": 4, "d_value": 5}
PRODUCT = DIMS | {"rank_q": 3, "rank_k": 2, "rank_v": 1, "d_head": 4, "d_value": 5}
TAPS = FOUR | {"taps_q": 3, "taps_k": 5}
LONG = ((2, 8, None), (1, 13, None))

CASES = (
    Case(
        "grouped_query",
        FOUR | {"kv_heads": 2, "order": "interleaved"},
        lambda w, a: interleaved(w, a, 4, 2),
        CROSS,
        label="interleaved",
    ),
    Case(
        combined("grouped_query", "soft_cap"),
        FOUR | {"kv_heads": 2, "order": "interleaved", "cap": 1e9},
        lambda w, a: interleaved(w, a, 4, 2),
    ),
    Case("mla", LATENT, lambda w, a: mla(w, a, 2, 3, "interleaved"), LONG),
    Case(
        "mla",
        LATENT | {"form": "absorbed", "pairing": "half"},
        lambda w, a: mla(w, a, 2, 3, "half"),
        LONG,
        label="absorbed",
    ),
    Case("tensor_product", PRODUCT, lambda w, a: tensor_product(w, a, 2, (3, 2, 1), "half"), LONG),
    Case("multi_token", TAPS, lambda w, a: multi_token(w, a, 4, 2, "before", 0.2), LONG),
    Case(
        "multi_token",
        TAPS | {"taps_h": 4, "taps_k": 4, "convolve": "after", "norm": "none"},
        lambda w, a: multi_token(w, a, 4, 4, "after", None),
        label="after",
    ),
    Case(
        "multi_token",
        TAPS | {"taps_q": 2, "convolve": "both"},
        lambda w, a: multi_token(w, a, 4, 2, "both", 0.2),
        label="both",
    ),
)
