"""Limits of families normalizers, priors and heads: caps, gates and second maps that do nothing."""

from __future__ import annotations

import math

import torch
from references.case import CROSS, Arrays

from .limit import Limit
from .selected import renamed

SMALL = {"d_model": 16, "heads": 2}
SILENT = {"q.weight": 0, "q.bias": 0}
PAST = "attnc: 1\nname: past\nextends: softmax\ncontext: same\nmask: j < i\n"
BARE = "attnc: 1\nname: bare\nextends: softmax\nscore: dot(q, k)\n"


def means(parent: str = "softmax", normalize: str = "softmax(s, j)") -> str:
    """A spec that looks at no query."""
    return f"attnc: 1\nname: means\nextends: {parent}\nscore: 0 * super\nnormalize: {normalize}\n"


def silent(found: Arrays) -> Arrays:
    """Queries and keys that do not matter, for a spec that has others."""
    zeros = {"weight": torch.zeros(16, 16), "bias": torch.zeros(16)}
    made = {f"{name}.{kind}": zeros[kind].double() for name in "qk" for kind in zeros}
    return {**found, **made}


MEMORY = ((2, 5, 9), (1, 9, 4))
IDENTITIES = {name: torch.eye(2, dtype=torch.float64) for name in ("mix_scores", "mix_weights")}
SPAN: dict[str, float] = {"z": 1, "rel": 0}
KEYLESS: dict[str, float] = {"k.weight": 0, "k.bias": 0}

LIMITS = (
    Limit(
        "soft_cap",
        {**SMALL, "cap": 1e6},
        "softmax",
        SMALL,
        "a high cap equals softmax",
        tolerance=1e-8,
    ),
    Limit(
        "relu_attention",
        {**SMALL, "alpha": 0},
        "attnc: 1\nname: rectified\nextends: softmax\nnormalize: relu(s)\n",
        SMALL,
        "alpha 0 does not divide",
    ),
    Limit(
        "qk_norm",
        {**SMALL, "form": "l2"},
        "attnc: 1\nname: uniform\nextends: softmax\nscore: 0 * super\n",
        SMALL,
        "gain 0 is the mean of the values",
        put={"gain": 0},
    ),
    Limit(
        "qk_norm",
        {**SMALL, "form": "joint", "heads": 1},
        "qk_norm",
        {**SMALL, "heads": 1},
        "over one head joint is per head",
        weights=lambda w: {
            **w,
            "q_norm.weight": w["q_norm.weight"].flatten(),
            "k_norm.weight": w["k_norm.weight"].flatten(),
        },
    ),
    Limit(
        "stick_breaking",
        SMALL,
        "attnc: 1\nname: halves\nextends: softmax\ncontext: same\nmask: j < i\n"
        "score: -log(2) * (i - j) + 0 * super\nnormalize: exp(s)\n",
        SMALL,
        "without queries each takes half of the rest",
        put={"q.weight": 0, "q.bias": 0},
    ),
    Limit(
        "forgetting",
        SMALL,
        "causal_softmax",
        SMALL,
        "gates that never close equal causal softmax",
        put={"gate.weight": 0, "gate.bias": 60},
    ),
    Limit(
        "selective",
        {**SMALL, "heads": 1},
        "attnc: 1\nname: means\nextends: causal_softmax\nnormalize: real(s == s) / (i + 1)\n",
        {**SMALL, "heads": 1},
        "a head without queries selects nothing",
        put={"q.weight": 0, "q.bias": 0},
    ),
    Limit(
        "gated_attention",
        SMALL,
        "softmax",
        SMALL,
        "open gates equal softmax",
        put={"gate.weight": 0, "gate.bias": 60},
    ),
    Limit(
        "differential",
        {**SMALL, "d_head": 8},
        "attnc: 1\nname: normed\nextends: softmax\nproject:\n"
        "  q: linear(x, to=[h, d_head], bias=false)\n  k: linear(context, to=[h, d_head], bias=false)\n"
        "  v: linear(context, to=[h, d_value], bias=false)\n"
        "out: linear(concat(0.8 * rms_norm(heads, eps=1e-5, as=norm), over=h), bias=false)\n",
        SMALL,
        "lambda 0 leaves the first map",
        put={"lq1": 0, "lq2": 1, "lk2": lambda w: torch.full_like(w, math.log(1.2) / 8)},
        weights=lambda w: {
            **w,
            "q.weight": w["q.weight"].unflatten(0, (2, 2, 8))[:, 0].flatten(0, 1),
            "k.weight": w["k.weight"].unflatten(0, (2, 2, 8))[:, 0].flatten(0, 1),
        },
    ),
    Limit(
        "entmax",
        {**SMALL, "alpha": 2},
        "sparsemax",
        SMALL,
        "alpha 2 is sparsemax",
        shapes=CROSS,
    ),
    Limit("sparsemax", SMALL, means(), SMALL, "without queries the mean", put=SILENT),
    Limit(
        "sigmoid",
        {**SMALL, "bias": "zero"},
        means(normalize="real(s == s) / 2"),
        SMALL,
        "without queries half of every value",
        put=SILENT,
    ),
    Limit("sinks", SMALL, "softmax", SMALL, "a sink of nothing equals softmax", {"sink": -1e3}),
    Limit("talking_heads", SMALL, "softmax", SMALL, "heads that do not talk", IDENTITIES),
    Limit(
        "adaptive_span", {**SMALL, "span": 20}, PAST, SMALL, "a span of all", SPAN, tolerance=1e-6
    ),
    Limit("cope", SMALL, "causal_softmax", SMALL, "places of nothing", put={"place": 0}),
    Limit("t5_bias", SMALL, BARE, SMALL, "biases of nothing", put={"rel": 0}),
    Limit(
        "gaussian",
        SMALL,
        "softmax",
        SMALL,
        "a prior of no width equals softmax",
        put={"width": -100, "floor_at": -100},
    ),
    Limit(
        "hardcoded_gaussian",
        {**SMALL, "sigma": 1e8},
        means(normalize=f"real(s == s) / {1e8 * math.sqrt(2 * math.pi)!r}"),
        SMALL,
        "a wide bell takes all alike",
        weights=silent,
    ),
    Limit(
        "predictive",
        {**SMALL, "alpha": 0, "beta": 0},
        "causal_softmax",
        SMALL,
        "no share of the evolved maps is causal",
    ),
    Limit(
        "lazyformer", SMALL, "softmax", SMALL, "the layer that computes is softmax", shapes=CROSS
    ),
    Limit("attention_maps", SMALL, "softmax", SMALL, "its result is softmax"),
    Limit(
        "hybrid",
        SMALL,
        "softmax",
        SMALL,
        "all of the products equals softmax",
        put={"gamma": 60},
        shapes=CROSS,
    ),
    Limit(
        "hybrid",
        SMALL,
        "additive",
        SMALL,
        "none of the products equals additive",
        put={"gamma": -60},
        weights=renamed(("qa", "q"), ("ka", "k")),
        shapes=CROSS,
    ),
    Limit("additive", SMALL, means(), SMALL, "scores of nothing", {"u": 0}, silent),
    Limit(
        "causal_additive",
        SMALL,
        means("causal_softmax"),
        SMALL,
        "scores of nothing",
        {"u": 0},
        silent,
    ),
    Limit(
        "bahdanau",
        {"d_model": 16},
        "attnc: 1\nname: mean_of_all\nout: 0 * x + mean(context, over=context)\n",
        {"d_model": 16},
        "scores of nothing are the mean",
        put={"u": 0},
        shapes=CROSS,
    ),
    *(
        Limit(name, SMALL, means(parent), SMALL, "scores of nothing are the mean", {"u": 0})
        for name, parent in (
            ("neural_attention", "softmax"),
            ("causal_neural_attention", "causal_softmax"),
        )
    ),
    Limit(
        "neural_attention_code",
        SMALL,
        means(),
        SMALL,
        "scores of nothing are the mean",
        put={"layer_3.weight": 0},
        weights=lambda w: silent({f"{n}.bias": torch.zeros(16).double() for n in ("v", "out")} | w),
    ),
    Limit(
        "dot_product",
        {"d_model": 16},
        "softmax",
        {"d_model": 16, "heads": 1},
        "is one head without maps of the result",
        weights=lambda w: {
            **{
                f"{name}.bias": torch.zeros(16, dtype=torch.float64)
                for name in ("q", "k", "v", "out")
            },
            **w,
            "out.weight": torch.eye(16, dtype=torch.float64),
        },
        shapes=CROSS,
    ),
    Limit("cross_attention", SMALL, "softmax", SMALL, "is softmax over the memory", shapes=MEMORY),
    Limit(
        "learned_positions",
        {"d_model": 16, "max_length": 20},
        "attnc: 1\nname: nothing\nout: x\n",
        {"d_model": 16},
        "places of nothing change nothing",
        put={"place": 0},
    ),
    Limit(
        "linear_transformer",
        SMALL,
        means(),
        SMALL,
        "without keys the mean",
        KEYLESS,
        tolerance=1e-6,
    ),
)
