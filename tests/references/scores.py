"""References of families normalizers and priors: caps, norms, sticks, gates and selection."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, logsigmoid, normalize

from .case import CROSS, Arrays, Case, combined
from .pieces import (
    dot_scores,
    linear,
    masked_softmax,
    merge_heads,
    output,
    positions,
    qkv,
    split_heads,
)


def below(n: int) -> Tensor:
    """j <= i."""
    i, j = positions(n, n)
    return j <= i


def soft_cap(weights: Arrays, inputs: Arrays, heads: int, cap: float, causal: bool) -> Tensor:
    """S = cap tanh(q k^T / sqrt(d) / cap)."""
    q, k, v = qkv(weights, inputs, heads)
    scores = cap * (dot_scores(q, k) / cap).tanh()
    return output(weights, masked_softmax(scores, below(q.shape[2]) if causal else None) @ v)


def rms(u: Tensor, scale: Tensor) -> Tensor:
    """u / sqrt(mean u^2 + eps) * scale over the last axis."""
    return u / (u.square().mean(-1, keepdim=True) + 1e-6).sqrt() * scale


def qk_norm(
    weights: Arrays, inputs: Arrays, heads: int, groups: int, form: str, causal: bool = False
) -> Tensor:
    """Queries and keys normalised per head (rms, layer, l2) or before they are split (joint)."""
    context = inputs.get("context", inputs["x"])

    def normed(name: str, x: Tensor, many: int) -> Tensor:
        whole = linear(weights, name, x)
        if form == "joint":
            return split_heads(rms(whole, weights[f"{name}_norm.weight"].flatten()), many)
        each = split_heads(whole, many)
        if form == "l2":
            return normalize(each, dim=-1)
        scale = weights[f"{name}_norm.weight"]
        if form == "rms":
            return rms(each, scale)
        return layer_norm(each, scale.shape, scale, weights[f"{name}_norm.bias"])

    q = normed("q", inputs["x"], heads)
    k = normed("k", context, groups).repeat_interleave(heads // groups, dim=1)
    v = qkv(weights, inputs, heads, groups)[2]
    scores = weights["gain"] * (q @ k.mT) if form == "l2" else dot_scores(q, k)
    return output(weights, masked_softmax(scores, below(q.shape[2]) if causal else None) @ v)


def relu_attention(
    weights: Arrays, inputs: Arrays, heads: int, power: int, alpha: float, row: bool
) -> Tensor:
    """A = relu(S)^p / n^a, n the number of keys, or i + 1 of causal rows."""
    q, k, v = qkv(weights, inputs, heads)
    a = dot_scores(q, k).clamp(min=0) ** power
    if row:
        many = torch.arange(1, q.shape[2] + 1, dtype=q.dtype)[:, None]
        a = a * below(q.shape[2])
    else:
        many = torch.tensor(float(k.shape[2]), dtype=q.dtype)
    return output(weights, a / many**alpha @ v)


def stick_breaking(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """A_ij = sigmoid(z_ij) prod_{j < l < i} (1 - sigmoid(z_il)), walking back from each token."""
    q, k, v = qkv(weights, inputs, heads)
    z = dot_scores(q, k)
    rows = []
    for i in range(q.shape[2]):
        left = torch.zeros_like(z[:, :, 0, 0])  # log of what is left of the stick
        o = torch.zeros_like(v[:, :, 0])
        for j in reversed(range(i)):
            share = (logsigmoid(z[:, :, i, j]) + left).exp()
            o = o + share[..., None] * v[:, :, j]
            left = left + logsigmoid(-z[:, :, i, j])
        rows.append(o)
    return output(weights, torch.stack(rows, 2))


def forgetting(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """S = q k^T / sqrt(d) + sum_{j < l <= i} log f_l, f = sigmoid(W x + b)."""
    q, k, v = qkv(weights, inputs, heads)
    log_f = logsigmoid(linear(weights, "gate", inputs["x"])).mT
    n = q.shape[2]
    i, j = positions(n, n)
    places = torch.arange(n)
    between = (j[..., None] < places) & (places <= i[..., None])  # (i, j, l)
    decay = torch.einsum("ijl,bhl->bhij", between.to(q.dtype), log_f)
    return output(weights, masked_softmax(dot_scores(q, k) + decay, below(n)) @ v)


def selective(weights: Arrays, inputs: Arrays, heads: int, groups: int) -> Tensor:
    """S - F, F_ij = sum over l < i of relu(S^0_lj) where 0 < j < l; row by row."""
    q, k, v = qkv(weights, inputs, heads, groups)
    scores = dot_scores(q, k)
    n = q.shape[2]
    unneeded = torch.zeros_like(scores[:, 0, 0])
    rows = []
    for i in range(n):
        rows.append((scores[:, :, i, : i + 1] - unneeded[:, None, : i + 1]).softmax(-1))
        chosen = scores[:, 0, i].clamp(min=0)
        places = torch.arange(n)
        unneeded = unneeded + chosen * ((places > 0) & (places < i))
    o = [a @ v[:, :, : i + 1] for i, a in enumerate(r[:, :, None] for r in rows)]
    return output(weights, torch.cat(o, 2))


def gated_attention(weights: Arrays, inputs: Arrays, heads: int, by_head: bool) -> Tensor:
    """y = W_o concat_h(o_h * sigmoid(W_g x))."""
    q, k, v = qkv(weights, inputs, heads)
    each = masked_softmax(dot_scores(q, k)) @ v
    gate = linear(weights, "gate", inputs["x"]).sigmoid()
    if by_head:
        return output(weights, each * gate.mT[..., None])
    return linear(weights, "out", merge_heads(each) * gate)


def differential(
    weights: Arrays, inputs: Arrays, heads: int, start: float, causal: bool = False
) -> Tensor:
    """(1 - start) rms((softmax(q1 k1^T) - lam softmax(q2 k2^T)) v); map 2h and 2h + 1 form head h."""
    context = inputs.get("context", inputs["x"])
    q = split_heads(linear(weights, "q", inputs["x"]), 2 * heads)
    k = split_heads(linear(weights, "k", context), 2 * heads)
    v = split_heads(linear(weights, "v", context), heads)
    maps = masked_softmax(dot_scores(q, k), below(q.shape[2]) if causal else None)
    first = (weights["lq1"] * weights["lk1"]).sum().exp()
    second = (weights["lq2"] * weights["lk2"]).sum().exp()
    each = (maps[:, 0::2] - (first - second + start) * maps[:, 1::2]) @ v
    each = each / (each.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weights["norm.weight"]
    return output(weights, (1 - start) * each)


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
FOUR: dict[str, object] = {"d_model": 16, "heads": 4, "kv_heads": 2}
LONG = ((2, 8, None), (1, 13, None), (1, 1, None))

CASES = (
    Case("soft_cap", DIMS | {"cap": 0.5}, lambda w, a: soft_cap(w, a, 2, 0.5, False), CROSS),
    Case(combined("soft_cap", "causal"), DIMS, lambda w, a: soft_cap(w, a, 2, 50, True)),
    *(
        Case(
            "qk_norm",
            FOUR | {"form": form},
            lambda w, a, form=form: qk_norm(w, a, 4, 2, form),
            CROSS,
            label="" if form == "rms" else form,
        )
        for form in ("rms", "layer", "joint", "l2")
    ),
    Case(combined("qk_norm", "causal"), FOUR, lambda w, a: qk_norm(w, a, 4, 2, "rms", causal=True)),
    Case("relu_attention", DIMS, lambda w, a: relu_attention(w, a, 2, 1, 1, False), CROSS),
    Case(
        combined("relu_attention", "causal") + "dims: {count: {one_of: [row, total]}}\n",
        DIMS | {"power": 2, "alpha": 0.5},
        lambda w, a: relu_attention(w, a, 2, 2, 0.5, True),
    ),
    Case("stick_breaking", DIMS, lambda w, a: stick_breaking(w, a, 2), LONG),
    Case("forgetting", DIMS, lambda w, a: forgetting(w, a, 2), LONG),
    Case("selective", FOUR, lambda w, a: selective(w, a, 4, 2), LONG),
    Case("gated_attention", DIMS, lambda w, a: gated_attention(w, a, 2, False), CROSS),
    Case(
        "gated_attention",
        DIMS | {"by": "head"},
        lambda w, a: gated_attention(w, a, 2, True),
        CROSS,
        label="by_head",
    ),
    Case("differential", DIMS, lambda w, a: differential(w, a, 2, 0.2), CROSS),
    Case(
        combined("differential", "causal"),
        DIMS | {"layer": 3},
        lambda w, a: differential(w, a, 2, 0.8 - 0.6 * 0.4065696597405991, causal=True),
    ),
)
