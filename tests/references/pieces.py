"""Pieces that the references share: linear maps by name, heads, masked rows. Plain torch, no attnc.

Shapes: B batch, H heads, G key/value heads, N queries, M keys, D model width, d head width.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Arrays = Mapping[str, Tensor]


def linear(weights: Arrays, name: str, x: Tensor) -> Tensor:
    """x @ weight^T (+ bias, where there is one)."""
    y = x @ weights[f"{name}.weight"].T
    bias = weights.get(f"{name}.bias")
    return y if bias is None else y + bias


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, N, H d) -> (B, H, N, d)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, N, d) -> (B, N, H d)."""
    return x.transpose(1, 2).flatten(-2)


def project(weights: Arrays, name: str, x: Tensor, heads: int, groups: int | None = None) -> Tensor:
    """A linear map split into heads; with groups each is repeated for its H / G query heads."""
    y = split_heads(linear(weights, name, x), groups or heads)
    return y.repeat_interleave(heads // (groups or heads), dim=1)


def context_of(inputs: Arrays) -> Tensor:
    """The memory, which is x itself unless given."""
    return inputs.get("context", inputs["x"])


def positions(queries: int, keys: int) -> tuple[Tensor, Tensor]:
    """i (N, 1) and j (1, M)."""
    return torch.arange(queries)[:, None], torch.arange(keys)[None, :]


def masked_softmax(scores: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax over the last axis of what the mask lets in; an empty row is 0."""
    if mask is None:
        return scores.softmax(-1)
    hidden = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return hidden.softmax(-1) * mask


def dot_scores(q: Tensor, k: Tensor) -> Tensor:
    """q k^T / sqrt(d)."""
    return q @ k.mT / q.shape[-1] ** 0.5


def qkv(
    weights: Arrays, inputs: Arrays, heads: int, groups: int | None = None
) -> tuple[Tensor, ...]:
    """q (B, H, N, d), k and v (B, H, M, d)."""
    context = context_of(inputs)
    q = project(weights, "q", inputs["x"], heads)
    k = project(weights, "k", context, heads, groups)
    return q, k, project(weights, "v", context, heads, groups)


def output(weights: Arrays, heads: Tensor) -> Tensor:
    """W_o concat_h(o)."""
    return linear(weights, "out", merge_heads(heads))


def under(weights: Arrays, prefix: str) -> dict[str, Tensor]:
    """The weights of a submodule, without its name."""
    start = f"{prefix}."
    return {name[len(start) :]: w for name, w in weights.items() if name.startswith(start)}
