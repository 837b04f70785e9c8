"""References of family core: scaled dot-product attention in its plain forms."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .case import CROSS, Arrays, Case, normal
from .pieces import context_of, dot_scores, linear, masked_softmax, output, positions, qkv


def dot_product(weights: Arrays, inputs: Arrays) -> Tensor:
    """y = softmax(q k^T / sqrt(D)) v, one head, no output projection."""
    context = context_of(inputs)
    q = linear(weights, "q", inputs["x"])
    k = linear(weights, "k", context)
    return masked_softmax(dot_scores(q, k)) @ linear(weights, "v", context)


def multi_head(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    groups: int | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """y = W_o concat_h(softmax_j(q k^T / sqrt(d)) v), kv head h // (H / G)."""
    q, k, v = qkv(weights, inputs, heads, groups)
    return output(weights, masked_softmax(dot_scores(q, k), mask) @ v)


def causal(weights: Arrays, inputs: Arrays, heads: int, groups: int | None = None) -> Tensor:
    """Multi-head attention over j <= i."""
    i, j = positions(inputs["x"].shape[1], inputs["x"].shape[1])
    return multi_head(weights, inputs, heads, groups, j <= i)


def attention_maps(weights: Arrays, inputs: Arrays, heads: int) -> dict[str, Tensor]:
    """Attention; S; A; -sum_j A log A; and rows of (mean_h A + I) R, normalised to sum 1 (R: I at first)."""
    q, k, v = qkv(weights, inputs, heads)
    scores = dot_scores(q, k)
    a = masked_softmax(scores)
    identity = torch.eye(a.shape[-1], dtype=a.dtype)
    before = inputs.get("rollout", identity)
    rollout = (a.mean(1) + identity) @ before
    return {
        "x": output(weights, a @ v),
        "scores": scores,
        "maps": a,
        "entropy": -(a * a.log()).sum(-1),
        "rollout": rollout / rollout.sum(-1, keepdim=True),
    }


def rollout_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A rollout (B, N, N) of layers before, rows of sum 1."""
    return {"rollout": normal(generator, batch, length, length).softmax(-1)}


CASES = (
    Case("dot_product", {"d_model": 12}, dot_product, CROSS),
    Case("softmax", {"d_model": 16, "heads": 4}, lambda w, a: multi_head(w, a, 4), CROSS),
    Case(
        "softmax",
        {"d_model": 12, "heads": 4, "kv_heads": 2, "d_head": 5, "d_value": 3},
        lambda w, a: multi_head(w, a, 4, 2),
        CROSS,
        label="widths",
    ),
    Case(
        "cross_attention",
        {"d_model": 16, "heads": 2},
        lambda w, a: multi_head(w, a, 2),
        ((2, 5, 9), (1, 9, 4)),
    ),
    Case("causal_softmax", {"d_model": 16, "heads": 4}, lambda w, a: causal(w, a, 4)),
    Case("attention_maps", {"d_model": 12, "heads": 2}, lambda w, a: attention_maps(w, a, 2)),
    Case(
        "attention_maps",
        {"d_model": 12, "heads": 2},
        lambda w, a: attention_maps(w, a, 2),
        inputs=rollout_before,
        label="second_layer",
    ),
)
