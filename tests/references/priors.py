"""References of family priors: what is added to, put in place of, or learned beside the score."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d, leaky_relu, pad, softplus

from .case import CROSS, Arrays, Case, combined, normal
from .pieces import context_of, dot_scores, masked_softmax, output, positions, project, qkv


def gaussian(
    weights: Arrays, inputs: Arrays, heads: int, before_scale: bool, causal: bool = False
) -> Tensor:
    """A = softmax(q k^T / sqrt(d) - |w (i-j)^2 + b|), w = softplus(width), b = -softplus(floor_at)."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    gap = (softplus(weights["width"]) * (i - j) ** 2 - softplus(weights["floor_at"])).abs()
    scores = dot_scores(q, k) - (gap / q.shape[-1] ** 0.5 if before_scale else gap)
    return output(weights, masked_softmax(scores, j <= i if causal else None) @ v)


def hardcoded_gaussian(
    weights: Arrays, inputs: Arrays, centres: list[int], sigma: float, causal: bool
) -> Tensor:
    """A = N(j; i + mu_h, sigma), not renormalised."""
    x = inputs["x"]
    i, j = positions(x.shape[1], x.shape[1])
    mu = torch.tensor(centres, dtype=x.dtype)[:, None, None]
    a = torch.exp(-((j - i - mu) ** 2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))
    if causal:
        a = a * (j <= i)
    return output(weights, a @ project(weights, "v", x, len(centres)))


def predictive(
    weights: Arrays, inputs: Arrays, heads: int, alpha: float, beta: float
) -> dict[str, Tensor]:
    """L = alpha LeakyReLU(conv(In) + c) + (1 - alpha) In, In = beta L_before + (1 - beta) q k^T / sqrt(d).

    In is 0 for j > i; the 3 x 3 kernel reads rows i-2 .. i and columns j-1 .. j+1.
    """
    q, k, v = qkv(weights, inputs, heads)
    raw = dot_scores(q, k)
    i, j = positions(*raw.shape[-2:])
    mixed = (beta * inputs.get("prev", raw) + (1 - beta) * raw) * (j <= i)
    grown = conv2d(pad(mixed, (1, 1, 2, 0)), weights["kernel"])
    grown = leaky_relu(grown + weights["shift"][:, None, None], 0.01)
    scores = alpha * grown + (1 - alpha) * mixed
    return {"x": output(weights, masked_softmax(scores, j <= i) @ v), "prev": scores}


def lazyformer(weights: Arrays, inputs: Arrays, heads: int, reuse: bool) -> dict[str, Tensor]:
    """y = W_o concat_h(A v); A computed here, or that of the layer before."""
    v = project(weights, "v", context_of(inputs), heads)
    if reuse:
        a = inputs["lazy"]
    else:
        q, k, _ = qkv(weights, inputs, heads)
        a = masked_softmax(dot_scores(q, k))
    return {"x": output(weights, a @ v), "lazy": a}


def adaptive_span(weights: Arrays, inputs: Arrays, heads: int, span: int, ramp: int) -> Tensor:
    """A = m e^S / sum m e^S, m = clip((ramp + span z_h - back) / ramp, 0, 1), back = i - j - 1."""
    q, k, v = qkv(weights, inputs, heads)
    i, j = positions(q.shape[2], k.shape[2])
    back = i - j - 1
    far = q @ weights["rel"].T
    near = back.clamp(0, span - 1).expand(*q.shape[:2], -1, -1)
    scores = (q @ k.mT + far.gather(-1, near)) / q.shape[-1] ** 0.5
    soft = ((ramp + span * weights["z"][:, None, None] - back) / ramp).clamp(0, 1)
    a = masked_softmax(scores, (back >= 0) & (back < span)) * soft
    return output(weights, a / (a.sum(-1, keepdim=True) + 1e-8) @ v)


def cope(weights: Arrays, inputs: Arrays, heads: int, p_max: int) -> Tensor:
    """S = s + interpolation of q . e at p = min(sum_{j <= l <= i} sigmoid(s_il), p_max)."""
    q, k, v = qkv(weights, inputs, heads)
    raw = dot_scores(q, k)
    i, j = positions(*raw.shape[-2:])
    gates = raw.sigmoid() * (j <= i)
    p = gates.flip(-1).cumsum(-1).flip(-1).clamp(max=p_max)
    table = q @ weights["place"].T
    low, high = table.gather(-1, p.floor().long()), table.gather(-1, p.ceil().long())
    part = p - p.floor()
    return output(weights, masked_softmax(raw + (1 - part) * low + part * high, j <= i) @ v)


def maps_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Scores (B, 2, N, N) of the layer before."""
    return {"prev": normal(generator, batch, 2, length, length)}


def weights_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Weights (B, 2, N, M) of the layer before."""
    return {"lazy": normal(generator, batch, 2, length, context or length).softmax(-1)}


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}
FOUR: dict[str, object] = {"d_model": 16, "heads": 4}

CASES = (
    Case("gaussian", DIMS, lambda w, a: gaussian(w, a, 2, False)),
    Case(
        "gaussian",
        DIMS | {"prior_at": "before_scale"},
        lambda w, a: gaussian(w, a, 2, True),
        label="before_scale",
    ),
    Case(combined("gaussian", "causal"), DIMS, lambda w, a: gaussian(w, a, 2, False, True)),
    Case(
        "hardcoded_gaussian", FOUR, lambda w, a: hardcoded_gaussian(w, a, [-1, -1, 1, 1], 1, False)
    ),
    Case(
        "hardcoded_gaussian",
        FOUR | {"form": "decoder", "sigma": 1.5},
        lambda w, a: hardcoded_gaussian(w, a, [-1, -1, 0, 0], 1.5, True),
        label="decoder",
    ),
    Case("predictive", DIMS, lambda w, a: predictive(w, a, 2, 0.2, 0.2)),
    Case(
        "predictive",
        DIMS | {"alpha": 0.4, "beta": 0.3},
        lambda w, a: predictive(w, a, 2, 0.4, 0.3),
        inputs=maps_before,
        label="second_layer",
    ),
    Case("lazyformer", DIMS, lambda w, a: lazyformer(w, a, 2, False), CROSS),
    Case(
        "lazyformer",
        DIMS | {"role": "reuse"},
        lambda w, a: lazyformer(w, a, 2, True),
        CROSS,
        inputs=weights_before,
        label="reuse",
    ),
    Case(
        "adaptive_span",
        DIMS | {"span": 6, "ramp": 3},
        lambda w, a: adaptive_span(w, a, 2, 6, 3),
    ),
    Case("cope", DIMS | {"p_max": 3}, lambda w, a: cope(w, a, 2, 3)),
)
