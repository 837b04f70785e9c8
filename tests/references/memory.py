"""References of family memory: fewer keys than tokens."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from .case import CROSS, Arrays, Case, normal
from .pieces import (
    context_of,
    dot_scores,
    linear,
    masked_softmax,
    merge_heads,
    output,
    project,
    split_heads,
)


def memory_compressed(weights: Arrays, inputs: Arrays, heads: int, ratio: int) -> Tensor:
    """k~_m = W [k_(rm) ; .. ; k_(rm+r-1)] + b, v~ likewise; i sees m if r m + r - 1 <= i, and a null.

    S = q . k~ / sqrt(d); windows that are not complete do not exist.
    """
    x = inputs["x"]
    batch, length, _ = x.shape
    count = length // ratio
    q = project(weights, "q", x, heads)

    def compressed(name: str) -> Tensor:
        windows = linear(weights, name, x)[:, : count * ratio].unflatten(1, (count, ratio))
        return split_heads(linear(weights, f"{name}_c", windows.flatten(-2)), heads)

    null_k = weights["null_k"][:, None].expand(batch, -1, -1, -1)
    null_v = weights["null_v"][:, None].expand(batch, -1, -1, -1)
    k = torch.cat([null_k, compressed("k")], dim=2)
    v = torch.cat([null_v, compressed("v")], dim=2)
    last = torch.cat([torch.tensor([-1]), torch.arange(count) * ratio + ratio - 1])
    seen = last[None, :] <= torch.arange(length)[:, None]
    return output(weights, masked_softmax(dot_scores(q, k), seen) @ v)


def luna(weights: Arrays, inputs: Arrays, heads: int, heads_pack: int) -> dict[str, Tensor]:
    """Y_p = softmax(q_p c_p^T / sqrt(d_p)) c_p; y = softmax(q c^T / sqrt(d)) c, c = W_c Y_p."""
    x = inputs["x"]
    first = weights["p0"].expand(x.shape[0], -1, -1) if "p" not in inputs else inputs["p"]
    q_p = project(weights, "q_p", first, heads_pack)
    c_p = project(weights, "c_p", context_of(inputs), heads_pack)
    packed = merge_heads(masked_softmax(dot_scores(q_p, c_p)) @ c_p)
    q, c = project(weights, "q", x, heads), project(weights, "c", packed, heads)
    return {"x": output(weights, masked_softmax(dot_scores(q, c)) @ c), "p": packed}


def luna_causal(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """a_t = softmax_l(1/t sum_{j<=t} (q_t . c_j / sqrt(d)) omega_j); y_t = 1/t sum (a_t . omega_j) c_j."""
    x = inputs["x"]
    width = x.shape[-1]
    q, c = project(weights, "q", x, heads), project(weights, "c", x, heads)
    p = linear(weights, "p", weights["p0"]) / width**0.5
    omega = softplus(linear(weights, "kp", x) @ p.T * math.log(2)) / math.log(2)
    count = torch.arange(1, x.shape[1] + 1, dtype=x.dtype)[:, None]
    ones = torch.ones(x.shape[1], x.shape[1], dtype=x.dtype).tril()
    a = (dot_scores(q, c) * ones / count @ omega[:, None]).softmax(-1)
    return output(weights, (a @ omega[:, None].mT) * ones / count @ c)


def packed_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Three packed tokens of the layer before."""
    return {"p": normal(generator, batch, 3, 16)}


DIMS: dict[str, object] = {"d_model": 16, "heads": 2}

CASES = (
    Case("memory_compressed", DIMS, lambda w, a: memory_compressed(w, a, 2, 3)),
    Case(
        "memory_compressed",
        DIMS | {"ratio": 4},
        lambda w, a: memory_compressed(w, a, 2, 4),
        ((2, 9, None), (1, 3, None)),
        label="ratio_4",
    ),
    Case("luna", DIMS | {"packed": 3, "heads_pack": 4}, lambda w, a: luna(w, a, 2, 4), CROSS),
    Case(
        "luna",
        DIMS | {"packed": 3},
        lambda w, a: luna(w, a, 2, 2),
        CROSS,
        inputs=packed_before,
        label="second_layer",
    ),
    Case("luna_causal", DIMS | {"packed": 3}, lambda w, a: luna_causal(w, a, 2)),
)
