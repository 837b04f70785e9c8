"""References of family heads: losses that guide heads. The forward pass is multi-head attention."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from .attention import multi_head
from .case import CROSS, Arrays, Case
from .pieces import dot_scores, masked_softmax, qkv


def disagreement(
    weights: Arrays, inputs: Arrays, heads: int, out: float, subspace: float, position: float
) -> Tensor:
    """Means over all pairs of heads: cos of o, cos of v, and sum_j A_h A_h', averaged over tokens."""
    q, k, v = qkv(weights, inputs, heads)
    a = masked_softmax(dot_scores(q, k))
    o = a @ v
    total = torch.zeros((), dtype=o.dtype)
    for first in range(heads):
        for second in range(heads):
            total = total + out * cosine_similarity(o[:, first], o[:, second], -1).mean()
            total = total + subspace * cosine_similarity(v[:, first], v[:, second], -1).mean()
            total = total + position * (a[:, first] * a[:, second]).sum(-1).mean()
    return total / heads**2


def guided_patterns(
    weights: Arrays, inputs: Arrays, heads: int, counts: tuple[int, ...], scale: float
) -> Tensor:
    """scale * sum over patterns of the mean of (A - P)^2 over the pattern's heads."""
    q, k, _ = qkv(weights, inputs, heads)
    a = masked_softmax(dot_scores(q, k))
    n = a.shape[-1]
    first = torch.zeros(n, n, dtype=a.dtype)
    first[:, 0] = 1
    ones = torch.ones(n, dtype=a.dtype)
    patterns = [ones.diag(), ones[1:].diag(1), ones[1:].diag(-1), first]
    total, start = torch.zeros((), dtype=a.dtype), 0
    for pattern, count in zip(patterns, counts, strict=True):
        if count:
            total = total + ((a[:, start : start + count] - pattern) ** 2).mean()
        start += count
    return scale * total


DIMS: dict[str, object] = {"d_model": 16, "heads": 4}
BOTH = DIMS | {"out": 0.5, "subspace": 2}
TRIED = BOTH | {"position": 3}
COUNTS = DIMS | {"itself": 1, "next": 0, "previous": 1, "first": 1, "scale": 2}
SCHEDULE = DIMS | {"next": 1, "previous": 1, "first": 2, "hold": 10, "until": 30}

CASES = (
    Case("disagreement", DIMS, lambda w, a: multi_head(w, a, 4), CROSS),
    Case("position_disagreement", DIMS, lambda w, a: multi_head(w, a, 4), CROSS),
    Case("guided_patterns", DIMS, lambda w, a: multi_head(w, a, 4)),
)

#: the loss of a spec, after so many steps
LOSSES: tuple[tuple[Case, int], ...] = (
    (Case("disagreement", DIMS, lambda w, a: disagreement(w, a, 4, 1, 0, 0)), 0),
    (Case("disagreement", BOTH, lambda w, a: disagreement(w, a, 4, 0.5, 2, 0), CROSS), 0),
    (Case("position_disagreement", TRIED, lambda w, a: disagreement(w, a, 4, 0.5, 2, 3), CROSS), 0),
    (Case("guided_patterns", COUNTS, lambda w, a: guided_patterns(w, a, 4, (1, 0, 1, 1), 2)), 5),
    (Case("guided_patterns", SCHEDULE, lambda w, a: guided_patterns(w, a, 4, (0, 1, 1, 2), 1)), 10),
    (
        Case("guided_patterns", SCHEDULE, lambda w, a: guided_patterns(w, a, 4, (0, 1, 1, 2), 0.5)),
        20,
    ),
    (Case("guided_patterns", SCHEDULE, lambda w, a: guided_patterns(w, a, 4, (0, 1, 1, 2), 0)), 40),
)
