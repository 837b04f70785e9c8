"""Limits of family positions: what is learned about distance may be nothing."""

from __future__ import annotations

import torch
from references.case import Arrays
from torch import Generator

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}


def nothing_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A memory of which no place is filled."""
    memory = torch.randn(batch, 3, 16, generator=generator, dtype=torch.float64)
    return {"memory": memory, "filled": torch.zeros(batch, 3, dtype=torch.bool)}


def none_of_them(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """The other spec takes no memory."""
    return {}


LIMITS = (
    Limit(
        "shaw",
        {**SMALL, "clip_at": 3},
        "softmax",
        SMALL,
        "empty tables equal softmax",
        put={"rel_k": 0, "rel_v": 0},
    ),
    Limit(
        "transformer_xl",
        {**SMALL, "reach": 3},
        "attnc: 1\nname: plain\nextends: causal_softmax\nproject:\n"
        "  q: linear(x, to=[h, d_head], bias=false)\n  k: linear(context, to=[h, d_head], bias=false)\n"
        "  v: linear(context, to=[h, d_value], bias=false)\n"
        "out: linear(concat(heads, over=h), bias=false)\n",
        SMALL,
        "without biases, distances and memory it is causal softmax",
        put={"u": 0, "c": 0, "r.weight": 0},
        inputs=nothing_before,
        other=none_of_them,
    ),
    Limit(
        "deberta",
        {**SMALL, "reach": 3, "d_head": 6},
        "attnc: 1\nname: third\nextends: softmax\nscore: dot(q, k) / sqrt(3 * d_head)\n",
        {**SMALL, "d_head": 6},
        "without positions the content is scaled by three",
        put={"k_r.weight": 0, "k_r.bias": 0, "q_r.weight": 0, "q_r.bias": 0},
    ),
    Limit("kerple", SMALL, "softmax", SMALL, "no slope equals softmax", put={"r1": 0, "r2": 1}),
    Limit(
        "kerple",
        {**SMALL, "form": "power"},
        "attnc: 1\nname: linear_distance\nextends: softmax\ncontext: same\n"
        "score: super - 0.25 * abs(i - j)\n",
        SMALL,
        "power one is a linear penalty",
        put={"r1": 0.25, "r2": 1},
    ),
)
