"""References of linear recurrences: plain loops over tokens, one matrix or vector of state.

W (B, H, d_value, d_head) is updated by the token and then read by its query.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import conv1d, elu, layer_norm, pad, silu, softplus

from .case import Arrays, Case
from .pieces import linear, merge_heads, output, project, split_heads

Step = Callable[[Tensor, int], Tensor]


def read(q: Tensor, width: int, step: Step) -> Tensor:
    """o_t = W_t q_t with W_t = step(W_(t-1), t), W_(-1) = 0; q (B, H, N, d), o (B, H, N, width)."""
    memory = q.new_zeros(*q.shape[:2], width, q.shape[-1])
    rows = []
    for t in range(q.shape[2]):
        memory = step(memory, t)
        rows.append((memory @ q[:, :, t, :, None])[..., 0])
    return torch.stack(rows, dim=2)


def column(v: Tensor, k: Tensor, t: int) -> Tensor:
    """v_t k_t^T."""
    return v[:, :, t, :, None] * k[:, :, t, None, :]


def rms(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    """x / sqrt(mean square + eps), scaled."""
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def rotated(x: Tensor, pairing: str = "interleaved", code: bool = False) -> Tensor:
    """Pairs (2n, 2n + 1) or (n, n + d/2) at t turned by t w_n; w_n = 10000^(-2n/d) or -n/(d/2 - 1)."""
    half = x.shape[-1] // 2
    n = torch.arange(half, dtype=x.dtype)
    speed = 10000.0 ** (-n / max(half - 1, 1) if code else -2 * n / x.shape[-1])
    angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * speed
    pairs = (
        x.unflatten(-1, (half, 2)) if pairing == "interleaved" else x.unflatten(-1, (2, half)).mT
    )
    a, b = pairs.unbind(-1)
    made = torch.stack([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)
    return made.flatten(-2) if pairing == "interleaved" else made.mT.flatten(-2)


def retention(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    bounded: bool = False,
    code: bool = False,
    pairing: str = "interleaved",
    norm: str = "group",
) -> Tensor:
    """W_t = gamma_h W_(t-1) + v_t k_t^T; o = W q / sqrt(d); y = W_o (silu(W_g x) LN_h(o))."""
    x = inputs["x"]
    q, k = (rotated(project(weights, n, x, heads), pairing, code) for n in ("q", "k"))
    v = project(weights, "v", x, heads)
    q = q / q.shape[-1] ** 0.5
    gamma = 1 - 2.0 ** (-5 - torch.arange(heads, dtype=x.dtype))[:, None, None]
    o = read(q, v.shape[-1], lambda w, t: gamma * w + column(v, k, t))
    if bounded:
        ones = torch.ones_like(v[..., :1])
        total = read(q, 1, lambda w, t: gamma * w + column(ones, k, t))
        count = torch.arange(x.shape[1], dtype=x.dtype) + 1
        root = ((1 - gamma ** count[:, None]) / (1 - gamma)).sqrt()
        o = o / root / (total / root).abs().clamp(min=1)
    o = layer_norm(o, o.shape[-1:]) if norm == "group" else rms(o, torch.ones_like(o))
    return linear(weights, "out", silu(linear(weights, "gate", x)) * merge_heads(o))


def gated_linear_attention(
    weights: Arrays, inputs: Arrays, heads: int, slowness: float = 16, norm: str = "layer"
) -> Tensor:
    """W_t = W_(t-1) diag(sigmoid(z_t)^(1/16)) + v_t k_t^T; o = W q / sqrt(d)."""
    x = inputs["x"]
    q, k, v = (project(weights, name, x, heads) for name in ("q", "k", "v"))
    low = linear(weights, "low", x)
    decay = project(weights, "decay", low, heads).sigmoid() ** (1 / slowness)
    o = read(q, v.shape[-1], lambda w, t: w * decay[:, :, t, None] + column(v, k, t))
    o = o / q.shape[-1] ** 0.5
    scale = weights["normed.weight"]
    o = (
        layer_norm(o, o.shape[-1:], scale, weights["normed.bias"])
        if norm == "layer"
        else rms(o, scale)
    )
    return linear(weights, "out", silu(linear(weights, "gate", x)) * merge_heads(o))


def short(x: Tensor, kernel: Tensor, shift: Tensor | None = None) -> Tensor:
    """SiLU of a causal depthwise convolution; x (B, N, C), kernel (.., taps) with C rows in all."""
    rows = kernel.flatten(0, -2)
    padded = pad(x.mT, (rows.shape[-1] - 1, 0))
    bias = None if shift is None else shift.flatten()
    return silu(conv1d(padded, rows[:, None], bias, groups=rows.shape[0]).mT)


def mamba2(weights: Arrays, inputs: Arrays, heads: int, groups: int) -> Tensor:
    """W_t = exp(-dt e^(a_log)) W_(t-1) + dt v k^T; y = W q + D v; RMS norm of y SiLU(z) by group."""
    x = inputs["x"]
    v, k, q = (
        short(linear(weights, n, x), weights[f"conv_{n}"], weights[f"shift_{n}"]) for n in "vkq"
    )
    v = split_heads(v, heads)
    k, q = (split_heads(u, groups).repeat_interleave(heads // groups, 1) for u in (k, q))
    dt = softplus(linear(weights, "dt", x) + weights["dt_bias"]).mT
    rate = weights["a_log"].exp()[:, None]
    o = read(
        q,
        v.shape[-1],
        lambda w, t: (
            torch.exp(-dt[:, :, t, None] * rate)[..., None] * w
            + dt[:, :, t, None, None] * column(v, k, t)
        ),
    )
    y = o + weights["skip"][:, None, None] * v
    y = merge_heads(y) * silu(linear(weights, "gate", x))
    parts = y.unflatten(-1, (groups, -1))
    parts = parts / (parts.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return linear(weights, "out", parts.flatten(-2) * weights["scale"].flatten())


def delta_parts(weights: Arrays, x: Tensor, heads: int) -> list[Tensor]:
    """Unit q and k, v, after short convolutions; beta (B, H, N, 1)."""
    made = []
    for name in "qkv":
        u = split_heads(short(linear(weights, name, x), weights[f"conv_{name}"]), heads)
        made.append(u if name == "v" else u / (u.square().sum(-1, keepdim=True) + 1e-6).sqrt())
    return [*made, project(weights, "beta", x, heads).sigmoid()]


def delta(
    weights: Arrays, x: Tensor, heads: int, decay: Tensor | None = None, reach: float = 1
) -> Tensor:
    """RMS norm of W_t q_t, W_t = W_(t-1) diag(a_t) (I - beta k k^T) + beta v k^T; a (B, H, N, d or 1)."""
    q, k, v, beta = delta_parts(weights, x, heads)
    beta = reach * beta
    eye = torch.eye(k.shape[-1], dtype=x.dtype)

    def step(w: Tensor, t: int) -> Tensor:
        b = beta[:, :, t, :, None]
        kept = w if decay is None else w * decay[:, :, t, None, :]
        return kept @ (eye - b * column(k, k, t)) + b * column(v, k, t)

    return merge_heads(rms(read(q, v.shape[-1], step), weights["normed.weight"], 1e-5))


def deltanet(weights: Arrays, inputs: Arrays, heads: int, reach: float = 1) -> Tensor:
    """No decay, no gate."""
    return linear(weights, "out", delta(weights, inputs["x"], heads, reach=reach))


def gated_deltanet(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """a = exp(-e^(a_log) softplus(W_a x + dt_bias)) per head; SiLU gate."""
    x = inputs["x"]
    rate = softplus(linear(weights, "decay", x) + weights["dt_bias"]) * weights["a_log"].exp()
    o = delta(weights, x, heads, torch.exp(-rate).mT[..., None])
    return linear(weights, "out", o * silu(linear(weights, "gate", x)))


def kda(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """a = exp(-e^(a_log) softplus(W_2 W_1 x + dt_bias)) per feature; sigmoid gate of low rank."""
    x = inputs["x"]
    slow = project(weights, "slow", linear(weights, "decay_down", x), heads)
    rate = softplus(slow + weights["dt_bias"][:, None]) * weights["a_log"].exp()[:, None, None]
    o = delta(weights, x, heads, torch.exp(-rate))
    gate = linear(weights, "shown", linear(weights, "gate_down", x)).sigmoid()
    return linear(weights, "out", o * gate)


def delta_rule_elu(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """W_t = W_(t-1) + beta (v - W_(t-1) f) f^T; f = elu(k) + 1 over its sum, for q as well."""
    q, k, v, beta = (project(weights, n, inputs["x"], heads) for n in ("q", "k", "v", "beta"))
    q, k = (elu(u) + 1 for u in (q, k))
    q, k = (u / (u.sum(-1, keepdim=True) + 1e-6) for u in (q, k))
    beta = beta.sigmoid()

    def step(w: Tensor, t: int) -> Tensor:
        lacking = v[:, :, t, :, None] - w @ k[:, :, t, :, None]
        return w + beta[:, :, t, :, None] * lacking * k[:, :, t, None, :]

    return output(weights, read(q, v.shape[-1], step))


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}
ODD = ((2, 8, None), (1, 1, None), (1, 13, None))

CASES = (
    Case("retention", DIMS, lambda w, a: retention(w, a, 2), ODD),
    Case(
        "retention",
        DIMS | {"scores": "bounded", "speeds": "code", "d_value": 5},
        lambda w, a: retention(w, a, 2, True, True),
        label="bounded",
    ),
    Case(
        "retention",
        DIMS | {"pairing": "half", "norm": "rms", "d_head": 4},
        lambda w, a: retention(w, a, 2, pairing="half", norm="rms"),
        label="rms",
    ),
    Case(
        "gated_linear_attention",
        DIMS | {"rank": 3},
        lambda w, a: gated_linear_attention(w, a, 2),
        ODD,
    ),
    Case(
        "gated_linear_attention",
        DIMS | {"rank": 3, "norm": "rms", "slowness": 1, "d_head": 3},
        lambda w, a: gated_linear_attention(w, a, 2, 1, "rms"),
        label="rms",
    ),
    Case(
        "mamba2",
        {"d_model": 8, "d_value": 4, "kv_heads": 2, "d_state": 7},
        lambda w, a: mamba2(w, a, 4, 2),
        ODD,
    ),
    Case(
        "mamba2",
        {"d_model": 8, "d_value": 8, "d_state": 5, "taps": 3},
        lambda w, a: mamba2(w, a, 2, 1),
        label="one_group",
    ),
    Case("deltanet", DIMS, lambda w, a: deltanet(w, a, 2), ODD),
    Case(
        "deltanet",
        DIMS | {"reach": 2, "taps": 1, "d_value": 5},
        lambda w, a: deltanet(w, a, 2, 2),
        label="reach_2",
    ),
    Case("gated_deltanet", DIMS | {"d_value": 6}, lambda w, a: gated_deltanet(w, a, 2), ODD),
    Case("kda", DIMS | {"rank": 3}, lambda w, a: kda(w, a, 2), ODD),
    Case(
        "delta_rule",
        DIMS | {"features": "elu"},
        lambda w, a: delta_rule_elu(w, a, 2),
        label="elu",
    ),
)
