"""References of blocks over sets, and of attention to pooled keys."""

from __future__ import annotations

import torch
from torch import Tensor

from .case import CROSS, Arrays, Case
from .pieces import (
    context_of,
    dot_scores,
    linear,
    masked_softmax,
    merge_heads,
    output,
    positions,
    project,
    qkv,
    under,
)


def normed(weights: Arrays, name: str, x: Tensor) -> Tensor:
    """Layer norm with a learned scale and shift."""
    norm = torch.nn.functional.layer_norm
    return norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def mab(weights: Arrays, x: Tensor, y: Tensor, form: str, norm: bool = True) -> Tensor:
    """LN(H + relu(W H)), H = LN(x + MHA(x, y, y)); code: x is the projected queries, no W_o."""
    q, k, v = (project(weights, n, u, 2) for n, u in (("q", x), ("k", y), ("v", y)))
    if form == "paper":
        mixed = x + output(weights, dot_scores(q, k).softmax(-1) @ v)
    else:
        scores = q @ k.mT / (2 * q.shape[-1]) ** 0.5
        mixed = merge_heads(q + scores.softmax(-1) @ v)
    inner = normed(weights, "norm_1", mixed) if norm else mixed
    last = inner + linear(weights, "ff", inner).relu()
    return normed(weights, "norm_2", last) if norm else last


def isab(weights: Arrays, inputs: Arrays, form: str) -> Tensor:
    """MAB(X, MAB(I, X))."""
    x = inputs["x"]
    points = weights["point"].expand(x.shape[0], -1, -1)
    packed = mab(under(weights, "packed"), points, x, form)
    return mab(under(weights, "unpacked"), x, packed, form)


def pma(weights: Arrays, inputs: Arrays, form: str) -> dict[str, Tensor]:
    """MAB(S, relu(W x)); code: MAB(S, x)."""
    x = inputs["x"]
    seeds = weights["first"].expand(x.shape[0], -1, -1)
    fed = linear(weights, "ff", x).relu() if form == "paper" else x
    return {"pooled": mab(under(weights, "made"), seeds, fed, form)}


def poolingformer(
    weights: Arrays, inputs: Arrays, near: int, far: int, kernel: int, stride: int, pool: str
) -> Tensor:
    """y: a band; z: from y, softmax over pooled J, |stride J - i| <= far; W_o (y + z)."""
    x = inputs["x"]
    length = x.shape[1]
    i, j = positions(length, length)
    q, k, v = qkv(weights, {"x": x}, 2)
    level = merge_heads(masked_softmax(dot_scores(q, k), (i - j).abs() <= near) @ v)
    q, k, v = (project(weights, f"{name}_2", level, 2) for name in "qkv")

    def pooled(u: Tensor, name: str) -> Tensor:
        parts = []
        for start in range(0, length, stride):
            members = u[:, :, start : start + kernel]
            if pool == "mean":
                parts.append(members.mean(2))
            elif pool == "max":
                parts.append(members.amax(2))
            else:
                inside = start + kernel // 2 < length
                middle = u[:, :, start + kernel // 2] if inside else torch.zeros_like(u[:, :, 0])
                share = linear(weights, name, middle)[..., : members.shape[2]].softmax(-1)
                parts.append((share[..., None] * members).sum(2))
        return torch.stack(parts, 2)

    k, v = pooled(k, "share_k"), pooled(v, "share_v")
    start = torch.arange(0, length, stride)
    seen = (start[None, :] - torch.arange(length)[:, None]).abs() <= far
    z = masked_softmax(dot_scores(q, k), seen) @ v
    return linear(weights, "out", level + merge_heads(z))


SMALL: dict[str, object] = {"d_model": 8, "heads": 2}

CASES = (
    *(
        Case(
            "mab",
            SMALL | {"form": form, "norm": "layer" if norm else "none"},
            lambda w, a, form=form, norm=norm: mab(w, a["x"], context_of(a), form, norm),
            CROSS,
            label=label,
        )
        for form, norm, label in (
            ("paper", True, "paper"),
            ("code", True, "code"),
            ("code", False, "code_without_norm"),
        )
    ),
    *(
        Case(
            "isab",
            SMALL | {"points": 3, "form": form},
            lambda w, a, form=form: isab(w, a, form),
            ((2, 8, None), (1, 13, None), (1, 1, None)),
            label=form,
        )
        for form in ("paper", "code")
    ),
    *(
        Case(
            "pma",
            SMALL | {"seeds": 2, "form": form},
            lambda w, a, form=form: pma(w, a, form),
            ((2, 8, None), (1, 13, None), (1, 1, None)),
            label=form,
        )
        for form in ("paper", "code")
    ),
    *(
        Case(
            "poolingformer",
            SMALL | {"near": 1, "far": 4, "kernel": 3, "stride": 2, "pool": pool},
            lambda w, a, pool=pool: poolingformer(w, a, 1, 4, 3, 2, pool),
            ((2, 8, None), (1, 13, None), (1, 1, None)),
            label=pool,
        )
        for pool in ("ldconv", "mean", "max")
    ),
)
