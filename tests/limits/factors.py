"""Limits of family heads: forms that agree, kernels of nothing, groups of one."""

from __future__ import annotations

import torch
from references.case import Arrays
from torch import Tensor

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}
LATENT = {**SMALL, "q_rank": 7, "kv_rank": 5, "d_nope": 3, "d_rope": 4, "d_value": 5}
PLAIN = (
    "attnc: 1\nname: plain\nextends: [softmax, causal]\nproject:\n"
    "  q: linear(x, to=[h, d_head], bias=false)\n  k: linear(context, to=[h, d_head], bias=false)\n"
    "  v: linear(context, to=[h, d_value], bias=false)\n"
    "out: linear(concat(heads, over=h), bias=false)\n"
)


def identity_mix(mix: Tensor) -> Tensor:
    """No mixing of heads."""
    return torch.eye(mix.shape[0], dtype=mix.dtype)[..., None].expand_as(mix)


def twice(weight: Tensor) -> Tensor:
    """The second factor is the first."""
    half = weight[: len(weight) // 2]
    return torch.cat([half, half])


def first_factor(weights: Arrays) -> Arrays:
    """The first of two factors."""
    factors = [f"{part}_{name}.weight" for part in "ab" for name in "qkv"]
    return {**weights, **{f: weights[f][: len(weights[f]) // 2] for f in factors}}


LIMITS = (
    Limit(
        "mla",
        {**LATENT, "form": "absorbed"},
        "mla",
        LATENT,
        "absorbed equals expanded",
    ),
    Limit(
        "multi_token",
        {**SMALL, "taps_q": 2, "taps_k": 3, "norm": "none"},
        PLAIN,
        SMALL,
        "empty kernels and no mixing equal causal softmax",
        put={"kernel": 0, "mix": identity_mix},
    ),
    Limit(
        "multi_token",
        {**SMALL, "taps_q": 1, "taps_k": 1, "norm": "none", "convolve": "after"},
        PLAIN,
        SMALL,
        "one tap scales the weights",
        put={"kernel_after": 1, "mix": lambda mix: identity_mix(mix) / 2},
    ),
    Limit(
        "tensor_product",
        {**SMALL, "rank_q": 2, "rank_k": 2, "rank_v": 2},
        "tensor_product",
        {**SMALL, "rank_q": 1, "rank_k": 1, "rank_v": 1},
        "equal factors count once",
        put={f"{part}_{name}.weight": twice for part in "ab" for name in "qkv"},
        weights=first_factor,
    ),
    Limit(
        "grouped_query",
        {**SMALL, "kv_heads": 2},
        "softmax",
        SMALL,
        "a group per head equals softmax",
    ),
    Limit(
        "grouped_query",
        {**SMALL, "kv_heads": 1, "order": "interleaved"},
        "multi_query",
        SMALL,
        "one group equals multi query",
    ),
)
