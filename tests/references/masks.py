"""References of family patterns: masks of texts, trees, documents and scales, as N x N tables."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from .attention import multi_head
from .case import Arrays, Case, combined
from .pieces import dot_scores, output, qkv


def table(n: int, rule: object) -> Tensor:
    """rule(i, j) for all pairs."""
    assert callable(rule)
    return torch.tensor([[bool(rule(i, j)) for j in range(n)] for i in range(n)])


def each(inputs: Arrays, rule: object) -> Tensor:
    """rule(example, i, j) for all pairs of all examples: (B, 1, N, N)."""
    assert callable(rule)
    batch, n = inputs["x"].shape[:2]
    return torch.stack([table(n, lambda i, j, b=b: rule(b, i, j)) for b in range(batch)])[:, None]


def prefix_lm(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """j <= i or j < prefix."""
    prefix = inputs["prefix"]
    return multi_head(
        weights, inputs, heads, mask=each(inputs, lambda b, i, j: j <= i or j < prefix[b])
    )


def documents(weights: Arrays, inputs: Arrays, heads: int, causal: bool) -> Tensor:
    """Both in one document."""
    doc = inputs["document"]
    mask = each(inputs, lambda b, i, j: doc[b, i] == doc[b, j] and (j <= i or not causal))
    return multi_head(weights, inputs, heads, mask=mask)


def tree_attention(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """A causal trunk, then nodes that see the trunk and their ancestors."""
    trunk, up = inputs["trunk"], inputs["ancestor"]
    mask = each(inputs, lambda b, i, j: j <= i and (j < trunk[b] or up[b, i, j]))
    return multi_head(weights, inputs, heads, mask=mask)


def shared_prefix(weights: Arrays, inputs: Arrays, heads: int) -> Tensor:
    """Causal; the prompt (branch 0) and one's own branch."""
    branch = inputs["branch"]
    mask = each(
        inputs,
        lambda b, i, j: j <= i and (branch[b, j] == 0 or branch[b, i] == branch[b, j]),
    )
    return multi_head(weights, inputs, heads, mask=mask)


def block_diffusion(weights: Arrays, inputs: Arrays, heads: int, block: int) -> Tensor:
    """Noised blocks see themselves and clean blocks before; clean blocks are block-causal."""
    n = inputs["x"].shape[1]
    half = n // 2

    def rule(i: int, j: int) -> bool:
        clean_i, clean_j = i >= half, j >= half
        at_i, at_j = i % half // block, j % half // block
        diagonal = at_i == at_j and clean_i == clean_j
        offset = at_i > at_j and clean_j and not clean_i
        causal = at_i >= at_j and clean_i and clean_j
        return diagonal or offset or causal

    return multi_head(weights, inputs, heads, mask=table(n, rule))


def scales(heads: int, typical: int, layer: int, layers: int, alpha: float) -> list[int]:
    """The window of each head: shares softmax(z) of the scales, z_k = z_(k+1) + alpha / layer."""
    z = [0.0] * 5
    if layer < layers:
        for k in range(3, -1, -1):
            z[k] = z[k + 1] + alpha / layer
    total = sum(math.exp(u) for u in z)
    windows, reached, k = [], math.exp(z[0]) / total, 0
    for h in range(heads):
        while reached <= (h + 0.5) / heads:
            k += 1
            reached += math.exp(z[k]) / total
        windows.append([1, 3, typical // 16, typical // 8, typical // 4][k])
    return windows


def multi_scale(weights: Arrays, inputs: Arrays, windows: list[int], zeros: bool) -> Tensor:
    """softmax over i - w .. i + w, beyond the ends over keys and values of zeros; row by row."""
    q, k, v = qkv(weights, inputs, len(windows))
    n = q.shape[2]
    rows = []
    for h, w in enumerate(windows):
        for i in range(n):
            places = [j for j in range(i - w, i + w + 1) if zeros or 0 <= j < n]
            blank = torch.zeros_like(k[:, h, 0])
            keys = torch.stack([k[:, h, j] if 0 <= j < n else blank for j in places], 1)
            values = torch.stack([v[:, h, j] if 0 <= j < n else blank for j in places], 1)
            rows.append((dot_scores(q[:, h, i, None], keys).softmax(-1) @ values)[:, 0])
    made = torch.stack(rows, 1).unflatten(1, (len(windows), n))
    return output(weights, made)


def a_prefix(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """The length of the prefix of each example."""
    return {"prefix": torch.randint(0, length, (batch,), generator=generator)}


def packed(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Documents in runs."""
    starts = torch.rand(batch, length, generator=generator) < 0.3
    return {"document": starts.long().cumsum(1)}


def a_tree(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A trunk of three tokens; each later token hangs under one before it."""
    up = torch.zeros(batch, length, length, dtype=torch.bool)
    for b in range(batch):
        for i in range(3, length):
            parent = int(torch.randint(2, i, (1,), generator=generator))
            up[b, i] = up[b, parent]
            up[b, i, i] = True
    return {"ancestor": up, "trunk": torch.full((batch,), 3)}


def branches(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A prompt of three tokens, then two branches."""
    half = (length + 3) // 2
    one = [0] * 3 + [1] * (half - 3) + [2] * (length - half)
    return {"branch": torch.tensor([one] * batch)}


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
SCALES: dict[str, object] = {"d_model": 12, "heads": 6, "typical": 32}
EVEN = ((2, 8, None), (1, 14, None), (1, 10, None))

CASES = (
    Case("prefix_lm", DIMS, lambda w, a: prefix_lm(w, a, 2), inputs=a_prefix),
    Case("documents", DIMS, lambda w, a: documents(w, a, 2, False), inputs=packed),
    Case(
        combined("documents", "causal"), DIMS, lambda w, a: documents(w, a, 2, True), inputs=packed
    ),
    Case("tree_attention", DIMS, lambda w, a: tree_attention(w, a, 2), inputs=a_tree),
    Case("shared_prefix", DIMS, lambda w, a: shared_prefix(w, a, 2), inputs=branches),
    Case("block_diffusion", DIMS | {"block": 2}, lambda w, a: block_diffusion(w, a, 2, 2), EVEN),
    Case("multi_scale", SCALES, lambda w, a: multi_scale(w, a, scales(6, 32, 1, 6, 0.5), True)),
    Case(
        "multi_scale",
        SCALES | {"layer": 6, "edges": "none"},
        lambda w, a: multi_scale(w, a, scales(6, 32, 6, 6, 0.5), False),
        label="last_layer",
    ),
)
