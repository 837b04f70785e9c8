"""Limits of families normalizers, priors and heads: caps, gates and second maps that do nothing."""

from __future__ import annotations

import math

import torch

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}

LIMITS = (
    Limit(
        "soft_cap",
        {**SMALL, "cap": 1e6},
        "softmax",
        SMALL,
        "a high cap equals softmax",
        tolerance=1e-8,
    ),
    Limit(
        "relu_attention",
        {**SMALL, "alpha": 0},
        "attnc: 1\nname: rectified\nextends: softmax\nnormalize: relu(s)\n",
        SMALL,
        "alpha 0 does not divide",
    ),
    Limit(
        "qk_norm",
        {**SMALL, "form": "l2"},
        "attnc: 1\nname: uniform\nextends: softmax\nscore: 0 * super\n",
        SMALL,
        "gain 0 is the mean of the values",
        put={"gain": 0},
    ),
    Limit(
        "qk_norm",
        {**SMALL, "form": "joint", "heads": 1},
        "qk_norm",
        {**SMALL, "heads": 1},
        "over one head joint is per head",
        weights=lambda w: {
            **w,
            "q_norm.weight": w["q_norm.weight"].flatten(),
            "k_norm.weight": w["k_norm.weight"].flatten(),
        },
    ),
    Limit(
        "stick_breaking",
        SMALL,
        "attnc: 1\nname: halves\nextends: softmax\ncontext: same\nmask: j < i\n"
        "score: -log(2) * (i - j) + 0 * super\nnormalize: exp(s)\n",
        SMALL,
        "without queries each takes half of the rest",
        put={"q.weight": 0, "q.bias": 0},
    ),
    Limit(
        "forgetting",
        SMALL,
        "causal_softmax",
        SMALL,
        "gates that never close equal causal softmax",
        put={"gate.weight": 0, "gate.bias": 60},
    ),
    Limit(
        "selective",
        {**SMALL, "heads": 1},
        "attnc: 1\nname: means\nextends: causal_softmax\nnormalize: real(s == s) / (i + 1)\n",
        {**SMALL, "heads": 1},
        "a head without queries selects nothing",
        put={"q.weight": 0, "q.bias": 0},
    ),
    Limit(
        "gated_attention",
        SMALL,
        "softmax",
        SMALL,
        "open gates equal softmax",
        put={"gate.weight": 0, "gate.bias": 60},
    ),
    Limit(
        "differential",
        {**SMALL, "d_head": 8},
        "attnc: 1\nname: normed\nextends: softmax\nproject:\n"
        "  q: linear(x, to=[h, d_head], bias=false)\n  k: linear(context, to=[h, d_head], bias=false)\n"
        "  v: linear(context, to=[h, d_value], bias=false)\n"
        "out: linear(concat(0.8 * rms_norm(heads, eps=1e-5, as=norm), over=h), bias=false)\n",
        SMALL,
        "lambda 0 leaves the first map",
        put={"lq1": 0, "lq2": 1, "lk2": lambda w: torch.full_like(w, math.log(1.2) / 8)},
        weights=lambda w: {
            **w,
            "q.weight": w["q.weight"].unflatten(0, (2, 2, 8))[:, 0].flatten(0, 1),
            "k.weight": w["k.weight"].unflatten(0, (2, 2, 8))[:, 0].flatten(0, 1),
        },
    ),
)
