"""Limits of family heads: metrics, routings and losses that change nothing."""

from __future__ import annotations

import torch
from references.case import Arrays, Shape

from .limit import Limit

SMALL = {"d_model": 16, "heads": 2}
CROSS: tuple[Shape, ...] = ((2, 8, None), (1, 7, 11))


def blocks(mix: torch.Tensor) -> torch.Tensor:
    """Each head takes its own part of the shared dims."""
    return torch.eye(2, dtype=mix.dtype).repeat_interleave(mix.shape[1] // 2, 1)


def votes_as_output(weights: Arrays) -> Arrays:
    """One capsule: the votes of all heads are a map of their concatenation."""
    vote = weights["vote"][:, 0] / 2  # (H, D, d)
    flat = vote.permute(1, 0, 2).flatten(1)
    return {**weights, "out.weight": flat, "out.bias": torch.zeros_like(flat[:, 0])}


LIMITS = (
    Limit(
        "collaborative",
        {**SMALL, "d_shared": 16},
        "attnc: 1\nname: no_bias\nextends: softmax\nproject:\n"
        "  q: linear(x, to=[h, d_head], bias=false)\n  k: linear(context, to=[h, d_head], bias=false)\n",
        SMALL,
        "metrics that split the dims equal separate heads",
        put={"mix": blocks, "about.weight": 0},
        shapes=CROSS,
    ),
    Limit(
        "decoupled_heads",
        {**SMALL, "d_head": 8},
        "softmax",
        SMALL,
        "the usual head size equals softmax",
        shapes=CROSS,
    ),
    Limit("disagreement", SMALL, "softmax", SMALL, "the loss leaves the result", shapes=CROSS),
    Limit(
        "position_disagreement",
        SMALL,
        "softmax",
        SMALL,
        "the loss leaves the result",
        shapes=CROSS,
    ),
    Limit("guided_patterns", SMALL, "softmax", SMALL, "the loss leaves the result"),
    Limit(
        "simple_routing",
        {**SMALL, "caps": 1},
        "softmax",
        SMALL,
        "one capsule is the mean of the votes",
        weights=votes_as_output,
        shapes=CROSS,
    ),
    Limit(
        "em_routing",
        {**SMALL, "caps": 1, "output": "mean"},
        "softmax",
        SMALL,
        "one capsule is the mean of the votes",
        weights=votes_as_output,
        shapes=CROSS,
    ),
)
