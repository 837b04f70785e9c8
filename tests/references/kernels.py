"""References of linear attention by feature maps: N x M kernels, written out and normalised."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .case import CROSS, SELF, Arrays, Case, combined
from .pieces import linear, output, positions, qkv


def weighted(weights: Arrays, scores: Tensor, v: Tensor, causal: bool, eps: float = 0) -> Tensor:
    """W_o concat_h(sum_j S v_j / (sum_j S + eps)), 0 where the sum is 0."""
    i, j = positions(*scores.shape[-2:])
    scores = scores * (j <= i) if causal else scores
    total = scores.sum(-1, keepdim=True) + eps
    safe = torch.where(total == 0, torch.ones_like(total), total)
    return output(weights, torch.where(total == 0, torch.zeros_like(total), scores / safe) @ v)


def based(weights: Arrays, inputs: Arrays, heads: int, eps: float = 1e-6) -> Tensor:
    """S = 1 + s + s^2 / 2, s = q . k / sqrt(d), over the past."""
    q, k, v = qkv(weights, inputs, heads)
    s = q @ k.mT / q.shape[-1] ** 0.5
    return weighted(weights, 1 + s + s * s / 2, v, True, eps)


def hedgehog(
    weights: Arrays, inputs: Arrays, heads: int, joint: bool = False, causal: bool = False
) -> Tensor:
    """S = f(W_q q) . f(W_k k), f(u) = [softmax(u) ; softmax(-u)] or softmax([2 u ; -2 u])."""
    q, k, v = qkv(weights, inputs, heads)

    def features(u: Tensor, name: str) -> Tensor:
        made = torch.stack(
            [
                u[:, n] @ weights[f"map_{name}"][n].T + weights[f"shift_{name}"][n]
                for n in range(heads)
            ],
            1,
        )
        if joint:
            return torch.cat([2 * made, -2 * made], -1).softmax(-1)
        return torch.cat([made.softmax(-1), (-made).softmax(-1)], -1)

    return weighted(weights, features(q, "q") @ features(k, "k").mT, v, causal)


def cosformer(
    weights: Arrays, inputs: Arrays, heads: int, reach: int | None, causal: bool = False
) -> Tensor:
    """S = relu(q) . relu(k) cos(pi (i - j) / 2M), M the longer length where it is not given."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    far = reach or max(q.shape[2], k.shape[2])
    near = torch.cos(math.pi / 2 * (i - j).to(q.dtype) / far)
    return weighted(weights, q.relu() @ k.relu().mT * near, v, causal)


def average_attention(weights: Arrays, inputs: Arrays, use_ffn: bool = True) -> Tensor:
    """g_i = FFN(mean of x_0 .. x_i); [a ; f] = sigmoid(W [x_i ; g_i] + b); y = a x + f g."""
    x = inputs["x"]
    means = torch.stack([x[:, : t + 1].mean(1) for t in range(x.shape[1])], 1)
    if use_ffn:
        means = linear(weights, "ff_2", linear(weights, "ff_1", means).relu())
    a, f = linear(weights, "gates", torch.cat([x, means], -1)).sigmoid().chunk(2, -1)
    return a * x + f * means


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}
FIXED = DIMS | {"reach": 16}

CASES = (
    Case("based", DIMS | {"d_head": 4}, lambda w, a: based(w, a, 2), (*SELF, (1, 1, None))),
    Case(
        "based",
        DIMS | {"d_head": 3, "eps": 0},
        lambda w, a: based(w, a, 2, 0),
        label="no_eps",
    ),
    Case("hedgehog", DIMS, lambda w, a: hedgehog(w, a, 2), CROSS),
    Case(
        combined("hedgehog", "causal"),
        DIMS | {"features": "code"},
        lambda w, a: hedgehog(w, a, 2, True, True),
    ),
    Case("cosformer", FIXED, lambda w, a: cosformer(w, a, 2, 16), CROSS),
    Case(combined("cosformer", "causal"), FIXED, lambda w, a: cosformer(w, a, 2, 16, True)),
    Case(
        "cosformer",
        DIMS | {"reach_by": "length"},
        lambda w, a: cosformer(w, a, 2, None),
        CROSS,
        label="length",
    ),
    Case(
        "average_attention",
        {"d_model": 8, "d_ff": 12},
        lambda w, a: average_attention(w, a),
        (*SELF, (1, 1, None)),
    ),
    Case(
        "average_attention",
        {"d_model": 8, "use_ffn": "off"},
        lambda w, a: average_attention(w, a, False),
        label="off",
    ),
)
