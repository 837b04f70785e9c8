"""References of family heads: how heads share, mix and are put together."""

from __future__ import annotations

import torch
from torch import Tensor

from .attention import causal, multi_head
from .case import CROSS, Arrays, Case, combined
from .pieces import context_of, dot_scores, linear, masked_softmax, merge_heads, project, qkv


def talking_heads(weights: Arrays, inputs: Arrays, heads_k: int, heads_v: int) -> Tensor:
    """S_h = sum_k P[h,k] q_k k_k^T / sqrt(d); U_v = sum_h R[v,h] softmax(S_h); o_v = U_v V_v."""
    context = context_of(inputs)
    q = project(weights, "q", inputs["x"], heads_k)
    k = project(weights, "k", context, heads_k)
    v = project(weights, "v", context, heads_v)
    scores = torch.einsum("hk,bkij->bhij", weights["mix_scores"], dot_scores(q, k))
    mixed = torch.einsum("vh,bhij->bvij", weights["mix_weights"], masked_softmax(scores))
    return linear(weights, "out", merge_heads(mixed @ v))


def squash(u: Tensor) -> Tensor:
    """|u|^2 / (1 + |u|^2) u / |u|."""
    square = u.square().sum(-1, keepdim=True)
    return square / (1 + square) * u / (square + 1e-7).sqrt()


def dynamic_routing(weights: Arrays, inputs: Arrays, heads: int, caps: int, rounds: int) -> Tensor:
    """a = 0; u_n = squash(sum_h softmax_n(a) V_hn), a += V_hn . u_n, rounds times; y = concat_n u_n."""
    q, k, v = qkv(weights, inputs, heads)
    each = masked_softmax(dot_scores(q, k)) @ v
    votes = torch.einsum("hnce,bhie->bihnc", weights["vote"], each)
    agreement = votes.new_zeros(votes.shape[:-1])
    u = votes.new_zeros(votes.shape[:2] + votes.shape[3:])
    for _ in range(rounds):
        u = squash((agreement.softmax(-1)[..., None] * votes).sum(2))
        agreement = agreement + (votes * u[:, :, None]).sum(-1)
    return u.flatten(-2)


DIMS: dict[str, object] = {"d_model": 16, "heads": 4}

CASES = (
    Case("talking_heads", DIMS, lambda w, a: talking_heads(w, a, 4, 4), CROSS),
    Case(
        "talking_heads",
        DIMS | {"heads_k": 3, "heads_v": 2},
        lambda w, a: talking_heads(w, a, 3, 2),
        CROSS,
        label="counts",
    ),
    Case("multi_query", DIMS, lambda w, a: multi_head(w, a, 4, 1), CROSS),
    Case("grouped_query", DIMS | {"kv_heads": 2}, lambda w, a: multi_head(w, a, 4, 2), CROSS),
    Case(
        combined("grouped_query", "causal"),
        DIMS | {"kv_heads": 2},
        lambda w, a: causal(w, a, 4, 2),
    ),
    Case("dynamic_routing", DIMS, lambda w, a: dynamic_routing(w, a, 4, 4, 3), CROSS),
    Case(
        "dynamic_routing",
        DIMS | {"caps": 2, "rounds": 2},
        lambda w, a: dynamic_routing(w, a, 4, 2, 2),
        label="caps_2",
    ),
)
