"""References of the RWKV time mixings: loops over tokens, from the equations of their papers."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import layer_norm, silu

from .case import Arrays, Case, normal
from .pieces import linear, merge_heads, project, split_heads
from .recurrences import column


def before(x: Tensor) -> Tensor:
    """x_(t-1), 0 for the first."""
    return torch.cat([torch.zeros_like(x[:, :1]), x[:, :-1]], 1)


def rwkv4(weights: Arrays, inputs: Arrays) -> Tensor:
    """wkv_t: softmax over j <= t of k_j - (t - 1 - j) d, with u + k_t for j = t, feature by feature."""
    x = inputs["x"]
    r, k, v = (
        linear(weights, n, weights[f"mix_{n}"] * x + (1 - weights[f"mix_{n}"]) * before(x))
        for n in "rkv"
    )
    d = weights["decay"].exp()
    rows = []
    for t in range(x.shape[1]):
        past = k[:, :t] - (t - 1 - torch.arange(t, dtype=x.dtype))[:, None] * d
        score = torch.cat([past, (weights["bonus"] + k[:, t])[:, None]], 1)
        rows.append((score.softmax(1) * v[:, : t + 1]).sum(1))
    return linear(weights, "out", r.sigmoid() * torch.stack(rows, 1))


def normed(weights: Arrays, o: Tensor) -> Tensor:
    """scale LN(o) + shift within heads, eps 64e-5."""
    made = layer_norm(o, o.shape[-1:], eps=64e-5)
    return made * weights["scale"][:, None] + weights["shift"][:, None]


def rwkv6(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """o_t = (W_(t-1) + v (u k)^T) r; W_t = W_(t-1) diag(w_t) + v k^T."""
    x = inputs["x"]
    back = before(x) - x
    rank = weights["lift"].shape[-1]
    low = linear(weights, "low", x + back * weights["mix_x"]).tanh().split(rank, -1)
    z = [
        x + back * (m + part @ lift.T)
        for m, part, lift in zip(weights["mix"], low, weights["lift"], strict=True)
    ]
    slow = linear(weights, "decay", linear(weights, "decay_down", z[0]).tanh())
    w = torch.exp(-torch.exp(split_heads(slow, heads) + weights["base"][:, None]))
    k, v, r = (project(weights, n, z[p], heads) for p, n in ((1, "k"), (2, "v"), (3, "r")))
    memory = x.new_zeros(x.shape[0], heads, v.shape[-1], k.shape[-1])
    bonus = weights["bonus"][:, None, :]
    rows = []
    for t in range(x.shape[1]):
        new = column(v, k, t)
        rows.append(((memory + bonus * new) @ r[:, :, t, :, None])[..., 0])
        memory = memory * w[:, :, t, None, :] + new
    o = normed(weights, torch.stack(rows, 2))
    return linear(weights, "out", silu(linear(weights, "gate", z[4])) * merge_heads(o))


def rwkv7(weights: Arrays, inputs: Arrays, heads: int) -> dict[str, Tensor]:
    """W_t = W_(t-1) (diag(w) - c (a c)^T) + v k~^T; o_t = W_t r_t."""
    x = inputs["x"]
    z = [x + (before(x) - x) * m for m in weights["mix"]]
    r, raw, value = (project(weights, n, z[p], heads) for p, n in ((0, "r"), (2, "k"), (3, "v")))
    slow = project(weights, "slow", linear(weights, "decay_down", z[1]).tanh(), heads)
    w = torch.exp(-math.exp(-0.5) * slow.sigmoid())
    first = inputs.get("v_first", value)
    nu = project(weights, "nu", linear(weights, "v_down", z[3]), heads).sigmoid()
    v = (1 - nu) * value + nu * first
    a = project(weights, "a", linear(weights, "a_down", z[4]), heads).sigmoid()
    gate = linear(weights, "gate", linear(weights, "gate_down", z[5]).sigmoid())
    c = raw * weights["xi"][:, None]
    c = c / (c.square().sum(-1, keepdim=True) + 1e-12).sqrt()
    k = raw * (1 + (a - 1) * weights["alpha"][:, None])
    memory = x.new_zeros(x.shape[0], heads, v.shape[-1], k.shape[-1])
    rows = []
    for t in range(x.shape[1]):
        move = torch.diag_embed(w[:, :, t]) - column(c, a * c, t)
        memory = memory @ move + column(v, k, t)
        rows.append((memory @ r[:, :, t, :, None])[..., 0])
    o = normed(weights, torch.stack(rows, 2))
    o = o + (r * weights["rho"][:, None] * k).sum(-1, keepdim=True) * v
    return {"x": linear(weights, "out", gate * merge_heads(o)), "v_first": first}


def first_values(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Values of a layer before: 2 heads of 8."""
    return {"v_first": normal(generator, batch, 2, length, 8)}


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}
ODD = ((2, 8, None), (1, 1, None), (1, 13, None))

CASES = (
    Case("rwkv4", {"d_model": 8}, rwkv4, ODD),
    Case("rwkv4", {"d_model": 8, "numerics": "plain"}, rwkv4, label="plain"),
    Case("rwkv6", DIMS | {"rank_mix": 2, "rank_decay": 4}, lambda w, a: rwkv6(w, a, 2), ODD),
    Case(
        "rwkv7",
        DIMS | {"rank_decay": 3, "rank_a": 2, "rank_v": 5, "rank_gate": 5},
        lambda w, a: rwkv7(w, a, 2),
        ODD,
    ),
    Case(
        "rwkv7",
        DIMS | {"rank_decay": 4, "rank_a": 4, "rank_v": 4, "rank_gate": 5},
        lambda w, a: rwkv7(w, a, 2),
        inputs=first_values,
        label="later_layer",
    ),
)
