"""References of family heads: shared metrics, routing, low-rank caches and products."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

from .attention import multi_head
from .case import CROSS, Arrays, Case
from .pieces import context_of, dot_scores, linear, masked_softmax, output, project, qkv


def collaborative(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """S_h = (X W_q) diag(m_h) (C W_k)^T + (C W_b)_h, over sqrt(d_shared / H)."""
    context = context_of(inputs)
    q, k = linear(weights, "q", inputs["x"]), linear(weights, "k", context)
    scores = torch.stack([q * m @ k.mT for m in weights["mix"]], 1)
    scores = scores + linear(weights, "about", context).mT[:, :, None]
    v = project(weights, "v", context, heads)
    return output(weights, masked_softmax(scores / (q.shape[-1] / heads) ** 0.5) @ v)


def votes_of(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """V_hn = W_hn o_h: (B, N, H, capsules, width)."""
    q, k, v = qkv(weights, inputs, heads)
    each = masked_softmax(dot_scores(q, k)) @ v
    return torch.einsum("hnce,bhie->bihnc", weights["vote"], each)


def simple_routing(weights: Arrays, inputs: Arrays, heads: int, rounds: int) -> Tensor:
    """u_n = sum_h C V / sum_h C, C = softmax_n(a), a += V . u."""
    votes = votes_of(weights, inputs, heads)
    agreement = votes.new_zeros(votes.shape[:-1])
    u = votes[:, :, 0]
    for _ in range(rounds):
        c = agreement.softmax(-1)[..., None]
        u = (c * votes).sum(2) / c.sum(2)
        agreement = agreement + (votes * u[:, :, None]).sum(-1)
    return u.flatten(-2)


def em_routing(
    weights: Arrays, inputs: Arrays, heads: int, caps: int, rounds: int, activated: bool
) -> Tensor:
    """Capsules are Gaussians of the votes: M step, activation, E step, as in Hinton et al. 2018."""
    votes = votes_of(weights, inputs, heads)
    r = torch.full(votes.shape[:-1], 1 / caps, dtype=votes.dtype)
    for t in range(rounds):
        total = r.sum(2)  # (B, N, capsules)
        mu = torch.einsum("bihn,bihnc->binc", r, votes) / total[..., None]
        off = (votes - mu[:, :, None]) ** 2
        var = torch.einsum("bihn,bihnc->binc", r, off) / total[..., None] + 1e-6
        sigma = var.sqrt()
        cost = ((weights["beta_u"][:, None] + sigma.log()) * total[..., None]).sum(-1)
        logit = 0.01 * (1 - 0.95 ** (t + 1)) * (weights["beta_a"] - cost)
        log_p = -(off / var[:, :, None] + (2 * math.pi * var[:, :, None]).log()).sum(-1) / 2
        r = (log_p - softplus(-logit)[:, :, None]).softmax(-1)
        a = logit.sigmoid()
    return (a[..., None] * mu if activated else mu).flatten(-2)


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
FOUR: dict[str, object] = {"d_model": 16, "heads": 4}

CASES = (
    Case("collaborative", FOUR, lambda w, a: collaborative(w, a, 4), CROSS),
    Case("decoupled_heads", DIMS | {"d_head": 5}, lambda w, a: multi_head(w, a, 2), CROSS),
    Case("simple_routing", FOUR, lambda w, a: simple_routing(w, a, 4, 3), CROSS),
    Case("em_routing", FOUR, lambda w, a: em_routing(w, a, 4, 4, 3, True), CROSS),
    Case(
        "em_routing",
        FOUR | {"caps": 2, "rounds": 2, "output": "mean"},
        lambda w, a: em_routing(w, a, 4, 2, 2, False),
        label="mean",
    ),
)
