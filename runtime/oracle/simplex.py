"""alpha-entmax: the projection onto the simplex that minimises <-p, s> - Tsallis entropy.

    p = relu((alpha - 1) s - tau) ** (1 / (alpha - 1)),   tau such that sum p = 1

Source: Peters, Niculae, Martins 2019, "Sparse Sequence-to-Sequence Models", eqs. 8-10.
"""

from __future__ import annotations

import torch
from torch import Tensor

BISECTIONS = 100


def entmax(scores: Tensor, alpha: Tensor, keep: Tensor) -> Tensor:
    """alpha-entmax along the last dimension over the elements in `keep`; empty rows are 0.

    Shapes:
        scores (.., n)     alpha (.., 1), at least 1; 1 is softmax     keep (.., n)
    """
    if not scores.shape[-1]:
        return scores
    keep = keep & (scores != -torch.inf)
    scores = torch.where(keep, scores, 0.0)
    soft = alpha == 1
    power = torch.where(soft, 2.0, alpha) - 1
    return torch.where(soft, _softmax(scores, keep), _sparse(scores, power, keep))


def _softmax(scores: Tensor, keep: Tensor) -> Tensor:
    filled = torch.where(keep, scores, -1e300)
    return torch.where(keep, torch.softmax(filled, -1), 0.0)


def _sparse(scores: Tensor, power: Tensor, keep: Tensor) -> Tensor:
    """The projection for power = alpha - 1 > 0, differentiable in scores and power.

    The root tau is bisected without gradient. One Newton step from it, in which only the function is
    differentiated, polishes it and has the gradient of the implicit function theorem.
    """
    scaled = power * scores
    with torch.no_grad():
        root = _bisected(scaled, power, keep)
    total = _weights(scaled, root, power, keep).sum(-1, keepdim=True)
    root = root + torch.where(
        keep.any(-1, keepdim=True), (total - 1) / _slope(scaled, root, power, keep), 0.0
    )
    return _weights(scaled, root, power, keep)


def _weights(scaled: Tensor, tau: Tensor, power: Tensor, keep: Tensor) -> Tensor:
    gap = scaled - tau
    inside = keep & (gap > 0)
    return torch.where(inside, torch.where(inside, gap, 1.0) ** (1 / power), 0.0)


def _slope(scaled: Tensor, tau: Tensor, power: Tensor, keep: Tensor) -> Tensor:
    """-d(sum of the weights) / d tau, without gradient; 1 where nothing is inside."""
    with torch.no_grad():
        gap = scaled - tau
        inside = keep & (gap > 0)
        terms = torch.where(inside, torch.where(inside, gap, 1.0) ** (1 / power - 1) / power, 0.0)
        slope = terms.sum(-1, keepdim=True)
        return torch.where(slope > 0, slope, 1.0)


def _bisected(scaled: Tensor, power: Tensor, keep: Tensor) -> Tensor:
    top = torch.where(keep, scaled, -torch.inf).amax(-1, keepdim=True)
    top = torch.where(top == -torch.inf, 0.0, top)
    low, high = (top - 1).expand_as(top * power), top.expand_as(top * power)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        over = _weights(scaled, middle, power, keep).sum(-1, keepdim=True) >= 1
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    return low
