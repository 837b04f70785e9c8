"""References of family normalizers: from scores to weights by other ways than softmax."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, Arrays, Case, combined
from .pieces import dot_scores, masked_softmax, output, positions, qkv


def sinks(weights: Arrays, inputs: Arrays, heads: int, causal: bool) -> Tensor:
    """A = e^S / (e^sink_h + sum_j e^S): softmax with one more column, which is dropped."""
    q, k, v = qkv(weights, inputs, heads)
    scores = dot_scores(q, k)
    if causal:
        i, j = positions(*scores.shape[-2:])
        scores = scores.masked_fill(j > i, -torch.inf)
    column = weights["sink"][:, None, None].expand(*scores.shape[:3], 1)
    return output(weights, torch.cat([column, scores], dim=-1).softmax(-1)[..., 1:] @ v)


def streaming(weights: Arrays, inputs: Arrays, heads: int, first: int, window: int) -> Tensor:
    """j <= i and (j < first or i - j < window)."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    mask = (j <= i) & ((j < first) | (i - j < window))
    return output(weights, masked_softmax(dot_scores(q, k), mask) @ v)


def sigmoid(weights: Arrays, inputs: Arrays, heads: int, bias: str, causal: bool = False) -> Tensor:
    """A = sigmoid(S - log n), n = M, i + 1 or 1."""
    q, k, v = qkv(weights, inputs, heads)
    scores = dot_scores(q, k)
    i, j = positions(*scores.shape[-2:])
    n = {"total": torch.full_like(i, scores.shape[-1]), "row": i + 1, "zero": torch.ones_like(i)}
    a = (scores - n[bias].to(scores.dtype).log()).sigmoid()
    return output(weights, (a * (j <= i) if causal else a) @ v)


def threshold(z: Tensor, power: float) -> Tensor:
    """tau with sum max(z - tau, 0)^power = 1 by bisection; no gradient."""
    with torch.no_grad():
        low = z.amax(-1, keepdim=True) - 1
        high = low + 1
        for _ in range(80):
            middle = (low + high) / 2
            total = (z - middle).clamp(min=0).pow(power).sum(-1, keepdim=True)
            low, high = torch.where(total >= 1, middle, low), torch.where(total >= 1, high, middle)
        return low


def entmax(scores: Tensor, mask: Tensor, alpha: float) -> Tensor:
    """p = max((alpha-1) s - tau, 0)^(1/(alpha-1)), sum p = 1, for alpha 2 and 1.5.

    The support comes from bisection, tau on it in closed form: mean - 1/n, or mean - sqrt((1 - ss)/n)
    with ss the sum of squared deviations from the mean.
    """
    z = ((alpha - 1) * scores).masked_fill(~mask, -1e4)
    support = mask & (z > threshold(z, 1 / (alpha - 1)))
    count = support.sum(-1, keepdim=True).clamp(min=1).to(z.dtype)
    mean = (z * support).sum(-1, keepdim=True) / count
    if alpha == 2:
        return (z - mean + 1 / count) * support
    spread = ((z - mean).square() * support).sum(-1, keepdim=True)
    tau = mean - ((1 - spread) / count).sqrt()
    return (z - tau).square() * support


def simplex(
    weights: Arrays, inputs: Arrays, heads: int, alpha: float, causal: bool = False
) -> Tensor:
    """Attention with alpha-entmax rows."""
    q, k, v = qkv(weights, inputs, heads)
    scores = dot_scores(q, k)
    i, j = positions(*scores.shape[-2:])
    mask = (j <= i) if causal else torch.ones_like(j <= i)
    return output(weights, entmax(scores, mask.expand_as(scores), alpha) @ v)


DIMS: dict[str, object] = {"d_model": 16, "heads": 4}

CASES = (
    Case("sinks", DIMS, lambda w, a: sinks(w, a, 4, False), CROSS),
    Case(combined("sinks", "causal"), DIMS, lambda w, a: sinks(w, a, 4, True)),
    Case(
        "streaming",
        DIMS | {"first_tokens": 2, "window": 3},
        lambda w, a: streaming(w, a, 4, 2, 3),
    ),
    Case("sigmoid", DIMS, lambda w, a: sigmoid(w, a, 4, "total"), CROSS),
    Case(
        "sigmoid",
        DIMS | {"bias": "zero"},
        lambda w, a: sigmoid(w, a, 4, "zero"),
        CROSS,
        label="zero",
    ),
    Case("sigmoid", DIMS | {"bias": "row"}, lambda w, a: sigmoid(w, a, 4, "row"), label="row"),
    Case(
        combined("sigmoid", "causal") + "dims: {bias: {one_of: [row, total, zero]}}\n",
        DIMS,
        lambda w, a: sigmoid(w, a, 4, "row", causal=True),
    ),
    Case("sparsemax", DIMS, lambda w, a: simplex(w, a, 4, 2), CROSS),
    Case(combined("sparsemax", "causal"), DIMS, lambda w, a: simplex(w, a, 4, 2, causal=True)),
    Case("entmax", DIMS, lambda w, a: simplex(w, a, 4, 1.5), CROSS),
    Case(combined("entmax", "causal"), DIMS, lambda w, a: simplex(w, a, 4, 1.5, causal=True)),
)
