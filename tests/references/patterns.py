"""References of family patterns: softmax attention under a mask made from positions."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .attention import multi_head
from .case import Arrays, Case, combined
from .pieces import dot_scores, linear, masked_softmax, merge_heads, positions, project

DIMS: dict[str, object] = {"d_model": 16, "heads": 4}


def masked(weights: Arrays, inputs: Arrays, mask: Tensor) -> Tensor:
    """Multi-head attention with four heads under a mask, True where attention is allowed."""
    return multi_head(weights, inputs, 4, mask=mask)


def grid(inputs: Arrays) -> tuple[Tensor, Tensor]:
    """i and j of self-attention."""
    return positions(inputs["x"].shape[1], inputs["x"].shape[1])


def sliding_window(w: Arrays, a: Arrays, left: int, right: int, causal: bool = False) -> Tensor:
    """-left <= j - i <= right."""
    i, j = grid(a)
    return masked(w, a, (-left <= j - i) & (j - i <= right) & ((j <= i) | (not causal)))


def dilated(w: Arrays, a: Arrays, left: int, right: int, step: int) -> Tensor:
    """-left r <= j - i <= right r, (j - i) mod r = 0."""
    i, j = grid(a)
    gap = j - i
    return masked(w, a, (-left * step <= gap) & (gap <= right * step) & (gap % step == 0))


def block_local(w: Arrays, a: Arrays, block: int) -> Tensor:
    """i // block = j // block."""
    i, j = grid(a)
    return masked(w, a, i // block == j // block)


def global_tokens(w: Arrays, a: Arrays, count: int) -> Tensor:
    """glob[i] or glob[j]; by default the first tokens are global."""
    glob = a.get("glob", (torch.arange(a["x"].shape[1]) < count)[None])
    return masked(w, a, (glob[:, :, None] | glob[:, None, :])[:, None])


def random_blocks(w: Arrays, a: Arrays, block: int, picks: int, backward: bool) -> Tensor:
    """Row block I of head h sees the `picks` key blocks with the largest draws[h, I]."""
    draw = a["draw"]
    heads, rows, cols = draw.shape
    sees = torch.zeros(heads, rows, cols, dtype=torch.bool)
    for h in range(heads):
        for row in range(rows):
            legal = row + 1 if backward else cols
            best = draw[h, row, :legal].argsort(descending=True)[:picks]
            sees[h, row, best] = True
    i, j = grid(a)
    return masked(w, a, sees[:, i // block, j // block] & ((j <= i) | (not backward)))


def longformer(w: Arrays, a: Arrays, window: int, heads: int) -> Tensor:
    """Local rows: |i - j| <= window / 2 or glob[j]; global rows: all j, projections of their own."""
    x = a["x"]
    i, j = grid(a)
    glob = a.get("glob", torch.zeros(x.shape[:2], dtype=torch.bool))
    q, k, v = (project(w, name, x, heads) for name in ("q", "k", "v"))
    seen = (((i - j).abs() <= window // 2) | glob[:, None, :])[:, None]
    local = masked_softmax(dot_scores(q, k), seen) @ v
    q, k, v = (project(w, name, x, heads) for name in ("q_g", "k_g", "v_g"))
    wide = masked_softmax(dot_scores(q, k)) @ v
    return linear(w, "out", merge_heads(torch.where(glob[:, None, :, None], wide, local)))


def chosen(form: str, near: Tensor, far: Tensor, heads: int) -> Tensor:
    """The union of two masks, one for each half of the heads, or one of them."""
    if form == "merged":
        return near | far
    if form == "by_head":
        first = (torch.arange(heads) < heads // 2)[:, None, None]
        return torch.where(first, near, far)
    return near if form == "local" else far


def sparse_strided(w: Arrays, a: Arrays, stride: int, form: str) -> Tensor:
    """A1 = {i - l .. i}, A2 = {j <= i : (i - j) mod l = 0}."""
    i, j = grid(a)
    near = (j <= i) & (i - j <= stride)
    far = (j <= i) & ((i - j) % stride == 0)
    return masked(w, a, chosen(form, near, far, 4))


def sparse_fixed(w: Arrays, a: Arrays, stride: int, size: int, verts: int, form: str) -> Tensor:
    """A1 = {j // l = i // l}, A2 = {j mod l in the head's summary positions}, j <= i."""
    i, j = grid(a)
    begin = (stride - (torch.arange(4) % verts + 1) * size)[:, None, None]
    near = (i // stride == j // stride).expand(4, -1, -1)
    far = (begin <= j % stride) & (j % stride < begin + size)
    return masked(w, a, chosen(form, near, far.expand_as(near), 4) & (j <= i))


def some_global(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A random third of the tokens."""
    return {"glob": torch.rand(batch, length, generator=generator) < 0.3}


def draws(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Uniform numbers for blocks of 3 tokens, four heads."""
    blocks = -(-length // 3)
    return {"draw": torch.rand(4, blocks, blocks, generator=generator, dtype=torch.float64)}


def strided_case(form: str) -> Case:
    return Case(
        "sparse_strided",
        DIMS | {"stride": 3, "form": form},
        lambda w, a: sparse_strided(w, a, 3, form),
        label=form,
    )


def fixed_case(form: str, verts: int = 1) -> Case:
    return Case(
        "sparse_fixed",
        DIMS | {"stride": 5, "summary_size": 2, "form": form, "verts": verts},
        lambda w, a: sparse_fixed(w, a, 5, 2, verts, form),
        label=form if verts == 1 else f"{form}_{verts}",
    )


CASES = (
    Case("global_tokens", DIMS | {"count": 2}, lambda w, a: global_tokens(w, a, 2)),
    Case(
        "global_tokens",
        DIMS,
        lambda w, a: global_tokens(w, a, 1),
        inputs=some_global,
        label="given",
    ),
    Case("sliding_window", DIMS | {"left": 3, "right": 1}, lambda w, a: sliding_window(w, a, 3, 1)),
    Case(
        combined("sliding_window", "causal"),
        DIMS | {"left": 2, "right": 2},
        lambda w, a: sliding_window(w, a, 2, 2, causal=True),
    ),
    Case(
        "dilated",
        DIMS | {"left": 2, "right": 1, "dilation": 3},
        lambda w, a: dilated(w, a, 2, 1, 3),
    ),
    Case(
        "random_blocks",
        DIMS | {"block": 3, "picks": 2},
        lambda w, a: random_blocks(w, a, 3, 2, False),
        inject=draws,
    ),
    Case(
        "random_blocks",
        DIMS | {"block": 3, "picks": 2, "form": "backward"},
        lambda w, a: random_blocks(w, a, 3, 2, True),
        inject=draws,
        label="backward",
    ),
    Case("block_local", DIMS | {"block": 5}, lambda w, a: block_local(w, a, 5)),
    Case("longformer", DIMS | {"window": 4}, lambda w, a: longformer(w, a, 4, 4)),
    Case(
        "longformer",
        DIMS | {"window": 4},
        lambda w, a: longformer(w, a, 4, 4),
        inputs=some_global,
        label="global",
    ),
    *(strided_case(form) for form in ("merged", "by_head", "local", "strided")),
    *(fixed_case(form) for form in ("merged", "by_head", "local", "summary")),
    fixed_case("merged", 2),
)
