"""References of family lowrank: landmarks, projections along the sequence, narrow keys."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, Arrays, Case
from .pieces import (
    dot_scores,
    masked_softmax,
    output,
    positions,
    project,
    qkv,
)


def segment_means(x: Tensor, count: int) -> Tensor:
    """(.., N, d) -> (.., count, d): means of runs of ceil(N / count) tokens."""
    size = -(-x.shape[-2] // count)
    return torch.stack([part.mean(-2) for part in x.split(size, -2)], -2)


def newton_inverse(a: Tensor, rounds: int, batch: bool) -> Tensor:
    """Z0 = A^T / (|A|_1 |A|_inf); Z <- Z / 4 (13 - A Z (15 - A Z (7 - A Z)))."""
    scale = a.abs().sum(-1).amax(-1) * a.abs().sum(-2).amax(-1)
    scale = scale.amax() if batch else scale[..., None, None]
    z, one = a.mT / scale, torch.eye(a.shape[-1], dtype=a.dtype)
    for _ in range(rounds):
        p = a @ z
        z = 0.25 * z @ (13 * one - p @ (15 * one - p @ (7 * one - p)))
    return z


def nystrom(
    weights: Arrays, inputs: Arrays, landmarks: int, rounds: int, taps: int, batch: bool
) -> Tensor:
    """y = softmax(q k~^T) pinv(softmax(q~ k~^T)) softmax(q~ k^T) v + depthwise convolution of v."""
    q, k, v = qkv(weights, inputs, 2)
    q_l, k_l = segment_means(q, landmarks), segment_means(k, landmarks)
    middle = newton_inverse(dot_scores(q_l, k_l).softmax(-1), rounds, batch)
    rows = dot_scores(q, k_l).softmax(-1) @ middle @ (dot_scores(q_l, k).softmax(-1) @ v)
    length, half = v.shape[2], taps // 2
    padded = torch.nn.functional.pad(v, (0, 0, half, half))
    for tap in range(taps):
        rows = rows + weights["kernel"][:, tap, None, None] * padded[:, :, tap : tap + length]
    return output(weights, rows)


def csalr(weights: Arrays, inputs: Arrays, landmarks: int) -> Tensor:
    """y = softmax(q k~^T) (softmax(q~ k~^T) + I)^-1 softmax(q~ k^T) v, the inverse by a solve."""
    q, k, v = qkv(weights, inputs, 2)
    q_l, k_l = segment_means(q, landmarks), segment_means(k, landmarks)
    middle = dot_scores(q_l, k_l).softmax(-1) + torch.eye(landmarks, dtype=q.dtype)
    right = torch.linalg.solve(middle, dot_scores(q_l, k).softmax(-1) @ v)
    return output(weights, dot_scores(q, k_l).softmax(-1) @ right)


def linformer(weights: Arrays, inputs: Arrays, sharing: str) -> Tensor:
    """K~ = E K, V~ = F V along the sequence, full attention to K~ and V~."""
    q, k, v = qkv(weights, inputs, 2)
    names = {"none": ("e_own", "f_own"), "headwise": ("e", "f"), "kv": ("e", "e")}
    e, f = (weights[name][..., : k.shape[2]] for name in names.get(sharing, ("e_all", "e_all")))
    return output(weights, dot_scores(q, e @ k).softmax(-1) @ (f @ v))


def lowrank_band(weights: Arrays, inputs: Arrays, width: int, join: str) -> Tensor:
    """Softmax of narrow queries and keys over everything, beside a band |i - j| <= width."""
    x = inputs["x"]
    i, j = positions(x.shape[1], x.shape[1])
    q, k, v = (project(weights, f"{name}_l", x, 2) for name in "qkv")
    wide = dot_scores(q, k).softmax(-1) @ v
    q, k, v = (project(weights, f"{name}_b", x, 2) for name in "qkv")
    near = masked_softmax(dot_scores(q, k), (i - j).abs() <= width) @ v
    return output(weights, torch.cat([wide, near], -1) if join == "both" else wide + near)


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}

CASES = (
    Case(
        "nystrom",
        SMALL | {"m": 3, "rounds": 3, "taps": 3},
        lambda w, a: nystrom(w, a, 3, 3, 3, False),
        ((2, 8, None), (1, 13, None), (2, 3, None)),
    ),
    Case(
        "nystrom_code",
        SMALL | {"m": 3, "rounds": 3, "taps": 3},
        lambda w, a: nystrom(w, a, 3, 3, 3, True),
        ((2, 9, None), (1, 7, None)),
    ),
    Case(
        "csalr",
        SMALL | {"m": 3},
        lambda w, a: csalr(w, a, 3),
        ((2, 8, None), (1, 13, None), (2, 3, None)),
    ),
    *(
        Case(
            "linformer",
            SMALL | {"rank": 3, "length_max": 12, "sharing": sharing},
            lambda w, a, sharing=sharing: linformer(w, a, sharing),
            CROSS,
            label=sharing,
        )
        for sharing in ("none", "headwise", "kv", "layer")
    ),
    *(
        Case(
            "lowrank_band",
            SMALL | {"d_low": 2, "width": 2, "join": join},
            lambda w, a, join=join: lowrank_band(w, a, 2, join),
            ((2, 8, None), (1, 13, None), (1, 1, None)),
            label=join,
        )
        for join in ("both", "sum")
    ),
)
