"""References of family priors: localness, carried scores, task blocks, synthetic scores."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from .case import CROSS, Arrays, Case, normal
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
    split_heads,
)


def below(n: int) -> Tensor:
    """j <= i."""
    i, j = positions(n, n)
    return j <= i


def localness(
    weights: Arrays, inputs: Arrays, heads: int, window: str, width: float = 10, row: bool = False
) -> Tensor:
    """S = q k^T / sqrt(d) - (j - P)^2 / (2 (D/2)^2), P = n sigmoid(u_p . tanh(W_p q)), D by window."""
    q, k, v = qkv(weights, inputs, heads)
    n, m = q.shape[2], k.shape[2]
    whole = linear(weights, "q", inputs["x"])
    many = torch.full((n, 1), float(m), dtype=q.dtype)
    if row:
        many = torch.arange(1, n + 1, dtype=q.dtype)[:, None]
    inner = linear(weights, "w_p", whole).tanh()
    centre = many * linear(weights, "u_p", inner).sigmoid()  # (B, N, H)
    if window == "fixed":
        size = torch.full_like(centre, width)
    elif window == "query":
        size = many * linear(weights, "u_d", inner).sigmoid()
    else:
        mean = linear(weights, "k", context_of(inputs)).mean(1)
        outer = linear(weights, "w_d", mean).tanh()
        size = (many * linear(weights, "u_d", outer).sigmoid()[:, None]).expand_as(centre)
    j = torch.arange(m, dtype=q.dtype)
    sigma = size / 2
    gauss = -((j - centre.mT[..., None]) ** 2) / (2 * sigma.mT[..., None] ** 2)
    scores = dot_scores(q, k) + gauss
    return output(weights, masked_softmax(scores, below(n) if row else None) @ v)


def realformer(weights: Arrays, inputs: Arrays, heads: int, causal: bool) -> dict[str, Tensor]:
    """S = q k^T / sqrt(d) + S of the layer before; S goes on, in decoders its lower triangle."""
    q, k, v = qkv(weights, inputs, heads)
    scores = dot_scores(q, k) + inputs.get("carried", torch.zeros((), dtype=q.dtype))
    mask = below(q.shape[2]) if causal else None
    if mask is not None:
        scores = torch.where(mask, scores, 0.0)
    return {"x": output(weights, masked_softmax(scores, mask) @ v), "carried": scores}


def scores_before(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """Scores (B, 2, N, M) of the layer before."""
    return {"carried": normal(generator, batch, 2, length, context or length)}


def task_blocks(weights: Arrays, inputs: Arrays, heads: int, length: int, blocks: int) -> Tensor:
    """S = q k^T / sqrt(d) + blockdiag((1 + gamma) A_t + beta), cut to the sequence; block by block."""
    q, k, v = qkv(weights, inputs, heads)
    size = -(-length // blocks)
    gamma, beta = linear(weights, "film", inputs["task"]).chunk(2, -1)
    prior = q.new_zeros(q.shape[0], size * blocks, size * blocks)
    for t in range(blocks):
        rows = slice(t * size, min((t + 1) * size, length))
        block = (1 + gamma[:, None]) * weights["a"][rows] + beta[:, None]
        prior[:, rows, t * size : (t + 1) * size] = block
    n = q.shape[2]
    return output(weights, masked_softmax(dot_scores(q, k) + prior[:, None, :n, :n]) @ v)


def task(generator: Generator, batch: int, length: int, context: int | None) -> Arrays:
    """A task embedding of width 3."""
    return {"task": normal(generator, batch, 3)}


def synthetic(weights: Arrays, inputs: Arrays, heads: int, form: str) -> Tensor:
    """The scores (B, H, N, N) of the dense, random and factored synthesizers."""
    x = inputs["x"]
    n = x.shape[1]
    if form == "random":
        table = weights["r"] if "r" in weights else weights["noise"]
        return table[:, :n, :n]
    if form == "factored_random":
        return (weights["r_1"] @ weights["r_2"].mT)[:, :n, :n]
    inner = split_heads(linear(weights, "inner", x).clamp(min=0), heads)
    if form == "dense":
        return (inner @ weights["w_2"].mT + weights["b_2"][:, None])[..., :n]
    a, b = inner @ weights["w_a"].mT, inner @ weights["w_b"].mT
    tiled = a.repeat(1, 1, 1, b.shape[-1]) * b.repeat_interleave(a.shape[-1], dim=-1)
    return tiled[..., :n]


def synthesizer(
    weights: Arrays, inputs: Arrays, heads: int, form: str, causal: bool = False
) -> Tensor:
    """softmax of synthetic scores, unscaled, times v."""
    scores = synthetic(weights, inputs, heads, form)
    v = project(weights, "v", inputs["x"], heads)
    mask = below(v.shape[2]) if causal else None
    return output(weights, masked_softmax(scores, mask) @ v)


def mixture(weights: Arrays, inputs: Arrays, heads: int, form: str, other: str) -> Tensor:
    """softmax(mix)_0 synthetic + softmax(mix)_1 (dot products, or a table)."""
    n = inputs["x"].shape[1]
    first = synthetic(weights, inputs, heads, form)
    v = project(weights, "v", inputs["x"], heads)
    if other == "dot_product":
        q, k, _ = qkv(weights, inputs, heads)
        second = dot_scores(q, k)
    else:
        second = weights["r_other"][:, :n, :n]
    a, b = weights["mix"].softmax(0)
    return output(weights, masked_softmax(a * first + b * second) @ v)


def conv_hybrid(
    weights: Arrays, inputs: Arrays, heads: int, left: int, right: int, causal: bool
) -> Tensor:
    """t o + (1 - t) c per head, c_i = sum_r kernel_r v_(i+r), tap by tap."""
    q, k, v = qkv(weights, inputs, heads)
    n = q.shape[2]
    o = masked_softmax(dot_scores(q, k), below(n) if causal else None) @ v
    c = torch.zeros_like(v)
    for tap, r in enumerate(range(-left, right + 1)):
        moved = torch.zeros_like(v)
        for i in range(n):
            if 0 <= i + r < n:
                moved[:, :, i] = v[:, :, i + r]
        c = c + weights["kernel"][:, tap, None, None] * moved
    t = linear(weights, "t", inputs["x"]).sigmoid().mT[..., None]
    return linear(weights, "out", merge_heads(t * o + (1 - t) * c))


DIMS: dict[str, object] = {"d_model": 12, "heads": 2}
TABLE = DIMS | {"max_length": 13, "d_a": 3, "k_rank": 2}
LONG = ((2, 8, None), (1, 13, None), (1, 5, None))


def synthesizer_case(form: str, **more: object) -> Case:
    """One form of the synthesizer."""
    return Case(
        "synthesizer",
        TABLE | {"form": form} | more,
        lambda w, a: synthesizer(w, a, 2, form),
        LONG,
        label="_".join(["" if form == "dense" else form, *map(str, more.values())]),
    )


CASES = (
    Case("localness", DIMS, lambda w, a: localness(w, a, 2, "query"), CROSS),
    Case(
        "localness",
        DIMS | {"window": "layer"},
        lambda w, a: localness(w, a, 2, "layer"),
        CROSS,
        label="layer",
    ),
    Case(
        "localness",
        DIMS | {"window": "fixed", "width": 4},
        lambda w, a: localness(w, a, 2, "fixed", 4),
        label="fixed",
    ),
    Case(
        "attnc: 1\nname: localness_causal\nextends: [localness, causal]\n"
        "dims: {count: {one_of: [total, row], default: row}}\n",
        DIMS,
        lambda w, a: localness(w, a, 2, "query", row=True),
    ),
    Case("realformer", DIMS, lambda w, a: realformer(w, a, 2, False), CROSS),
    Case(
        "realformer",
        DIMS,
        lambda w, a: realformer(w, a, 2, False),
        CROSS,
        inputs=scores_before,
        label="second_layer",
    ),
    Case("realformer_causal", DIMS, lambda w, a: realformer(w, a, 2, True)),
    Case(
        "realformer_causal",
        DIMS,
        lambda w, a: realformer(w, a, 2, True),
        inputs=scores_before,
        label="second_layer",
    ),
    Case(
        "task_blocks",
        DIMS | {"length": 13, "blocks": 3, "d_task": 3},
        lambda w, a: task_blocks(w, a, 2, 13, 3),
        LONG,
        inputs=task,
    ),
    synthesizer_case("dense"),
    synthesizer_case("random"),
    synthesizer_case("random", table="frozen"),
    synthesizer_case("factored_dense"),
    synthesizer_case("factored_random"),
    Case(
        "attnc: 1\nname: synthesizer_causal\nextends: [synthesizer, causal]\n",
        TABLE,
        lambda w, a: synthesizer(w, a, 2, "dense", causal=True),
        LONG,
    ),
    Case("synthesizer_mixture", TABLE, lambda w, a: mixture(w, a, 2, "dense", "dot_product"), LONG),
    Case(
        "synthesizer_mixture",
        TABLE | {"form": "factored_random", "other": "random_table"},
        lambda w, a: mixture(w, a, 2, "factored_random", "random_table"),
        label="random",
    ),
    Case("conv_hybrid", DIMS | {"right": 2}, lambda w, a: conv_hybrid(w, a, 2, 3, 2, False), LONG),
    Case(
        "attnc: 1\nname: conv_hybrid_causal\nextends: [conv_hybrid, causal]\n",
        DIMS,
        lambda w, a: conv_hybrid(w, a, 2, 3, 0, True),
    ),
)
