"""References of attention without query-key products: explicit sums, feature by feature."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, SELF, Arrays, Case, combined
from .pieces import context_of, linear, merge_heads, project


def bias(weights: Arrays, form: str, window: int, i: int, j: int, heads: int) -> Tensor:
    """w_ij, one number for each head."""
    if form == "simple" or (form != "full" and abs(i - j) >= window):
        return weights["out.weight"].new_zeros(heads)
    if form == "conv":
        return weights["table"][:, j - i + window - 1]
    return (weights["row"][i] @ weights["col"][j]).expand(heads)


def aft(
    weights: Arrays, inputs: Arrays, heads: int, form: str, window: int = 3, causal: bool = False
) -> Tensor:
    """y_i = sigmoid(q_i) * sum_j exp(k_j + w_ij) v_j / sum_j exp(k_j + w_ij)."""
    context = context_of(inputs)
    q = linear(weights, "q", inputs["x"]).sigmoid()
    k, v = (linear(weights, name, context) for name in "kv")
    width = k.shape[-1] // heads
    rows = []
    for i in range(q.shape[1]):
        top, total = torch.zeros_like(k[:, 0]), torch.zeros_like(k[:, 0])
        for j in range(i + 1 if causal else k.shape[1]):
            w = bias(weights, form, window, i, j, heads).repeat_interleave(width)
            e = (k[:, j] + w).exp()
            top, total = top + e * v[:, j], total + e
        rows.append(q[:, i] * top / total)
    return linear(weights, "out", torch.stack(rows, 1))


def fastformer(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """q_g = sum softmax(w_q . q) q; p = q_g k; k_g = sum softmax(w_k . p) p; y = W (k_g v) + q."""
    x = inputs["x"]
    q, k, v = (project(weights, name, x, heads) for name in "qkv")

    def pooled(u: Tensor, w: Tensor) -> Tensor:
        score = (u * w[:, None]).sum(-1, keepdim=True) / u.shape[-1] ** 0.5
        return (score.softmax(2) * u).sum(2, keepdim=True)

    p = pooled(q, weights["w_q"]) * k
    u = pooled(p, weights["w_k"]) * v
    return linear(weights, "out", merge_heads(u)) + merge_heads(q)


DIMS: dict[str, object] = {"d_model": 8, "heads": 2}
AFT = DIMS | {"max_length": 16, "rank": 3, "window": 3}
PAST = combined("aft", "causal")

CASES = (
    Case("aft", AFT, lambda w, a: aft(w, a, 2, "full"), CROSS),
    Case("aft", AFT | {"form": "local"}, lambda w, a: aft(w, a, 2, "local"), CROSS, label="local"),
    Case(
        "aft", AFT | {"form": "simple"}, lambda w, a: aft(w, a, 2, "simple"), CROSS, label="simple"
    ),
    Case("aft", AFT | {"form": "conv"}, lambda w, a: aft(w, a, 2, "conv"), CROSS, label="conv"),
    Case(PAST, AFT, lambda w, a: aft(w, a, 2, "full", causal=True)),
    Case(
        PAST,
        AFT | {"form": "conv"},
        lambda w, a: aft(w, a, 2, "conv", causal=True),
        label="conv",
    ),
    Case(
        PAST,
        AFT | {"form": "simple"},
        lambda w, a: aft(w, a, 2, "simple", causal=True),
        label="simple",
    ),
    Case("fastformer", DIMS, lambda w, a: fastformer(w, a, 2), (*SELF, (2, 5, None))),
)
