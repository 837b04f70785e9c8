"""References of random feature attention: explicit sums over the keys that a query sees.

W (m, d) has the frozen directions as rows, scaled by the lengths of other random rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .case import CROSS, SELF, Arrays, Case, combined
from .pieces import output, project, qkv

Map = Callable[[Tensor], Tensor]


def kernel_mean(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    of_q: Map,
    of_k: Map,
    causal: bool,
    eps: float = 0,
    groups: int | None = None,
) -> Tensor:
    """o_i = sum_j f(q_i) . f(k_j) v_j / (sum_j f(q_i) . f(k_j) + eps sum f(q_i)), one i at a time."""
    q, k, v = qkv(weights, inputs, heads, groups)
    q, k = of_q(q), of_k(k)
    rows = []
    for i in range(q.shape[2]):
        last = i + 1 if causal else k.shape[2]
        s = (k[:, :, :last] @ q[:, :, i, :, None])[..., 0]
        total = s.sum(-1, keepdim=True) + eps * q[:, :, i].sum(-1, keepdim=True)
        rows.append((s[..., None] * v[:, :, :last]).sum(2) / total)
    return output(weights, torch.stack(rows, dim=2))


def rows_of(weights: Arrays, norms: str = "chi") -> Tensor:
    """W: orthogonal directions of length chi_d, or sqrt(d)."""
    unit = weights["directions"]
    size = weights["lengths"].norm(dim=-1) if norms == "chi" else unit.shape[-1] ** 0.5
    return (unit.T * size).T


def favor(weights: Arrays, inputs: Arrays, heads: int, causal: bool = False) -> Tensor:
    """phi(u) = exp(|u|^2 / 2) / sqrt(m) [sin W u ; cos W u], u <- u / d^(1/4)."""
    w = rows_of(weights)

    def phi(u: Tensor) -> Tensor:
        u = u / u.shape[-1] ** 0.25
        angle = u @ w.T
        size = (u * u).sum(-1, keepdim=True)
        return torch.cat([angle.sin(), angle.cos()], -1) * (size / 2).exp() / w.shape[0] ** 0.5

    return kernel_mean(weights, inputs, heads, phi, phi, causal)


def favor_plus(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    kernel: str = "positive",
    norms: str = "chi",
    stabilise: bool = False,
    causal: bool = False,
    eps: float = 0,
    groups: int | None = None,
) -> Tensor:
    """phi(u) = exp(W u - |u|^2 / 2) / sqrt(m); both signs of W (hyperbolic); relu(W u) + 1e-3."""
    w = rows_of(weights, norms)
    w = torch.cat([w, -w]) if kernel == "hyperbolic" else w

    def phi(u: Tensor, dims: tuple[int, ...]) -> Tensor:
        u = u / u.shape[-1] ** 0.25
        wave = u @ w.T
        if kernel == "relu":
            return wave.clamp(min=0) + 1e-3
        size = (u * u).sum(-1, keepdim=True) / 2
        if not stabilise:
            return (wave - size).exp() / w.shape[0] ** 0.5
        peak = wave.amax(dims, keepdim=True).detach()
        return ((wave - size - peak).exp() + 1e-4) / w.shape[0] ** 0.5

    def of_q(u: Tensor) -> Tensor:
        return phi(u, (-1,))

    def of_k(u: Tensor) -> Tensor:
        return phi(u, (-1, -2))

    return kernel_mean(weights, inputs, heads, of_q, of_k, causal, eps, groups)


def unit_features(weights: Arrays, u: Tensor, tau: float, kernel: str) -> Tensor:
    """[sin W u ; cos W u] / sqrt(p) or relu(W u) / sqrt(p) of unit vectors, W[h] = sigma[h] w / tau."""
    u = u / (u.square().sum(-1, keepdim=True) + 1e-6).sqrt()
    w = weights["sigma"][:, None, :] * weights["directions"] / tau
    angle = u @ w.mT
    made = angle.relu() if kernel == "arccos" else torch.cat([angle.sin(), angle.cos()], -1)
    return made / w.shape[-2] ** 0.5


def random_feature_attention(
    weights: Arrays,
    inputs: Arrays,
    heads: int,
    tau: float = 1,
    kernel: str = "gaussian",
    causal: bool = False,
) -> Tensor:
    """A kernel mean of unit features."""

    def phi(u: Tensor) -> Tensor:
        return unit_features(weights, u, tau, kernel)

    return kernel_mean(weights, inputs, heads, phi, phi, causal)


def gated_random_feature_attention(
    weights: Arrays, inputs: Arrays, heads: int, tau: float = 1, kernel: str = "gaussian"
) -> Tensor:
    """S_t = g_t S_(t-1) + (1 - g_t) v_t phi(k_t)^T, z likewise; o_t = S_t phi(q_t) / (z_t . phi(q_t))."""
    q, k, v = qkv(weights, inputs, heads)
    q, k = (unit_features(weights, u, tau, kernel) for u in (q, k))
    gate = project(weights, "gate", inputs["x"], heads).sigmoid()
    state, total = 0.0, 0.0
    rows = []
    for t in range(q.shape[2]):
        g = gate[:, :, t]
        total = g * total + (1 - g) * k[:, :, t]
        state = g[..., None] * state + (1 - g[..., None]) * v[:, :, t, :, None] * k[:, :, t, None]
        top = (state * q[:, :, t, None]).sum(-1)
        rows.append(top / (total * q[:, :, t]).sum(-1, keepdim=True))
    return output(weights, torch.stack(rows, dim=2))


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}
FEATURES = DIMS | {"features": 24}
SMALL = {"d_model": 4, "heads": 2, "features": 768}  # short vectors: estimates far from 0
CAUSAL_CODE = """
attnc: 1
name: favor_plus_causal_code
extends: [favor_plus, causal]
causality: masked
"""

CASES = (
    Case("favor", SMALL, lambda w, a: favor(w, a, 2), CROSS),
    Case(combined("favor", "causal"), SMALL, lambda w, a: favor(w, a, 2, True), SELF),
    Case("favor_plus", DIMS, lambda w, a: favor_plus(w, a, 2), CROSS),
    Case(combined("favor_plus", "causal"), DIMS, lambda w, a: favor_plus(w, a, 2, causal=True)),
    Case(
        "favor_plus",
        DIMS | {"kernel": "hyperbolic", "norms": "fixed", "kv_heads": 1},
        lambda w, a: favor_plus(w, a, 2, "hyperbolic", "fixed", groups=1),
        label="hyperbolic",
    ),
    Case(
        "favor_plus",
        DIMS | {"kernel": "relu"},
        lambda w, a: favor_plus(w, a, 2, "relu"),
        CROSS,
        label="relu",
    ),
    Case(
        "favor_plus",
        DIMS | {"stabilise": "code"},
        lambda w, a: favor_plus(w, a, 2, stabilise=True),
        CROSS,
        label="code",
    ),
    Case(CAUSAL_CODE, DIMS, lambda w, a: favor_plus(w, a, 2, causal=True)),
    Case(
        CAUSAL_CODE,
        DIMS | {"stabilise": "code", "eps": 1e-6},
        lambda w, a: favor_plus(w, a, 2, stabilise=True, causal=True, eps=1e-6),
        label="code",
    ),
    Case(
        "random_feature_attention",
        FEATURES,
        lambda w, a: random_feature_attention(w, a, 2),
        CROSS,
    ),
    Case(
        combined("random_feature_attention", "causal"),
        FEATURES | {"tau": 2.0},
        lambda w, a: random_feature_attention(w, a, 2, 2.0, causal=True),
    ),
    Case(
        "random_feature_attention",
        FEATURES | {"kernel": "arccos"},
        lambda w, a: random_feature_attention(w, a, 2, 1, "arccos"),
        CROSS,
        label="arccos",
    ),
    Case(
        "gated_random_feature_attention",
        FEATURES,
        lambda w, a: gated_random_feature_attention(w, a, 2),
        ((2, 8, None), (1, 11, None), (1, 1, None)),
    ),
    Case(
        "gated_random_feature_attention",
        FEATURES | {"kernel": "arccos", "tau": 2.0, "d_value": 5},
        lambda w, a: gated_random_feature_attention(w, a, 2, 2.0, "arccos"),
        label="arccos",
    ),
)
