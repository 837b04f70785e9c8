"""References of family linear: sums of feature maps, and fast weights."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import elu

from .case import CROSS, Arrays, Case, combined
from .pieces import output, project, qkv


def linear_transformer(weights: Arrays, inputs: Arrays, heads: int, causal: bool) -> Tensor:
    """o_i = phi(q_i) S_i / (phi(q_i) . z_i + 1e-6), S = sum phi(k_j) v_j^T, z = sum phi(k_j)."""
    q, k, v = qkv(weights, inputs, heads)
    q, k = elu(q) + 1, elu(k) + 1
    state = k[..., :, None] * v[..., None, :]
    state, total = (
        (state.cumsum(2), k.cumsum(2))
        if causal
        else (
            state.sum(2, keepdim=True),
            k.sum(2, keepdim=True),
        )
    )
    top = (q[..., None, :] @ state)[..., 0, :]
    return output(weights, top / ((q * total).sum(-1, keepdim=True) + 1e-6))


def dpfp(u: Tensor, nu: int) -> Tensor:
    """concat over s = 1..nu of r * roll(r, s), r = relu([u ; -u]), divided by its sum + 1e-6."""
    r = torch.cat([u, -u], dim=-1).relu()
    features = torch.cat([r * r.roll(s, dims=-1) for s in range(1, nu + 1)], dim=-1)
    return features / (features.sum(-1, keepdim=True) + 1e-6)


def delta_rule(weights: Arrays, inputs: Arrays, heads: int, nu: int) -> Tensor:
    """W_t = W_(t-1) + beta_t (v_t - W_(t-1) phi(k_t)) phi(k_t)^T; o_t = W_t phi(q_t)."""
    x = inputs["x"]
    q, k, v = (project(weights, name, x, heads) for name in ("q", "k", "v"))
    beta = project(weights, "beta", x, heads).sigmoid()
    q, k = dpfp(q, nu), dpfp(k, nu)
    memory = x.new_zeros(x.shape[0], heads, v.shape[-1], k.shape[-1])
    results = []
    for t in range(x.shape[1]):
        known = (memory @ k[:, :, t, :, None])[..., 0]
        change = beta[:, :, t] * (v[:, :, t] - known)
        memory = memory + change[..., :, None] * k[:, :, t, None, :]
        results.append((memory @ q[:, :, t, :, None])[..., 0])
    return output(weights, torch.stack(results, dim=2))


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}

CASES = (
    Case("linear_transformer", DIMS, lambda w, a: linear_transformer(w, a, 2, False), CROSS),
    Case(
        combined("linear_transformer", "causal"),
        DIMS,
        lambda w, a: linear_transformer(w, a, 2, True),
    ),
    Case("delta_rule", DIMS, lambda w, a: delta_rule(w, a, 2, 3)),
    Case(
        "delta_rule",
        DIMS | {"nu": 1, "d_value": 5},
        lambda w, a: delta_rule(w, a, 2, 1),
        label="nu_1",
    ),
)
