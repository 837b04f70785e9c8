"""References of family additive: scores by small networks of the pair."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, Arrays, Case
from .pieces import (
    context_of,
    dot_scores,
    linear,
    masked_softmax,
    output,
    positions,
    project,
    qkv,
)


def bahdanau(weights: Arrays, inputs: Arrays) -> Tensor:
    """y_i = sum_j softmax_j(u . tanh(W_q x_i + b + W_k c_j)) c_j."""
    context = context_of(inputs)
    q, k = linear(weights, "q", inputs["x"]), linear(weights, "k", context)
    scores = torch.tanh(q[:, :, None] + k[:, None]) @ weights["u"]
    return masked_softmax(scores) @ context


def additive_scores(weights: Arrays, inputs: Arrays, names: tuple[str, str], heads: int) -> Tensor:
    """S[h,i,j] = u_h . tanh(q[h,i] + k[h,j] + c_h)."""
    q = project(weights, names[0], inputs["x"], heads)
    k = project(weights, names[1], context_of(inputs), heads)
    inner = q[:, :, :, None] + k[:, :, None] + weights["c"][:, None, None]
    return (torch.tanh(inner) * weights["u"][:, None, None]).sum(-1)


def additive(
    weights: Arrays, inputs: Arrays, heads: int, groups: int | None = None, causal: bool = False
) -> Tensor:
    """y = W_o concat_h(softmax_j(S) v)."""
    scores = additive_scores(weights, inputs, ("q", "k"), heads)
    i, j = positions(*scores.shape[-2:])
    v = project(weights, "v", context_of(inputs), heads, groups)
    return output(weights, masked_softmax(scores, j <= i if causal else None) @ v)


def hybrid(weights: Arrays, inputs: Arrays, heads: int, heads_mul: int | None) -> Tensor:
    """S = p_h q k^T / sqrt(d) + (1 - p_h) u_h . tanh(..); p_h = sigmoid(gamma_h), or [h < heads_mul]."""
    q, k, v = qkv(weights, inputs, heads)
    if heads_mul is None:
        share = weights["gamma"].sigmoid()[:, None, None]
    else:
        share = (torch.arange(heads) < heads_mul).to(q.dtype)[:, None, None]
    added = additive_scores(weights, inputs, ("qa", "ka"), heads)
    return output(weights, masked_softmax(share * dot_scores(q, k) + (1 - share) * added) @ v)


def pairs(q: Tensor, k: Tensor) -> Tensor:
    """[q_i ; k_j] for every pair: (B, H, N, M, d_q + d_k)."""
    n, m = q.shape[2], k.shape[2]
    left = q[:, :, :, None].expand(-1, -1, -1, m, -1)
    right = k[:, :, None].expand(-1, -1, n, -1, -1)
    return torch.cat([left, right], dim=-1)


def neural_attention(weights: Arrays, inputs: Arrays, heads: int, causal: bool = False) -> Tensor:
    """S = u . relu(W [W_dq q_i ; W_dk k_j] + c) + b."""
    q, k, v = qkv(weights, inputs, heads)
    pair = pairs(linear(weights, "q_d", q), linear(weights, "k_d", k))
    scores = (pair @ weights["w"].T + weights["c"]).relu() @ weights["u"] + weights["shift"]
    i, j = positions(*scores.shape[-2:])
    return output(weights, masked_softmax(scores, j <= i if causal else None) @ v)


def neural_attention_code(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """S = L3 relu(L2 relu(L1 [D_q q_i ; D_k k_j]))."""
    q, k, v = qkv(weights, inputs, heads)
    hidden = pairs(linear(weights, "q_d", q), linear(weights, "k_d", k))
    hidden = linear(weights, "layer_1", hidden).relu()
    hidden = linear(weights, "layer_2", hidden).relu()
    return output(weights, masked_softmax(linear(weights, "layer_3", hidden)[..., 0]) @ v)


CASES = (
    Case("bahdanau", {"d_model": 12, "d_align": 7}, bahdanau, CROSS),
    Case("additive", {"d_model": 16, "heads": 4}, lambda w, a: additive(w, a, 4), CROSS),
    Case(
        "additive",
        {"d_model": 16, "heads": 4, "kv_heads": 2, "d_align": 7},
        lambda w, a: additive(w, a, 4, 2),
        CROSS,
        label="grouped",
    ),
    Case(
        "causal_additive", {"d_model": 16, "heads": 2}, lambda w, a: additive(w, a, 2, causal=True)
    ),
    Case("hybrid", {"d_model": 16, "heads": 4}, lambda w, a: hybrid(w, a, 4, None), CROSS),
    Case(
        "hybrid",
        {"d_model": 16, "heads": 4, "form": "split", "heads_mul": 1, "d_align": 6},
        lambda w, a: hybrid(w, a, 4, 1),
        CROSS,
        label="split",
    ),
    Case(
        "neural_attention",
        {"d_model": 16, "heads": 2, "d_down": 3, "d_hidden": 5},
        lambda w, a: neural_attention(w, a, 2),
        CROSS,
    ),
    Case(
        "causal_neural_attention",
        {"d_model": 16, "heads": 2},
        lambda w, a: neural_attention(w, a, 2, causal=True),
    ),
    Case(
        "neural_attention_code",
        {"d_model": 16, "heads": 2, "d_down": 4},
        lambda w, a: neural_attention_code(w, a, 2),
        CROSS,
    ),
)
